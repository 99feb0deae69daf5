"""The command `distill`; `igcam.cli.main` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from igcam.cli.options import RunBank
from igcam.cli.progress import progress_bars


def distill(
    run: Annotated[Path, typer.Option("--run", help="A finished run, whose masks the segmenter is trained on.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the segmenter; default: RUN/segmenter.")] = None,
    bank: RunBank = None,
    decoder: Annotated[str, typer.Option(help="deeplabv3plus, upernet, fpn or segformer.")] = "deeplabv3plus",
    regime: Annotated[str, typer.Option(help="frozen, or finetune: the backbone is trained too.")] = "frozen",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the photos in each round; few photos get more.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds; in further ones the segmenter's own masks take part.")] = 1,
    seed: Annotated[int, typer.Option(help="Seeds all that is random.")] = 0,
    workers: Annotated[
        int, typer.Option(min=0, help="Threads that load photos, in each process; 0 is one a core, 8 at most.")
    ] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other option by its dotted name: segmenter.width=256. Repeatable."),
    ] = None,
) -> None:
    """Train a segmenter on the masks of a run, which then needs no tags; the same command goes on."""
    from dataclasses import replace

    from igcam.commands.distill import distill as run_distill
    from igcam.core.validation import with_setting
    from igcam.methods.distill import DistillOptions
    from igcam.methods.training.devices import is_main_process
    from igcam.models.segmenter import SegmenterOptions
    from igcam.runs.old_options import new_name

    options = DistillOptions(segmenter=SegmenterOptions(decoder), regime=regime, rounds=rounds, seed=seed)
    options = options if epochs is None else replace(options, epochs=epochs)
    options = with_setting(options, *settings or (), new_name=new_name)
    console = Console()
    with progress_bars(console) as progress:
        folder = run_distill(run, options, out=out, bank=bank, workers=workers, progress=progress)
    if is_main_process():
        console.print(f"segmenter: {folder}", highlight=False, soft_wrap=True)
