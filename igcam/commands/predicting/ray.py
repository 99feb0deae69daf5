"""Masks by the processes of a Ray cluster, which share the folders of photos, run and masks; extra `igcam[ray]`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from igcam.core.errors import IgcamError
from igcam.data.sample import Sample

if TYPE_CHECKING:
    from igcam.commands.predict import Cluster, Drawn, PhotoPredictor

CHUNK = 32
"""Photos that a worker takes at a time; lost where one dies."""
Work = tuple["Callable[[], PhotoPredictor]", Path, Path | None, "Drawn | None"]
"""Loads the run; the folders for masks and confidence maps; what is called before a mask is written."""


class _Worker:
    """A process that has loaded the run once."""

    def __init__(self, opened: Callable[[], PhotoPredictor], *arguments: Any) -> None:
        self.predictor, self.arguments = opened(), arguments

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        samples, problems, stopped = batch["sample"].tolist(), "", ""
        try:
            problems = "\n".join(self.predictor.predict(samples, *self.arguments).problems)
        except IgcamError as error:
            # An exception would come back with the worker's traceback.
            stopped = str(error)
        row = {"photos": len(samples), "problems": problems, "stopped": stopped}
        return {name: np.array([value]) for name, value in row.items()}


def predict_on_cluster(
    cluster: Cluster, samples: list[Sample], work: Work, progress: Callable[[int, int], None]
) -> list[str]:
    """Write masks of photos by several processes, and return one line for each photo that cannot be read.

    Paths of `samples` and `work` are absolute. `progress` is called with the number done and the number to do.

    Raises:
        IgcamError: Ray is not installed, no cluster answers, or a process meets an error that concerns all photos.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise IgcamError('--ray: needs Ray: pip install "igcam[ray]"') from error
    begun = not ray.is_initialized()
    if begun:
        cores = None if cluster.address else max(cluster.workers, os.cpu_count() or 1)
        try:
            ray.init(cluster.address, num_cpus=cores, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:
            raise IgcamError(f"--ray-address: no Ray cluster answers: {str(error).splitlines()[0]}") from error
    try:
        return _results(ray, cluster, samples, work, progress)
    finally:
        if begun:
            ray.shutdown()


def _results(
    ray: Any, cluster: Cluster, samples: list[Sample], work: Work, progress: Callable[[int, int], None]
) -> list[str]:
    """Send the photos through the workers; return the problems of single photos."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    chunks = -(-len(samples) // CHUNK)
    # Small blocks, so that no worker waits for another at the end.
    data = ray.data.from_items([{"sample": sample} for sample in samples], override_num_blocks=chunks)
    data = data.map_batches(
        _Worker,
        batch_size=CHUNK,
        batch_format="numpy",
        fn_constructor_args=work,
        concurrency=min(cluster.workers, chunks),
        num_gpus=cluster.gpus,
    )
    problems, done = [], 0
    for row in data.iter_rows():
        if row["stopped"]:
            raise IgcamError(row["stopped"])
        problems += [line for line in row["problems"].split("\n") if line]
        done += row["photos"]
        progress(done, len(samples))
    return problems
