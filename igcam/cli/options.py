"""Arguments that several commands have."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Photos = Annotated[Path, typer.Argument(help="Folder of photos, searched with its subfolders.", show_default=False)]
FinishedRun = Annotated[Path, typer.Option("--run", help="A finished run.")]
RunBank = Annotated[Path | None, typer.Option("--bank", help="Folder of its features; default: RUN/bank.")]
Model = Annotated[str | None, typer.Option(help="head or segmenter; default: the segmenter where the run has one.")]
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


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the first parameter of a command, a dataclass, by its fields, so that commands can share options."""
    shared, *own = inspect.signature(command, eval_str=True).parameters.values()
    fields = inspect.signature(shared.annotation, eval_str=True).parameters

    @functools.wraps(command)
    def call(**given: Any) -> None:
        command(shared.annotation(**{name: given.pop(name) for name in fields}), **given)

    parameters = [item.replace(kind=item.KEYWORD_ONLY) for item in (*fields.values(), *own)]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {item.name: item.annotation for item in parameters}
    return call


def class_names(classes: str | None) -> list[str] | None:
    """Return the names of --classes."""
    from igcam.data.sample import named_once

    return None if classes is None else list(named_once([name.strip() for name in classes.split(",")]))
