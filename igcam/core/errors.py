"""The one exception that a user can cause."""

from __future__ import annotations

from collections.abc import Sequence


class IgcamError(Exception):
    """A mistake in what the user gave: a file, a table row, an option.

    The message names the file or argument, the rule and the value; the command line prints it without a
    traceback and exits with status 2.
    """

    @classmethod
    def from_lines(cls, headline: str, lines: Sequence[str]) -> IgcamError:
        """Report several findings at once, one line each, below a headline."""
        return cls("\n".join([headline, *(f"  {line}" for line in lines)]))
