"""The command `methods`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def methods(
    schema: Annotated[bool, typer.Option(help="Print the JSON schema of the options of a run instead.")] = False,
) -> None:
    """List the methods: name, idea, paper, cues that they use besides tags, what they need."""
    from igcam.core.validation import schema as schema_of
    from igcam.methods.options import FitOptions
    from igcam.methods.registry import methods as known

    if schema:
        print(json.dumps(schema_of(FitOptions), indent=2))
        return
    table = Table()
    for title in ("method", "idea", "paper", "cues", "needs"):
        table.add_column(title, overflow="fold")
    for name, method in known().items():
        cells = (name, method.about, method.paper, ", ".join(method.cues) or "-", method.needs or "-")
        table.add_row(*map(escape, cells))
    Console(width=max(Console().width, 100)).print(table)
