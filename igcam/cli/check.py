"""The command `check`."""

from __future__ import annotations

import typer
from rich.console import Console

from igcam.cli.options import Classes, Cues, Masks, Photos, Tags, class_names


def check(photos: Photos, tags: Tags = None, cues: Cues = None, truth: Masks = None, classes: Classes = None) -> None:
    """Look at every photo, tag, cue and mask, and list all that is wrong; exits with 1 where work could not start."""
    from igcam.data.check import check_folder, has_errors

    console = Console()
    findings = check_folder(photos, tags, cues, truth, class_names(classes), workers=2)
    for finding in findings:
        console.print(str(finding), markup=False, highlight=False, soft_wrap=True)
    errors = sum(finding.level == "error" for finding in findings)
    console.print(f"{errors} errors, {len(findings) - errors} warnings", highlight=False)
    if has_errors(findings):
        raise typer.Exit(1)
