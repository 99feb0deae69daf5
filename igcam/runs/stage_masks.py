"""The masks of a run's images after each stage that gives scores, and after each refinement."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.core.files import write_bytes
from igcam.data.images import load_image
from igcam.data.masks import write_mask
from igcam.data.sample import Dataset
from igcam.methods.features import views_of
from igcam.methods.options import FitOptions
from igcam.models.views import mean_over_views
from igcam.refine.stack import best_class
from igcam.runs.refined_masks import soft_masks
from igcam.runs.work import RunWork
from igcam.supervision.constraints import annotated_images


def write_stage_masks(work: RunWork, dataset: Dataset, workers: int = 2) -> None:
    """Write stages/STAGE/masks/NAME.png for every stage, and masks/NAME.png for the last one.

    Images that have masks are skipped, so that an interruption costs a few images at most.
    """
    run, options = work.run, work.options
    scored = [stage for stage in options.stages if stage.scores]
    maps = {stage.name: work.load_array(f"{stage.name}/{stage.scores}") for stage in scored}
    refinements, names = options.refinements, options.mask_stages
    if all(run.is_done(stage) for stage in ("masks", *(stage.name for stage in refinements))):
        return
    reduced = work.load_array("features/reduced")
    cues = annotated_images(dataset)
    spent = dict.fromkeys(names, 0.0)
    begun = time.perf_counter()

    def one(index: int) -> None:
        name = dataset.samples[index].name
        if run.file("masks", f"{name}.png").exists():
            return
        image = load_image(dataset.samples[index].image)
        constraint = cues[index].at(*image.shape[:2]) if index in cues else None
        for stage in scored:
            start = time.perf_counter()
            follow = refinements if stage is scored[-1] else []
            deep = deep_features(reduced[:, index], options) if any(step.uses_features for step in follow) else None
            scores = np.asarray(maps[stage.name][index], np.float32)
            known = constraint if stage.uses_cues else None
            for step, labels, probability in soft_masks(image, scores, follow, deep, known):
                shown, mask = step or stage.name, labels[best_class(probability)]
                spent[shown] += (time.perf_counter() - start) / workers
                write_mask(run.file("stages", shown, "masks", f"{name}.png"), mask)
                start = time.perf_counter()
        final = run.file("stages", names[-1], "masks", f"{name}.png")
        write_bytes(run.file("masks", f"{name}.png"), final.read_bytes())

    with ThreadPoolExecutor(max(1, workers)) as threads:
        for done, _ in enumerate(threads.map(one, range(len(dataset)))):
            work.progress("draw masks", done + 1, len(dataset))
    for stage in refinements:
        run.finish(stage.name, spent[stage.name], curve=[])
    run.finish("masks", time.perf_counter() - begun, curve=[])


def deep_features(reduced: NDArray[np.floating], options: FitOptions) -> NDArray[np.float32]:
    """Return the reduced last level of one image, float32 (D, h, w), from its views (V, k, h, w)."""
    last = torch.from_numpy(np.asarray(reduced[:, -options.components[-1] :], np.float32))
    flips = [view.flip for view in views_of(options.size, options.flip)]
    mean: NDArray[np.float32] = mean_over_views(list(last), flips).numpy()
    return mean
