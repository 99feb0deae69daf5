"""The command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    output: Annotated[Path | None, typer.Option(help="Default: RUN/report.html.")] = None,
) -> None:
    """Write one HTML file with tables, curves and pictures of a run; it opens without a network."""
    from igcam.reporting import write_report

    console = Console()
    console.print(f"report: {write_report(run, output)}", highlight=False, soft_wrap=True)
