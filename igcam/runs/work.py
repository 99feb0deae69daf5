"""What the stages of a run work on, opened from its folder and the feature bank as they ask for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.progress import Progress
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.methods.base import Stage
from igcam.methods.features import mean_level, views_of
from igcam.methods.inputs import Inputs
from igcam.methods.network import open_backbone
from igcam.methods.options import FitOptions
from igcam.models.backbone import Backbone
from igcam.models.bank import FeatureBank
from igcam.models.devices import usual_device
from igcam.models.views import View
from igcam.runs.artefacts import Loaded, RunArtefacts
from igcam.runs.folder import RunFolder
from igcam.supervision.constraints import annotated_images

Array = NDArray[np.float32]


class RunWork(RunArtefacts):
    """The data set, the network and the artefacts of a run; see `igcam.methods.base.Work`.

    Args:
        run: The run folder.
        options: Its options.
        dataset: Its images, with their tags and cues.
        bank: Folder of the feature bank; None takes RUN/bank.
        progress: Called with what is being done, the number done and the number to do.
    """

    def __init__(
        self, run: RunFolder, options: FitOptions, dataset: Dataset, bank: str | Path | None, progress: Progress
    ) -> None:
        super().__init__(run)
        self._stage: Stage | None = None
        self.options, self.classes, self.progress = options, dataset.classes, progress
        self.images = [sample.image for sample in dataset]
        self.tags: Array = dataset.tag_matrix()
        self._dataset, self._bank = dataset, Path(bank) if bank else run.file("bank")

    def begin(self, stage: Stage | None) -> None:
        """Let a stage work: until the next begins, only what it declares can be read."""
        self._stage = stage

    def load_array(self, artefact: str) -> NDArray[Any]:
        """Return an array, memory-mapped, read-only."""
        return super().load_array(self._declared(artefact))

    def load(self, artefact: str, parse: Callable[[dict[str, Tensor]], Loaded]) -> Loaded:
        """Return what `parse` makes of tensors."""
        return super().load(self._declared(artefact), parse)

    def _declared(self, artefact: str) -> str:
        """Refuse what would be reused from another run though it has changed there."""
        stage = self._stage
        if stage is not None and artefact not in stage.reads and artefact.partition("/")[0] != stage.name:
            raise RuntimeError(f"stage {stage.name}: reads {artefact} without declaring it")
        return artefact

    @cached_property
    def backbone(self) -> Backbone:
        """The network of the run; in the finetune regime once its stage is done."""
        return open_backbone(self, self.options).to(usual_device())

    @cached_property
    def bank(self) -> FeatureBank:
        """Its features for all images and views."""
        return FeatureBank(self._bank, self.backbone, views_of(self.options.size, self.options.flip))

    @cached_property
    def inputs(self) -> Inputs:
        """Features, tags and cues of all images; needs the stage `features`."""
        bank, images, level = self.bank, self.images, self.options.grouping_level
        return Inputs(
            tags=self.tags,
            pooled=np.asarray(super().load_array("features/pooled")),
            reduced=super().load_array("features/reduced"),
            last_level=lambda index: mean_level(bank, images[index]),
            grouping=lambda index: mean_level(bank, images[index], level),
            image=lambda index, size: View(size).apply(load_image(images[index])),
            annotated=annotated_images(self._dataset),
            seed=self.options.seed,
            progress=self.progress,
        )
