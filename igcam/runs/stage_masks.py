"""Step `masks`: the masks of the training images after each stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.core.files import read_array, write_bytes
from igcam.core.progress import Progress
from igcam.data.images import load_image
from igcam.data.masks import write_mask
from igcam.data.sample import Dataset
from igcam.models.views import mean_over_views
from igcam.runs.drawing import RenderOptions, render, render_options
from igcam.runs.features import views_of
from igcam.runs.folder import RunFolder
from igcam.runs.options import FitOptions
from igcam.supervision.constraints import annotated_images

MAP_STAGES = ("classify", "guide", "reweight")
"""Stages that give a map for each image, in order."""
DRAWING_STAGES = ("sharpen", "crf")
"""Stages that draw masks from the last of these maps."""


def write_stage_masks(
    run: RunFolder, options: FitOptions, dataset: Dataset, progress: Progress, workers: int = 2
) -> None:
    """Write stages/STAGE/masks/NAME.png for every stage, and masks/NAME.png for the last one.

    Images whose masks are there are skipped, so that an interruption costs a few images at most.
    """
    maps = {
        stage: read_array(run.file("stages", stage, "maps.npy"), mmap=True)
        for stage in MAP_STAGES
        if stage in options.stages
    }
    last = list(maps)[-1]
    drawing = [stage for stage in DRAWING_STAGES if stage in options.stages]
    if all(run.is_done(stage) for stage in ("masks", *drawing)):
        return
    reduced = read_array(run.file("stages", "features", "reduced.npy"), mmap=True)
    cues = annotated_images(dataset)
    spent = dict.fromkeys([*maps, *drawing], 0.0)
    begun = time.perf_counter()

    def work(index: int) -> None:
        name = dataset.samples[index].name
        if run.file("masks", f"{name}.png").exists():
            return
        image = load_image(dataset.samples[index].image)
        constraint = cues[index].at(*image.shape[:2]) if index in cues else None
        for stage, stack in maps.items():
            detail = mask_options(options) if stage == last else RenderOptions()
            # Activation maps know the tags alone.
            said = None if stage == "classify" else constraint
            start = time.perf_counter()
            deep = deep_features(reduced[:, index], options) if detail.sharpen is not None else None
            for step_name, mask in render(image, np.asarray(stack[index], np.float32), detail, deep, said):
                annotated = stage if step_name == "plain" else step_name
                spent[annotated] += (time.perf_counter() - start) / workers
                write_mask(run.file("stages", annotated, "masks", f"{name}.png"), mask)
                start = time.perf_counter()
        final = run.file("stages", options.stages[-1], "masks", f"{name}.png")
        write_bytes(run.file("masks", f"{name}.png"), final.read_bytes())

    with ThreadPoolExecutor(max(1, workers)) as threads:
        for done, _ in enumerate(threads.map(work, range(len(dataset)))):
            progress("draw masks", done + 1, len(dataset))
    for stage in drawing:
        run.finish(stage, spent[stage], curve=[])
    run.finish("masks", time.perf_counter() - begun, curve=[])


def deep_features(reduced: NDArray[np.floating], options: FitOptions) -> NDArray[np.float32]:
    """Return the reduced last level of one image, float32 (D, h, w), from its views (V, k, h, w), mirrored back."""
    last = torch.from_numpy(np.array(reduced[:, -options.components[-1] :], np.float32))
    flips = [view.flip for view in views_of(options.size, options.flip)]
    deep: NDArray[np.float32] = mean_over_views([*last], flips).numpy()
    return deep


def mask_options(options: FitOptions, stages: Sequence[str] | None = None) -> RenderOptions:
    """Return how the last stage of a run draws its masks; `stages` replaces the run's choice of them."""
    chosen = options.stages if stages is None else stages
    return render_options(chosen, options.igcam.sharpen, options.crf, options.crf_side)
