"""The command line: parses, calls the Python function of the same name, prints."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from igcam.cli.audit import audit
from igcam.cli.distill import distill
from igcam.cli.onnx import export_onnx
from igcam.cli.options import Photos
from igcam.cli.predict import label, predict
from igcam.cli.progress import progress_bars
from igcam.cli.refine import refine
from igcam.core.errors import IgcamError
from igcam.core.memory import keep_memory

app = typer.Typer(
    help="From image tags to pixel masks.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
console = Console()

Tags = Annotated[
    Path | None,
    typer.Option("--tags", help="CSV `image,tags` (; between tags) or one-hot; without it, one folder a class."),
]
Masks = Annotated[Path | None, typer.Option("--truth", help="Folder of true masks NAME.png, for metrics only.")]
Cues = Annotated[Path | None, typer.Option("--cues", help="cues.jsonl with masks and other instance cues.")]
Classes = Annotated[
    str | None, typer.Option("--classes", help="Names with commas between, in the order of their mask ids.")
]
Bank = Annotated[Path | None, typer.Option("--bank", help="Folder of computed features, which runs can share.")]


@app.command()
def check(photos: Photos, tags: Tags = None, cues: Cues = None, truth: Masks = None, classes: Classes = None) -> None:
    """Look at every photo, tag, cue and mask, and list all that is wrong; exits with 1 where work could not start."""
    from igcam.data.check import check_folder, has_errors

    findings = check_folder(photos, tags, cues, truth, _names(classes), workers=2)
    for finding in findings:
        console.print(str(finding), markup=False, highlight=False, soft_wrap=True)
    errors = sum(finding.level == "error" for finding in findings)
    console.print(f"{errors} errors, {len(findings) - errors} warnings", highlight=False)
    if has_errors(findings):
        raise typer.Exit(1)


@app.command()
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
    from igcam.data.check import check_folder
    from igcam.data.cues import read_cues
    from igcam.data.findings import raise_errors
    from igcam.data.formats.folder import read_folder
    from igcam.runs.options import FitOptions, with_setting

    options = FitOptions(method=method, regime=regime, size=size, seed=seed)
    options = replace(options, backbone=replace(options.backbone, name=backbone, weights=weights))
    options = with_setting(options, *settings or ())
    options = options.without(without or [])
    findings = check_folder(photos, tags, cues, truth, _names(classes), workers=2)
    raise_errors(photos, findings)
    if findings:
        console.print(f"{len(findings)} warnings; igcam check lists them", highlight=False)
    dataset = read_folder(photos, tags, truth, _names(classes))
    if cues is not None:
        dataset = dataset.with_cues(read_cues(cues, dataset))
    with progress_bars(console) as progress:
        run = run_fit(dataset, out, options, bank=bank, earlier=earlier, split=photos.name, progress=progress)
    print_stages(run, console)
    console.print(f"masks: {run.file('masks')}", highlight=False, soft_wrap=True)


app.command()(label)


app.command()(predict)


app.command()(refine)


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="Folder for the export; must be new, empty or the same export.")],
    format: Annotated[str, typer.Option(help="voc, coco, yolo, label-studio or folder.")],
    masks: Annotated[Path | None, typer.Argument(help="Folder of masks NAME.png; default: those of --run.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of their photos; default: those of --run.")] = None,
    run: Annotated[Path | None, typer.Option(help="A finished run; knows masks, photos and classes.")] = None,
    classes: Classes = None,
    cues: Cues = None,
    shape: Annotated[str, typer.Option(help="polygon or mask, for coco and label-studio.")] = "polygon",
    simplify: Annotated[float, typer.Option(help="Pixels that polygons may be off; 0 is exact.")] = 0.0,
    minimum: Annotated[int, typer.Option(min=0, help="Pixels of the smallest object; smaller ones are left out.")] = 0,
    link: Annotated[bool, typer.Option("--link", help="Hard links in place of copies of photos.")] = False,
) -> None:
    """Write masks and photos in the format of another tool; boxes and masks of --cues say what is one object."""
    from igcam.commands.export import export as run_export
    from igcam.commands.export import open_masks
    from igcam.data.export_item import ExportOptions

    options = ExportOptions(shape=shape, tolerance=simplify, min_area=minimum, link=link)  # type: ignore[arg-type]
    folder, dataset = open_masks(masks, images, run, _names(classes), cues)
    with progress_bars(console) as progress:
        exported = run_export(folder, dataset, out, format, options, progress=progress)
    console.print(str(exported), highlight=False, soft_wrap=True)


@app.command()
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
    from igcam.data.truth import read_truth
    from igcam.metrics.ledger import Ledger

    dataset = read_truth(truth, split, _names(classes))
    ledger = Ledger(method="masks from a folder", split=split, split_size=len(dataset), tags_at_inference=False)
    with progress_bars(console) as progress:
        result = run_evaluate(masks, dataset, ledger, output, progress=progress)
    print_classes(result, console)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    output: Annotated[Path | None, typer.Option(help="Default: RUN/report.html.")] = None,
) -> None:
    """Write one HTML file with tables, curves and pictures of a run; it opens without a network."""
    from igcam.reporting import write_report

    console.print(f"report: {write_report(run, output)}", highlight=False, soft_wrap=True)


app.command()(audit)


app.command()(distill)


app.command()(export_onnx)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Run folder.")] = Path("runs/demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions with other pictures and networks.")] = 3,
    images: Annotated[int, typer.Option(min=1, help="Training pictures.")] = 300,
) -> None:
    """Run everything on built-in pictures, in minutes on two cores, and compare the stages with full supervision."""
    from igcam.commands.demo import demo as run_demo
    from igcam.reporting import write_report

    with progress_bars(console) as progress:
        run_demo(out, seeds=seeds, images=images, console=console, progress=progress)
    reports = [write_report(out / f"seed-{seed}" / "igcam") for seed in range(seeds)]
    console.print(f"report: {reports[0]}", highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; mistakes of the user are told in a line, without a traceback, with status 2."""
    keep_memory()
    try:
        app()
    except IgcamError as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


def _names(classes: str | None) -> list[str] | None:
    from igcam.data.sample import named_once

    return None if classes is None else list(named_once([name.strip() for name in classes.split(",")]))


if __name__ == "__main__":
    main()
