"""How long work reports what it has done."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the number done and the number to do."""


def no_progress(task: str, done: int, total: int) -> None:
    """Report nothing."""
