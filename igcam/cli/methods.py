"""The command `methods`."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def methods() -> None:
    """List the methods: name, idea, paper, cues that they use besides tags, what they need."""
    from igcam.methods.registry import methods as known

    table = Table()
    for title in ("method", "idea", "paper", "cues", "needs"):
        table.add_column(title, overflow="fold")
    for name, method in known().items():
        cells = (name, method.about, method.paper, ", ".join(method.cues) or "-", method.needs or "-")
        table.add_row(*map(escape, cells))
    Console(width=max(Console().width, 100)).print(table)
