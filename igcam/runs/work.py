"""Runs the stages of any method: finished ones are not repeated, and each leaves whole artefacts or none."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.files import open_memory_map
from igcam.core.parallel import in_parallel, usual_device
from igcam.core.progress import Progress
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.methods.base import AllImages, EachImage, Stage
from igcam.methods.features import mean_level, views_of
from igcam.methods.inputs import Inputs
from igcam.methods.network import open_backbone
from igcam.methods.options import FitOptions
from igcam.models.backbone import Backbone
from igcam.models.bank import FeatureBank
from igcam.models.views import View
from igcam.runs.artefacts import Loaded, RunArtefacts
from igcam.runs.folder import RunFolder
from igcam.supervision.constraints import annotated_images

Array = NDArray[np.float32]


class RunWork(RunArtefacts):
    """The data set, the network and the artefacts of a run; see `igcam.methods.base.Work`.

    Everything is opened when a stage asks for it; a `bank` of None is RUN/bank.
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
        """Begin a stage: only what it declares can be read."""
        self._stage = stage

    def load_array(self, artefact: str) -> NDArray[Any]:
        """Return an array, memory-mapped, read-only; it must be declared."""
        return super().load_array(self._declared(artefact))

    def load(self, artefact: str, parse: Callable[[dict[str, Tensor]], Loaded]) -> Loaded:
        """Return what `parse` makes of tensors, which must be declared."""
        return super().load(self._declared(artefact), parse)

    def _declared(self, artefact: str) -> str:
        """Refuse undeclared artefacts: a reused stage would not notice that they have changed."""
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


def run_stages(work: RunWork, stages: Sequence[Stage]) -> None:
    """Run those that are not done yet, in order; refinements run when masks are written.

    Raises:
        IgcamError: A stage cannot work on these data, or a file cannot be read or written.
        RuntimeError: A stage has not left what it declares.
    """
    for stage in stages:
        if not isinstance(stage, AllImages | EachImage) or work.run.is_done(stage.name):
            continue
        work.begin(stage)
        start = time.perf_counter()
        facts = stage.run(work) if isinstance(stage, AllImages) else _map(work, stage)
        missing = [name for name in stage.leaves if not work.has(f"{stage.name}/{name}")]
        if missing:
            raise RuntimeError(f"stage {stage.name}: has not left {', '.join(missing)}")
        work.run.finish(stage.name, time.perf_counter() - start, **facts)
    work.begin(None)


def _map(work: RunWork, stage: EachImage) -> Mapping[str, object]:
    """Write the arrays of a stage image by image, so that memory holds a few at a time."""
    each, count = stage.open(work), len(work.images)
    arrays: dict[str, np.memmap] = {}
    for index, parts in enumerate(in_parallel(each, range(count), 1)):
        if not arrays:
            for name, part in parts.items():
                path = work.file(f"{stage.name}/{name}")
                arrays[name] = open_memory_map(path.with_name(path.name + ".part"), (count, *part.shape), part.dtype)
        for name, part in parts.items():
            arrays[name][index] = part
        work.progress(stage.title.lower() or stage.name, index + 1, count)
    for name, array in arrays.items():
        array.flush()
        path = work.file(f"{stage.name}/{name}")
        os.replace(path.with_name(path.name + ".part"), path)
    return {}
