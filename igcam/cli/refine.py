"""The command `refine`; `igcam.cli.main` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from igcam.cli.progress import progress_bars
from igcam.core.errors import IgcamError


def refine(
    given: Annotated[Path, typer.Argument(help="Folder of masks NAME.png or maps NAME.npy.", show_default=False)],
    images: Annotated[Path, typer.Option("--images", help="Folder of their photos.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the refined masks, NAME.png.")],
    crf: Annotated[
        str, typer.Option(help="Preset of the dense CRF: afa, deeplab, hfpl, irn, seam, toco, weaktr.")
    ] = "afa",
    crf_side: Annotated[
        int, typer.Option(min=0, help="Longer side of photos that the kernel widths suit; 0: any.")
    ] = 0,
    without: Annotated[list[str] | None, typer.Option(help="Leave a step out: sharpen or crf. Repeatable.")] = None,
) -> None:
    """Refine masks or score maps of any origin to the edges of their photos; nothing is trained."""
    from igcam.commands.refine import refine_masks
    from igcam.methods.refinements import DenseCrf, Sharpen
    from igcam.refine.crf import CRF_PRESETS
    from igcam.refine.pyramid import PyramidOptions

    if crf not in CRF_PRESETS:
        raise IgcamError(f"--crf must be one of {', '.join(CRF_PRESETS)}, got {crf}")
    steps = {"sharpen": Sharpen(PyramidOptions()), "crf": DenseCrf(crf, crf_side)}
    for name in without or []:
        if name not in steps:
            raise IgcamError(f"--without must be sharpen or crf, each once, got {name}")
        del steps[name]
    if not steps:
        raise IgcamError("--without: leaves nothing to do")
    console = Console()
    with progress_bars(console) as progress:
        files = refine_masks(given, images, out, list(steps.values()), progress=progress)
    console.print(f"{len(files)} masks in {out}", highlight=False, soft_wrap=True)
