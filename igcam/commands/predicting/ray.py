"""Masks by the processes of a Ray cluster, which share the folders of photos, run and masks; extra `igcam[ray]`."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from igcam.core.errors import IgcamError
from igcam.core.progress import Progress
from igcam.data.sample import Dataset, Sample

if TYPE_CHECKING:
    from igcam.commands.predict import Cluster, Drawn, PhotoPredictor

CHUNK = 32
"""Photos that a worker takes at a time; lost where one dies."""


class _Worker:
    """A process that has loaded the run once."""

    def __init__(
        self,
        opened: Callable[[], PhotoPredictor],
        classes: int,
        out: Path,
        confidence: Path | None,
        drawn: Drawn | None,
    ) -> None:
        self.predictor = opened()
        # Tags are indices, so that any names do.
        self.classes = tuple(map(str, range(classes)))
        self.folders, self.drawn = (out, confidence), drawn

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        samples = []
        for name, image, tags in zip(
            batch["name"].tolist(), batch["image"].tolist(), batch["tags"].tolist(), strict=True
        ):
            known = json.loads(tags)
            samples.append(Sample(name, Path(image), None if known is None else tuple(known)))
        problems, stopped = "", ""
        try:
            done = self.predictor.predict(Dataset(self.classes, tuple(samples)), *self.folders, self.drawn)
            problems = "\n".join(done.problems)
        except IgcamError as error:
            # An exception would come back with the worker's traceback.
            stopped = str(error)
        row = {"photos": len(samples), "problems": problems, "stopped": stopped}
        return {name: np.array([value]) for name, value in row.items()}


def predict_on_cluster(
    cluster: Cluster,
    opened: Callable[[], PhotoPredictor],
    todo: list[Sample],
    out: Path,
    confidence: Path | None,
    drawn: Drawn | None,
    task: str,
    progress: Progress,
) -> list[str]:
    """Write masks of photos by several processes; the same call again goes on where it was stopped.

    Args:
        cluster: The processes.
        opened: Loads the run in each of them.
        todo: Photos, on a file system that all machines share, as the run and the folders for results.
        out: Folder for NAME.png.
        confidence: Folder for the confidence maps.
        drawn: Called in the processes before a mask is written.
        task: The name for `progress`.
        progress: Called with it, the number done and the number to do.

    Returns:
        One line for each photo without a mask.

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
        # Workers run in other folders.
        folders = (out.absolute(), None if confidence is None else confidence.absolute())
        return _rows(ray, cluster, todo, (opened, *folders, drawn), task, progress)
    finally:
        if begun:
            ray.shutdown()


def _rows(
    ray: Any, cluster: Cluster, todo: list[Sample], arguments: tuple[Any, ...], task: str, progress: Progress
) -> list[str]:
    """Send the photos through the workers; return the problems of single photos."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    chunks = -(-len(todo) // CHUNK)
    rows = [
        {"name": sample.name, "image": str(sample.image.absolute()), "tags": json.dumps(sample.tags)} for sample in todo
    ]
    opened, *others = arguments
    classes = 1 + max((tag for sample in todo for tag in sample.tags or ()), default=-1)
    # Small blocks, so that no worker waits for another at the end.
    data = ray.data.from_items(rows, override_num_blocks=chunks).map_batches(
        _Worker,
        batch_size=CHUNK,
        batch_format="numpy",
        fn_constructor_args=(opened, classes, *others),
        concurrency=min(cluster.workers, chunks),
        num_gpus=cluster.gpus,
    )
    problems: list[str] = []
    done = 0
    for row in data.iter_rows():
        if row["stopped"]:
            raise IgcamError(row["stopped"])
        problems += [line for line in row["problems"].split("\n") if line]
        done += row["photos"]
        progress(task, done, len(todo))
    return problems
