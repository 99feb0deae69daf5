"""The commands `label` and `predict`; `igcam.cli.main` registers them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from igcam.cli.options import FinishedRun, Model, Photos, ShardOf
from igcam.cli.progress import progress_bars
from igcam.core.errors import IgcamError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from igcam.commands.predict import Predicted, PredictOptions
    from igcam.data.sample import Sample
    from igcam.runs.folder import RunFolder

OVERLAY_WIDTH = 1024
"""Maximum width of overlays in pixels."""

Out = Annotated[Path, typer.Option("--out", help="Folder for the masks, NAME.png; the same command goes on.")]
Scales = Annotated[list[float] | None, typer.Option(help="Factor of the run's size; scores are averaged. Repeatable.")]
Flip = Annotated[bool | None, typer.Option(help="Average with the mirrored photo; default: as the run.")]
TileSide = Annotated[int, typer.Option(help="Predict larger photos in tiles of this side; 0 as a whole.")]
Overlap = Annotated[float, typer.Option(help="Share of a tile in common with the next one.")]
Without = Annotated[list[str] | None, typer.Option(help="Leave a refinement out: sharpen or crf. Repeatable.")]
Confidence = Annotated[Path | None, typer.Option(help="Folder for 8-bit PNGs: probability of the mask's class.")]
Overlays = Annotated[Path | None, typer.Option(help="Folder for pictures of the masks over their photos.")]
BatchSize = Annotated[int, typer.Option(help="Photos or tiles a forward pass.")]
Workers = Annotated[int, typer.Option(help="Threads; 0 is one a core, 8 at most.")]
Ray = Annotated[int, typer.Option(help="Share the photos among so many processes of a Ray cluster; 0: none.")]
RayAddress = Annotated[str | None, typer.Option(help="Of a running cluster; default: one on this machine.")]
RayGpus = Annotated[float, typer.Option(help="GPUs of each of these processes.")]
KnownTags = Annotated[Path | None, typer.Option("--tags", help="CSV of tags, which masks are restricted to.")]
KeptBank = Annotated[
    Path | None, typer.Option("--bank", help="Folder that gives and takes features; without it none are kept.")
]


def predict(
    photos: Photos,
    run: FinishedRun,
    out: Out,
    model: Model = None,
    scale: Scales = None,
    flip: Flip = None,
    tile: TileSide = 0,
    overlap: Overlap = 0.25,
    without: Without = None,
    confidence: Confidence = None,
    overlays: Overlays = None,
    shard: ShardOf = None,
    batch_size: BatchSize = 4,
    workers: Workers = 0,
    ray: Ray = 0,
    ray_address: RayAddress = None,
    ray_gpus: RayGpus = 0.0,
) -> None:
    """Write masks for any photos, without tags; exits with 1 if photos cannot be read, after all the others."""
    from igcam.commands.predict import PredictOptions
    from igcam.commands.predict import predict as run_predict

    options = PredictOptions(
        model, tuple(scale or (1.0,)), flip, tile, overlap=overlap, batch_size=batch_size, workers=workers
    )
    _write(
        run_predict, photos, None, run, out, options, without, confidence, overlays, shard, (ray, ray_gpus, ray_address)
    )


def label(
    photos: Photos,
    run: FinishedRun,
    out: Out,
    tags: KnownTags = None,
    bank: KeptBank = None,
    without: Without = None,
    scale: Scales = None,
    flip: Flip = None,
    tile: TileSide = 0,
    overlap: Overlap = 0.25,
    shard: ShardOf = None,
    confidence: Confidence = None,
    overlays: Overlays = None,
    workers: Workers = 0,
    batch_size: BatchSize = 8,
    ray_gpus: RayGpus = 0.0,
    ray_address: RayAddress = None,
    ray: Ray = 0,
) -> None:
    """Write masks for photos by the heads of a run, of tagged classes only with --tags; exits as `predict` does."""
    from igcam.commands.label import LABEL
    from igcam.commands.label import label as run_label

    changes: dict[str, Any] = {"scales": tuple(scale or (1.0,)), "flip": flip, "tile": tile, "overlap": overlap}
    options = replace(LABEL, **changes, batch_size=batch_size, workers=workers)
    work = partial(run_label, bank=bank)
    _write(work, photos, tags, run, out, options, without, confidence, overlays, shard, (ray, ray_gpus, ray_address))


def _write(
    work: Callable[..., Predicted],
    photos: Path,
    tags: Path | None,
    folder: Path,
    out: Path,
    options: PredictOptions,
    without: list[str] | None,
    confidence: Path | None,
    overlays: Path | None,
    shard: str | None,
    ray: tuple[int, float, str | None],
) -> None:
    """Call `label` or `predict`, and print the outcome; `ray` is the workers, their GPUs and the address."""
    from igcam.commands.predict import Cluster, check_outside
    from igcam.data.formats.folder import read_photos
    from igcam.runs.folder import RunFolder
    from igcam.runs.shards import Shard

    console = Console()
    run = RunFolder.open(folder)
    options = replace(options, stages=_refinements(run, without or []))
    part = None if shard is None else Shard.parse(shard)
    dataset = read_photos(photos, tags, run.classes)
    check_outside(dataset, overlays)
    workers, gpus, address = ray
    cluster = Cluster(workers, gpus, address) if workers else None
    drawn = None if overlays is None else partial(_overlay, overlays, len(run.classes))
    with progress_bars(console) as progress:
        how = {"confidence": confidence, "drawn": drawn, "shard": part, "cluster": cluster, "progress": progress}
        done = work(dataset, run, out, options, **how)
    console.print(f"{len(done.files)} masks in {out}, by the run's {done.model}", highlight=False, soft_wrap=True)
    if done.problems:
        console.print(f"{len(done.problems)} photos cannot be read:", highlight=False)
        for problem in done.problems:
            console.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1)


def _refinements(run: RunFolder, without: list[str]) -> tuple[str, ...]:
    known = [stage.name for stage in run.options.refinements]
    for name in without:
        if name not in known:
            raise IgcamError(f"--without must be {' or '.join(known) or 'left out'}, got {name}")
    return tuple(name for name in known if name not in without)


def _overlay(folder: Path, classes: int, sample: Sample, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    from igcam.data.images import save_jpeg
    from igcam.reporting.overlay import mask_overlay, thumbnail

    small = thumbnail(image, min(OVERLAY_WIDTH, image.shape[1]))
    save_jpeg(folder / f"{sample.name}.jpg", mask_overlay(small, mask, classes))
