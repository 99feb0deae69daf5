"""Tables in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from igcam.commands.evaluate import Evaluation
from igcam.core.files import read_json
from igcam.runs.folder import RunFolder


def print_stages(run: RunFolder, console: Console) -> None:
    """Print the scores of a run after each stage; where no truth is known, say so."""
    if not run.file("metrics.json").exists():
        console.print("no true masks were given, so there are no metrics")
        return
    stages = read_json(run.file("metrics.json"))["stages"]
    ledger = next(iter(stages.values()))["ledger"]
    title = f"{run.path}: {ledger['split_size']} images of {ledger['split']}, tags known"
    console.print(title, highlight=False, soft_wrap=True)
    table = Table()
    table.add_column("after")
    for name in ("mIoU", "Boundary IoU", "foreground IoU", "seconds so far"):
        table.add_column(name, justify="right")
    for stage, result in stages.items():
        values = {row["id"]: row["value"] for row in result["rows"]}
        cells = [
            f"{values[name]:.1f}" if name in values else "-" for name in ("miou", "boundary_iou", "foreground_iou")
        ]
        table.add_row(stage, *cells, f"{result['ledger']['wall_seconds']:.0f}")
    console.print(table)


def print_classes(result: Evaluation, console: Console) -> None:
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
