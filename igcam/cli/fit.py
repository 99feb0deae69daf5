"""The command `fit`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from igcam.cli.options import Bank, Classes, Cues, Masks, Photos, Tags, class_names
from igcam.cli.progress import progress_bars

if TYPE_CHECKING:
    from igcam.runs.folder import RunFolder


def fit(
    photos: Photos,
    out: Annotated[Path, typer.Option("--out", help="Run folder; the same command goes on where it stopped.")],
    tags: Tags = None,
    cues: Cues = None,
    truth: Masks = None,
    classes: Classes = None,
    bank: Bank = None,
    earlier: Annotated[
        Path | None,
        typer.Option("--from", help="Another run: stages that tags, cues and options leave unchanged are reused."),
    ] = None,
    method: Annotated[str, typer.Option(help="Name of a method: igcam methods lists them.")] = "igcam",
    backbone: Annotated[str, typer.Option(help="Name of a timm network.")] = "resnet50",
    weights: Annotated[Path | None, typer.Option(help="Local .safetensors in place of timm's download.")] = None,
    regime: Annotated[str, typer.Option(help="frozen, or finetune: train the backbone on the tags first.")] = "frozen",
    size: Annotated[int, typer.Option(help="Side in pixels of the square that the network sees.")] = 384,
    without: Annotated[
        list[str] | None, typer.Option(help="Switch a stage off: guide, reweight, sharpen or crf. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seeds all that is random.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any other option by its dotted name: igcam.guide.learn.head.epochs=20. Repeatable."
        ),
    ] = None,
) -> None:
    """Train on tags and cues, stage by stage, and write masks of the training photos."""
    from igcam.commands.fit import fit as run_fit
    from igcam.core.validation import with_setting
    from igcam.data.check import check_folder
    from igcam.data.cues import read_cues
    from igcam.data.findings import raise_errors
    from igcam.data.formats.folder import read_folder
    from igcam.methods.options import FitOptions
    from igcam.runs.old_options import new_name

    console = Console()

    options = FitOptions(method=method, regime=regime, size=size, seed=seed)
    options = replace(options, backbone=replace(options.backbone, name=backbone, weights=weights))
    options = with_setting(options, *settings or (), new_name=new_name)
    options = options.leave_out(without or ())
    findings = check_folder(photos, tags, cues, truth, class_names(classes), workers=2)
    raise_errors(photos, findings)
    if findings:
        console.print(f"{len(findings)} warnings; igcam check lists them", highlight=False)
    dataset = read_folder(photos, tags, truth, class_names(classes))
    if cues is not None:
        dataset = dataset.with_cues(read_cues(cues, dataset))
    with progress_bars(console) as progress:
        run = run_fit(dataset, out, options, bank=bank, earlier=earlier, split=photos.name, progress=progress)
    _print_stages(run, console)
    console.print(f"masks: {run.file('masks')}", highlight=False, soft_wrap=True)


def _print_stages(run: RunFolder, console: Console) -> None:
    """Print the scores of a run after each stage, where truth is known."""
    from igcam.core.files import read_json

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
