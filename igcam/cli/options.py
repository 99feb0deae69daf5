"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Photos = Annotated[Path, typer.Argument(help="Folder of photos, searched with its subfolders.", show_default=False)]
FinishedRun = Annotated[Path, typer.Option("--run", help="A finished run.")]
RunBank = Annotated[Path | None, typer.Option("--bank", help="Folder of its features; default: RUN/bank.")]
Model = Annotated[str | None, typer.Option(help="head or segmenter; default: the segmenter where the run has one.")]
ShardOf = Annotated[str | None, typer.Option("--shard", help="Only part i of n of the photos: i/n.")]
