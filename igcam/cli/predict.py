"""The command `predict`; `igcam.cli.main` registers it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from igcam.cli.options import FinishedRun, Model, Photos, ShardOf
from igcam.cli.progress import progress_bars
from igcam.core.errors import IgcamError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from igcam.commands.predict import Predicted
    from igcam.data.sample import Sample

OVERLAY_WIDTH = 1024
"""Pixels that overlays are wide at most."""


def predict(
    photos: Photos,
    run: FinishedRun,
    out: Annotated[Path, typer.Option("--out", help="Folder for the masks, NAME.png; the same command goes on.")],
    model: Model = None,
    scale: Annotated[
        list[float] | None, typer.Option(help="Factor of the run's size; scores are averaged. Repeatable.")
    ] = None,
    flip: Annotated[bool | None, typer.Option(help="Average with the mirrored photo; default: as the run.")] = None,
    tile: Annotated[int, typer.Option(help="Predict larger photos in tiles of this side; 0 as a whole.")] = 0,
    overlap: Annotated[float, typer.Option(help="Share of a tile in common with the next one.")] = 0.25,
    without: Annotated[list[str] | None, typer.Option(help="Leave a step out: sharpen or crf. Repeatable.")] = None,
    confidence: Annotated[
        Path | None, typer.Option(help="Folder for 8-bit PNGs of how probable the masks' classes are.")
    ] = None,
    overlays: Annotated[Path | None, typer.Option(help="Folder for pictures of the masks over their photos.")] = None,
    shard: ShardOf = None,
    batch_size: Annotated[int, typer.Option(help="Photos or tiles a forward pass.")] = 4,
    workers: Annotated[int, typer.Option(help="Threads; 0 is one a core, 8 at most.")] = 0,
    ray: Annotated[int, typer.Option(help="Share the photos among so many processes of a Ray cluster; 0: none.")] = 0,
    ray_address: Annotated[str | None, typer.Option(help="Of a running cluster; default: one on this machine.")] = None,
    ray_gpus: Annotated[float, typer.Option(help="GPUs of each of these processes.")] = 0.0,
) -> None:
    """Draw masks for any photos, without tags; exits with 1 where photos cannot be read, after all the others."""
    from igcam.commands.predict import PredictOptions, check_outside
    from igcam.commands.predict import predict as run_predict
    from igcam.data.images import save_jpeg
    from igcam.data.truth import read_photos
    from igcam.methods.base import Refinement
    from igcam.reporting.overlay import mask_overlay, thumbnail
    from igcam.runs.folder import RunFolder
    from igcam.runs.shards import Shard

    console = Console()
    opened = RunFolder.open(run)
    refinements = [stage.name for stage in opened.options.stages if isinstance(stage, Refinement)]
    for name in without or []:
        if name not in refinements:
            raise IgcamError(f"--without must be {' or '.join(refinements)}, got {name}")
    stages = tuple(name for name in refinements if name not in (without or []))
    options = PredictOptions(
        model=model,
        scales=tuple(scale or (1.0,)),
        flip=flip,
        tile=tile,
        overlap=overlap,
        stages=stages,
        batch_size=batch_size,
        workers=workers,
    )
    part = None if shard is None else Shard.parse(shard)
    dataset = read_photos(photos, None, opened.classes)
    check_outside(dataset, overlays)
    dataset = dataset if part is None else part.of(dataset)

    def draw(sample: Sample, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        if overlays is not None:
            small = thumbnail(image, min(OVERLAY_WIDTH, image.shape[1]))
            save_jpeg(overlays / f"{sample.name}.jpg", mask_overlay(small, mask, len(opened.classes)))

    with progress_bars(console) as progress:
        work: Callable[..., Predicted] = run_predict
        if ray:
            from igcam.commands.predicting.ray import ray_predict

            work = partial(ray_predict, workers=ray, gpus=ray_gpus, address=ray_address)
        done = work(dataset, opened, out, options, confidence=confidence, drawn=draw, progress=progress)
    console.print(f"{len(done.files)} masks in {out}, by the run's {done.model}", highlight=False, soft_wrap=True)
    if done.problems:
        console.print(f"{len(done.problems)} photos cannot be read:", highlight=False)
        for problem in done.problems:
            console.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1)
