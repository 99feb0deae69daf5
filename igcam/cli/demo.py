"""The command `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from igcam.cli.progress import progress_bars


def demo(
    out: Annotated[Path, typer.Option("--out", help="Run folder.")] = Path("runs/demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions with other pictures and networks.")] = 3,
    images: Annotated[int, typer.Option(min=1, help="Training pictures.")] = 300,
) -> None:
    """Run everything on built-in pictures, in minutes on two cores, and compare the stages with full supervision."""
    from igcam.commands.demo import demo as run_demo
    from igcam.reporting import write_report

    console = Console()
    with progress_bars(console) as progress:
        run_demo(out, seeds=seeds, images=images, console=console, progress=progress)
    reports = [write_report(out / f"seed-{seed}" / "igcam") for seed in range(seeds)]
    console.print(f"report: {reports[0]}", highlight=False, soft_wrap=True)
