"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from igcam.cli.options import Classes, Cues, class_names
from igcam.cli.progress import progress_bars


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
    min_area: Annotated[
        int, typer.Option("--min-area", "--least", min=0, help="Pixels of the smallest object that is kept.")
    ] = 0,
    link: Annotated[bool, typer.Option("--link", help="Hard links in place of copies of photos.")] = False,
) -> None:
    """Write masks and photos in the format of another tool; boxes and masks of --cues say what is one object."""
    from igcam.commands.export import export as run_export
    from igcam.commands.export import open_masks
    from igcam.data.export_item import ExportOptions

    console = Console()
    options = ExportOptions(shape=shape, tolerance=simplify, min_area=min_area, link=link)  # type: ignore[arg-type]
    folder, dataset = open_masks(masks, images, run, class_names(classes), cues)
    with progress_bars(console) as progress:
        exported = run_export(folder, dataset, out, format, options, progress=progress)
    console.print(str(exported), highlight=False, soft_wrap=True)
