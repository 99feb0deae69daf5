"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from igcam.cli.options import Classes, class_names
from igcam.cli.progress import progress_bars


def evaluate(
    masks: Annotated[Path, typer.Argument(help="Folder with NAME.png for each image.", show_default=False)],
    truth: Annotated[Path, typer.Option("--truth", help="A VOC root, or a folder of true masks NAME.png.")],
    split: Annotated[str, typer.Option(help="List of a VOC root.")] = "val",
    classes: Classes = None,
    output: Annotated[Path | None, typer.Option(help="Where to write the ledger and all scores as JSON.")] = None,
) -> None:
    """Score masks against the truth: IoU, its kinds of error, Boundary IoU."""
    from igcam.commands.evaluate import evaluate as run_evaluate
    from igcam.commands.tables import print_classes
    from igcam.data.formats.folder import read_truth
    from igcam.metrics.ledger import Ledger

    console = Console()

    dataset = read_truth(truth, split, class_names(classes))
    ledger = Ledger(method="masks from a folder", split=split, split_size=len(dataset), tags_at_inference=False)
    with progress_bars(console) as progress:
        result = run_evaluate(masks, dataset, ledger, output, progress=progress)
    print_classes(result, console)
