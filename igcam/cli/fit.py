"""The command `fit`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from igcam.cli.options import Bank, Classes, Cues, Masks, Photos, Tags, class_names
from igcam.cli.progress import progress_bars


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
        typer.Option("--from", help="Another run: what tags, cues and options have not changed is taken over from it."),
    ] = None,
    method: Annotated[str, typer.Option(help="igcam or cam.")] = "igcam",
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
    """Learn from tags and cues, stage by stage, and label the photos that were learnt from."""
    from igcam.commands.fit import fit as run_fit
    from igcam.commands.tables import print_stages
    from igcam.core.options import with_setting
    from igcam.data.check import check_folder
    from igcam.data.cues import read_cues
    from igcam.data.findings import raise_errors
    from igcam.data.formats.folder import read_folder
    from igcam.methods.options import FitOptions

    console = Console()

    options = FitOptions(method=method, regime=regime, size=size, seed=seed)
    options = replace(options, backbone=replace(options.backbone, name=backbone, weights=weights))
    options = with_setting(options, *settings or ())
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
    print_stages(run, console)
    console.print(f"masks: {run.file('masks')}", highlight=False, soft_wrap=True)
