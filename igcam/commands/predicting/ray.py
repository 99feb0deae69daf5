"""`predict` on the machines of a Ray cluster, which share the folders of photos, run and masks; extra `igcam[ray]`."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from igcam.commands.predict import Drawn, PhotoPredictor, Predicted, PredictOptions, check_outside
from igcam.core.errors import IgcamError
from igcam.core.progress import Progress, no_progress
from igcam.data.sample import Dataset, Sample
from igcam.runs.folder import RunFolder

CHUNK = 32
"""Photos that a worker is given at a time; what is lost where one dies."""


class _Worker:
    """A process that has loaded the run once."""

    def __init__(
        self, run: str, options: PredictOptions, out: str, confidence: str | None, drawn: Drawn | None
    ) -> None:
        self.predictor = PhotoPredictor.open(RunFolder.open(run), options)
        self.out = Path(out)
        self.confidence = None if confidence is None else Path(confidence)
        self.drawn = drawn

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        names, images = batch["name"].tolist(), batch["image"].tolist()
        samples = tuple(Sample(name, Path(image)) for name, image in zip(names, images, strict=True))
        stopped = ""
        try:
            done = self.predictor.predict(Dataset((), samples), self.out, self.confidence, self.drawn)
            problems = "\n".join(done.problems)
        except IgcamError as error:
            # An exception would come back with the worker's traceback.
            problems, stopped = "", str(error)
        rows = {"model": [self.predictor.model], "photos": [len(names)], "problems": [problems], "stopped": [stopped]}
        return {name: np.array(value) for name, value in rows.items()}


def ray_predict(
    dataset: Dataset,
    run: str | Path | RunFolder,
    out: str | Path,
    options: PredictOptions | None = None,
    *,
    workers: int = 2,
    gpus: float = 0,
    address: str | None = None,
    confidence: str | Path | None = None,
    drawn: Drawn | None = None,
    progress: Progress = no_progress,
) -> Predicted:
    """Do what `predict` does, with several processes; the same call again goes on where it was stopped.

    Args:
        dataset: Photos, on a file system that all machines share, as RUN and OUT.
        run: A finished run.
        out: Folder for NAME.png.
        options: Defaults to `PredictOptions()`.
        workers: Processes; each loads the run once.
        gpus: GPUs of each worker; may be a share.
        address: Of a running cluster, as Ray takes it; None starts one on this machine, or takes that of RAY_ADDRESS.
        confidence: As for `predict`.
        drawn: As for `predict`; called in the workers.
        progress: Called with what is being done, the number done and the number to do.

    Raises:
        IgcamError: Ray is not installed or no cluster answers; and as for `predict`.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise IgcamError('--ray: needs Ray: pip install "igcam[ray]"') from error
    if workers < 1:
        raise IgcamError(f"--ray: must be at least 1 worker, got {workers}")
    options = options or PredictOptions()
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    # Workers run in other folders.
    samples = (replace(sample, image=sample.image.absolute()) for sample in dataset)
    dataset = Dataset((), tuple(replace(sample, tags=None) for sample in samples))
    out, confidence = Path(out).absolute(), None if confidence is None else Path(confidence).absolute()
    check_outside(dataset, out, confidence)
    # What is wrong with the run is told here, once.
    model = PhotoPredictor.open(run, options).model
    files = [out / f"{name}.png" for name in dataset.names]
    todo = [sample for sample, file in zip(dataset, files, strict=True) if not file.exists()]
    problems: list[str] = []
    if todo:
        begun = not ray.is_initialized()
        if begun:
            try:
                cores = None if address else max(workers, os.cpu_count() or 1)
                ray.init(address, num_cpus=cores, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError) as error:
                raise IgcamError(f"--ray-address: no Ray cluster answers: {str(error).splitlines()[0]}") from error
        try:
            arguments = (str(run.path.absolute()), options, str(out), None if confidence is None else str(confidence))
            problems = _run(ray, todo, (*arguments, drawn), min(workers, -(-len(todo) // CHUNK)), gpus, progress)
        finally:
            if begun:
                ray.shutdown()
    return Predicted(model, tuple(file for file in files if file.exists()), tuple(problems))


def _run(
    ray: Any, todo: list[Sample], arguments: tuple[Any, ...], workers: int, gpus: float, progress: Progress
) -> list[str]:
    """Send the photos through the workers; return what is wrong with photos."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    # Small blocks, so that no worker waits for another at the end.
    rows = [{"name": sample.name, "image": str(sample.image)} for sample in todo]
    data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // CHUNK))
    data = data.map_batches(
        _Worker,
        batch_size=CHUNK,
        batch_format="numpy",
        fn_constructor_args=arguments,
        concurrency=workers,
        num_gpus=gpus,
    )
    problems: list[str] = []
    done = 0
    for row in data.iter_rows():
        if row["stopped"]:
            raise IgcamError(row["stopped"])
        problems += [line for line in row["problems"].split("\n") if line]
        done += row["photos"]
        progress("predict", done, len(todo))
    return problems
