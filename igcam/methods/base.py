"""The seam of all methods: a method is a list of stages, and a model that applies what they have trained.

A stage declares what it reads, what it leaves and what decides on it. Resume, reuse of an earlier run, ledger, masks
after each stage, report, label, predict, distill and export follow from that; no other file knows a method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from igcam.core.progress import Progress
from igcam.core.validation import Tagged

if TYPE_CHECKING:
    from igcam.methods.inputs import Inputs
    from igcam.methods.options import FitOptions
    from igcam.models.backbone import Backbone
    from igcam.models.bank import FeatureBank

Array = NDArray[np.float32]
Loaded = TypeVar("Loaded")
DATA = ("photos", "tags", "cues")
"""Parts of a data set that can decide on a stage."""


class Artefacts(Protocol):
    """The artefacts of the stages of a run, by names `STAGE/NAME`."""

    def file(self, artefact: str) -> Path:
        """Return its path: .npy for an array, .safetensors for tensors."""
        ...

    def has(self, artefact: str) -> bool:
        """Tell whether it exists."""
        ...

    def load_array(self, artefact: str) -> NDArray[Any]:
        """Return an array, memory-mapped, read-only."""
        ...

    def load(self, artefact: str, parse: Callable[[dict[str, Tensor]], Loaded]) -> Loaded:
        """Return what `parse` makes of tensors.

        Raises:
            IgcamError: The file is missing or damaged, or `parse` raises KeyError, TypeError, ValueError or
                RuntimeError.
        """
        ...


class Work(Artefacts, Protocol):
    """What a stage works on: the data set, the network and the artefacts of earlier stages."""

    options: FitOptions
    classes: tuple[str, ...]
    images: list[Path]
    tags: Array
    """float32 (N, C) of 0 and 1."""
    progress: Progress

    @property
    def backbone(self) -> Backbone:
        """The network of the run, as the stages so far have left it."""
        ...

    @property
    def bank(self) -> FeatureBank:
        """Its features for all images and views."""
        ...

    @property
    def inputs(self) -> Inputs:
        """Features, tags and cues of all images; needs the stage `features`."""
        ...

    def leave(self, artefact: str, value: NDArray[Any] | Mapping[str, Tensor]) -> None:
        """Write an array or tensors."""
        ...


class Stage(ABC):
    """A step of a method: subclasses are `AllImages`, `EachImage` or `Refinement`."""

    name: str
    """Unique in the method; the folder of its artefacts, and its name for `--without`."""
    title: str = ""
    """A word or two for the report."""
    about: str = ""
    """What happens, in half a sentence, for the report."""
    reads: tuple[str, ...] = ()
    """Artefacts of earlier stages, `STAGE/NAME`."""
    leaves: tuple[str, ...] = ()
    """Names of its own artefacts."""
    data: tuple[str, ...] = ()
    """Parts of the data set that decide on it besides what it reads, some of `DATA`."""
    options: object = None
    """Options that decide on it."""
    caches: tuple[str, ...] = ()
    """Folders beside its artefacts whose files are named after what they were computed from."""
    optional: bool = False
    """Whether it can be switched off by `--without`."""
    scores: str = ""
    """The artefact with scores (N, C + 1, h, w), background first, from which masks are made; empty for none."""
    threshold_rule: str = ""
    """How these scores separate background from classes, for the ledger."""
    uses_cues: bool = False
    """Whether masks after this stage use cues besides tags, for the ledger."""
    regime: str = ""
    """How much of the network it trains, `tail` or `finetune`, for the ledger; empty for nothing of it."""


class AllImages(Stage):
    """A training, or a statistic over all images."""

    @abstractmethod
    def run(self, work: Work) -> Mapping[str, object]:
        """Leave every artefact that is declared; return facts for stage.json, such as `curve`."""


class EachImage(Stage):
    """A map over images without state across them, so that they may be computed anywhere in any order."""

    @abstractmethod
    def open(self, work: Work) -> Callable[[int], Mapping[str, NDArray[Any]]]:
        """Load what all images share; return the map from an image's index to its part of each declared artefact."""


