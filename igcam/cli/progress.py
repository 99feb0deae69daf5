"""Progress bars of the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar for each task, with its rate."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    bars = Progress(*columns, console=console, transient=True)

    def show(name: str, done: int, total: int) -> None:
        # Started by the first task, as starting and stopping writes a line of its own.
        bars.start()
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total, rate="")
        speed = next(task.speed for task in bars.tasks if task.id == tasks[name])
        bars.update(tasks[name], completed=done, total=total, rate=f"{speed:.1f}/s" if speed else "")
        if done >= total:
            bars.remove_task(tasks.pop(name))

    try:
        yield show
    finally:
        if bars.live.is_started:
            bars.stop()
