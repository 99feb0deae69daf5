"""Runs the stages of any method: what is done is not repeated, and what a stage leaves is there whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igcam.core.files import open_memory_map
from igcam.core.parallel import in_parallel
from igcam.methods.base import AllImages, EachImage, Stage
from igcam.runs.work import RunWork


def run_stages(work: RunWork, stages: Sequence[Stage]) -> None:
    """Run those that are not done yet, in order; refinements are left to the drawing of masks.

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
    """Write what a stage gives for each image, image after image, so that memory holds a few at a time."""
    each, count = stage.open(work), len(work.images)
    arrays: dict[str, np.memmap] = {}
    for index, parts in enumerate(in_parallel(each, range(count), 1)):
        if not arrays:
            arrays = {name: _begin(work, stage, name, count, part) for name, part in parts.items()}
        for name, part in parts.items():
            arrays[name][index] = part
        work.progress(stage.title.lower() or stage.name, index + 1, count)
    for name, array in arrays.items():
        array.flush()
        path = work.file(f"{stage.name}/{name}")
        os.replace(path.with_name(path.name + ".part"), path)
    return {}


def _begin(work: RunWork, stage: EachImage, name: str, count: int, part: NDArray[Any]) -> np.memmap:
    path = work.file(f"{stage.name}/{name}")
    return open_memory_map(path.with_name(path.name + ".part"), (count, *part.shape), part.dtype)
