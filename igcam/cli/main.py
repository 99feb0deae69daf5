"""The command line: one file a command; each parses, calls the Python function of the same name, and prints."""

from __future__ import annotations

import os
import sys

import typer
from rich.console import Console

from igcam.cli.audit import audit
from igcam.cli.check import check
from igcam.cli.demo import demo
from igcam.cli.distill import distill
from igcam.cli.evaluate import evaluate
from igcam.cli.export import export
from igcam.cli.fit import fit
from igcam.cli.methods import methods
from igcam.cli.onnx import export_onnx
from igcam.cli.predict import label, predict
from igcam.cli.refine import refine
from igcam.cli.report import report
from igcam.core.errors import IgcamError
from igcam.core.memory import keep_memory

# Before torch is imported: spinning threads slow down whatever else runs.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

app = typer.Typer(
    help="From image tags to pixel masks.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
for one in (check, fit, label, predict, refine, export, evaluate, report, methods, audit, distill, export_onnx, demo):
    app.command()(one)


def main() -> None:
    """Run the command line; a user error is one line, without a traceback, with status 2."""
    keep_memory()
    try:
        app()
    except IgcamError as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
