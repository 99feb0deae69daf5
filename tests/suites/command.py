"""The type of the fixture `igcam`: runs a command, returns its exit status and all that it printed."""

from __future__ import annotations

from collections.abc import Callable

Command = Callable[..., tuple[int, str]]
