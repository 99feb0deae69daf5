"""The command `export-onnx`; `igcam.cli.main` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from igcam.cli.options import FinishedRun, Model


def export_onnx(
    run: FinishedRun, out: Annotated[Path, typer.Option("--out", help="The file, NAME.onnx.")], model: Model = None
) -> None:
    """Write the network of a run as ONNX, for any number and size of images, and check it against torch."""
    from igcam.commands.onnx_export import export_onnx as run_export

    difference = run_export(run, out, model)
    Console().print(f"{out}: differs from torch by {difference:.1g} at most", highlight=False, soft_wrap=True)
