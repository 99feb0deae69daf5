"""The seam of all methods: a method is a list of stages, and a model that applies what they have learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.progress import Progress

if TYPE_CHECKING:
    from igcam.methods.inputs import Inputs
    from igcam.methods.options import FitOptions
    from igcam.models.backbone import Backbone
    from igcam.models.bank import FeatureBank

Array = NDArray[np.float32]
Loaded = TypeVar("Loaded")


class Artefacts(Protocol):
    """What the stages of a run have left, by names `STAGE/NAME`."""

    def has(self, artefact: str) -> bool:
        """Tell whether it is there."""
        ...

    def array(self, artefact: str) -> NDArray[Any]:
        """Return an array, memory-mapped, read-only."""
        ...

    def load(self, artefact: str, parse: Callable[[dict[str, Tensor]], Loaded]) -> Loaded:
        """Return what `parse` makes of tensors; whatever does not fit is an `IgcamError` that names the file."""
        ...


class Work(Artefacts, Protocol):
    """What a stage of type `AllImages` works on."""

    options: FitOptions
    classes: tuple[str, ...]
    images: Sequence[Path]
    folder: Path
    """Of this stage, for files that are written piece by piece."""
    progress: Progress

    @property
    def tags(self) -> Array:
        """float32 (N, C) of 0 and 1."""
        ...

    @property
    def backbone(self) -> Backbone:
        """The network of the run, as the stages before have left it."""
        ...

    @property
    def bank(self) -> FeatureBank:
        """Its features for all images and views."""
        ...

    @property
    def inputs(self) -> Inputs:
        """Features, tags and cues of all images; needs the stage `features`."""
        ...

    def leave(self, name: str, value: NDArray[Any] | Mapping[str, Tensor]) -> None:
        """Keep an array or tensors as this stage's artefact of that name."""
        ...
