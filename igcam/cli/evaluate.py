"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from igcam.cli.options import Classes, class_names
from igcam.cli.progress import progress_bars

if TYPE_CHECKING:
    from igcam.commands.evaluate import Evaluation


def evaluate(
    masks: Annotated[Path, typer.Argument(help="Folder with NAME.png for each image.", show_default=False)],
    truth: Annotated[Path, typer.Option("--truth", help="A VOC root, or a folder of true masks NAME.png.")],
    split: Annotated[str, typer.Option(help="List of a VOC root.")] = "val",
    classes: Classes = None,
    output: Annotated[Path | None, typer.Option(help="Where to write the ledger and all scores as JSON.")] = None,
) -> None:
    """Score masks against the truth: IoU, its kinds of error, Boundary IoU."""
    from igcam.commands.evaluate import evaluate as run_evaluate
    from igcam.data.formats.folder import read_truth
    from igcam.metrics.ledger import Ledger

    console = Console()
    dataset = read_truth(truth, split, class_names(classes))
    ledger = Ledger(method="masks from a folder", split=split, split_size=len(dataset), tags_at_inference=False)
    with progress_bars(console) as progress:
        result = run_evaluate(masks, dataset, ledger, output, progress=progress)
    _print_classes(result, console)


def _print_classes(result: Evaluation, console: Console) -> None:
    """Print the scores of each class and their means, in percent."""
    table = Table(title=f"{len(result.images)} images")
    table.add_column("class")
    for name in ("IoU", "false positive", "false negative", "Boundary IoU"):
        table.add_column(name, justify="right")
    scores = result.scores
    for index, name in enumerate(("background", *result.classes)):
        if index not in scores.absent:
            numbers = (scores.iou[index], scores.fpr[index], scores.fnr[index], result.boundary.iou[index])
            table.add_row(name, *(f"{100 * number:.1f}" for number in numbers))
    table.add_section()
    table.add_row("mean", f"{100 * scores.miou:.1f}", "", "", f"{100 * result.boundary.miou:.1f}")
    console.print(table)
    if scores.absent:
        names = ("background", *result.classes)
        console.print(f"absent, not in the mean: {', '.join(names[index] for index in scores.absent)}")
    if scores.predicted_ignore:
        console.print(f"{scores.predicted_ignore} pixels were predicted as 255 and counted as background")
