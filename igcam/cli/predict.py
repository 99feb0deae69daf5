"""The commands `label` and `predict`; `igcam.cli.main` registers them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from igcam.cli.options import FinishedRun, Model, Photos, expanded
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


@dataclass
class Writing:
    """What `label` and `predict` have in common."""

    photos: Photos
    run: FinishedRun
    out: Annotated[Path, typer.Option("--out", help="Folder for the masks, NAME.png; the same command goes on.")]
    scale: Annotated[
        list[float] | None, typer.Option(help="Factor of the run's size; scores are averaged. Repeatable.")
    ] = None
    flip: Annotated[bool | None, typer.Option(help="Average with the mirrored photo; default: as the run.")] = None
    tile: Annotated[int, typer.Option(help="Predict larger photos in tiles of this side; 0 as a whole.")] = 0
    overlap: Annotated[float, typer.Option(help="Share of a tile in common with the next one.")] = 0.25
    without: Annotated[list[str] | None, typer.Option(help="Leave a refinement out: sharpen or crf. Repeatable.")] = (
        None
    )
    confidence: Annotated[Path | None, typer.Option(help="Folder for 8-bit PNGs: probability of the mask's class.")] = (
        None
    )
    overlays: Annotated[Path | None, typer.Option(help="Folder for pictures of the masks over their photos.")] = None
    shard: Annotated[str | None, typer.Option("--shard", help="Only part i of n of the photos: i/n.")] = None
    workers: Annotated[int, typer.Option(help="Threads; 0 is one a core, 8 at most.")] = 0
    ray: Annotated[int, typer.Option(help="Share the photos among this many processes of a Ray cluster; 0: none.")] = 0
    ray_address: Annotated[str | None, typer.Option(help="Of a running cluster; default: one on this machine.")] = None
    ray_gpus: Annotated[float, typer.Option(help="GPUs of each of these processes.")] = 0.0

    def write(self, work: Callable[..., Predicted], tags: Path | None, options: PredictOptions) -> None:
        """Call `label` or `predict` with these options, and print the outcome."""
        from igcam.commands.predict import Cluster, check_outside
        from igcam.data.formats.folder import read_photos
        from igcam.runs.folder import RunFolder
        from igcam.runs.shards import Shard

        console = Console()
        run = RunFolder.open(self.run)
        options = replace(
            options,
            scales=tuple(self.scale or (1.0,)),
            flip=self.flip,
            tile=self.tile,
            overlap=self.overlap,
            workers=self.workers,
            stages=_refinements(run, self.without or []),
        )
        dataset = read_photos(self.photos, tags, run.classes)
        check_outside(dataset, self.overlays)
        with progress_bars(console) as progress:
            done = work(
                dataset,
                run,
                self.out,
                options,
                confidence=self.confidence,
                drawn=None if self.overlays is None else partial(_overlay, self.overlays, len(run.classes)),
                shard=None if self.shard is None else Shard.parse(self.shard),
                cluster=Cluster(self.ray, self.ray_gpus, self.ray_address) if self.ray else None,
                progress=progress,
            )
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        earlier = f"{done.kept} of them from an earlier call, the others " if done.kept else ""
        say(f"{len(done.files)} masks in {self.out}, {earlier}by the run's {done.model}")
        if done.problems:
            say(f"{len(done.problems)} photos cannot be read:")
            for problem in done.problems:
                say(f"  {problem}")
            raise typer.Exit(1)


BatchSize = Annotated[int, typer.Option(help="Photos or tiles a forward pass.")]


@expanded
def predict(how: Writing, model: Model = None, batch_size: BatchSize = 4) -> None:
    """Write masks for any photos, without tags; exits with 1 if photos cannot be read, after all the others."""
    from igcam.commands.predict import PredictOptions
    from igcam.commands.predict import predict as run_predict

    how.write(run_predict, None, PredictOptions(model, batch_size=batch_size))


@expanded
def label(
    how: Writing,
    tags: Annotated[Path | None, typer.Option("--tags", help="CSV of tags, which masks are restricted to.")] = None,
    bank: Annotated[
        Path | None, typer.Option("--bank", help="Folder that gives and takes features; without it none are kept.")
    ] = None,
    batch_size: BatchSize = 8,
) -> None:
    """Write masks for photos by the heads of a run, of tagged classes only with --tags; exits as `predict` does."""
    from igcam.commands.label import LABEL
    from igcam.commands.label import label as run_label

    how.write(partial(run_label, bank=bank), tags, replace(LABEL, batch_size=batch_size))


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