@dataclass(frozen=True)
class Soft:
    """Soft masks of a photo on their way through refinements."""

    image: NDArray[np.uint8]
    """uint8 (H, W, 3), the photo or a tile of it."""
    probability: Array
    """float32 (K, H, W), summing to one over the classes that are present."""
    coarse: Array
    """float32 (K, h, w), what it was enlarged from."""
    features: NDArray[np.floating] | None
    """Float (D, h', w') of the last level, or None."""
    side: int
    """Longer side in pixels of the whole photo."""


class Refinement(Stage):
    """A map from soft masks to sharper ones at the size of the photo; only its masks are stored."""

    optional = True
    uses_features: bool = False
    """Whether it uses `Soft.features`."""

    @property
    def facts(self) -> Mapping[str, object]:
        """Preset and parameters, for the ledger."""
        return {}

    @abstractmethod
    def refine(self, soft: Soft) -> Array:
        """Return the refined probabilities, float32 (K, H, W), summing to one."""


class Model(Protocol):
    """What a finished run has trained, without its backbone: from features of photos to scores.

    Subclasses are frozen dataclasses of its parts.
    """

    def to(self, device: torch.device) -> Self:
        """Return the same for features on a device."""
        moved = {name: part.to(device) for name, part in vars(self).items() if hasattr(part, "to")}
        copy: Self = replace(cast(Any, self), **moved)
        return copy

    def scores(
        self, views: Sequence[Sequence[Tensor]], flips: Sequence[bool], tags: NDArray[np.floating] | None
    ) -> tuple[Array, Array]:
        """Return the scores of photos and features for the refinement of their boundaries.

        Args:
            views: One a view, of one float32 (N, D, h, w) a level of the backbone.
            flips: Which views are mirrored.
            tags: (N, C) of 0 and 1; None where they are unknown.

        Returns:
            Scores, float32 (N, C + 1, h, w), not negative, background first, and float32 (N, D', h, w).
        """
        ...

    def network(self, backbone: nn.Module) -> nn.Module | None:
        """Return one network from images in [0, 1] to raw logits (N, C + 1, h, w), or None if there is none."""
        return None


class MethodOptions(Tagged):
    """Base of the options of a method; a run holds those of its method only."""

    @classmethod
    def kinds(cls) -> Mapping[str, type]:
        """Return the options of every registered method by its name."""
        # The registry imports this module.
        registry = import_module("igcam.methods.registry")
        return {name: method.options for name, method in registry.methods().items()}


Chosen = TypeVar("Chosen", bound=MethodOptions)


class Method(ABC, Generic[Chosen]):
    """A published method: `igcam.methods.registry.register` makes it known."""

    name: ClassVar[str]
    """Its name in runs and on the command line."""
    paper: ClassVar[str]
    """Source: authors, title, venue, year."""
    about: ClassVar[str]
    """The idea in a line."""
    cues: ClassVar[tuple[str, ...]] = ()
    """Kinds of cue that it uses besides tags."""
    needs: ClassVar[str] = ""
    """What it needs besides the core: a ResNet, a GPU, an extra; empty for nothing."""
    maps: ClassVar[str] = ""
    """Artefact of activation maps as scores (N, C + 1, h, w), by which IG-CAM can be guided; empty if it has none."""
    options: ClassVar[type[MethodOptions]]
    """The class of its options, which works without arguments."""

    @abstractmethod
    def stages(self, chosen: Chosen, run: FitOptions) -> Sequence[Stage]:
        """Return all stages for options of this method and of the run, in order, switched-off ones included."""

    @abstractmethod
    def model(self, artefacts: Artefacts, chosen: Chosen, run: FitOptions, classes: int) -> Model:
        """Load what a finished run has trained.

        Raises:
            IgcamError: A file is missing, damaged or does not fit the others.
        """
