"""Findings: errors and warnings about the user's files."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from igcam.core.errors import IgcamError


@dataclass(frozen=True)
class Finding:
    """One error or warning about a file or one of its lines."""

    level: Literal["error", "warning"]
    """error: work cannot start; warning: it can, and the message says what happens."""
    file: str
    rule: str
    """Short name, for example unknown-class."""
    message: str
    line: int | None = None
    """Line of the file, from 1."""

    def __str__(self) -> str:
        return f"{self.level}: {self.place}: {self.message} [{self.rule}]"

    @property
    def place(self) -> str:
        """The file, and the line if there is one."""
        return self.file if self.line is None else f"{self.file}:{self.line}"


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return each finding once, sorted by file, line and rule."""
    return sorted(dict.fromkeys(findings), key=lambda item: (item.file, item.line or 0, item.rule, item.message))


def has_errors(findings: Iterable[Finding]) -> bool:
    """Return whether a finding is an error."""
    return any(finding.level == "error" for finding in findings)


def raise_errors(source: object, findings: Sequence[Finding]) -> None:
    """Raise one IgcamError for all errors among the findings; several are listed below a headline."""
    lines = [f"{finding.place}: {finding.message}" for finding in sort_findings(findings) if finding.level == "error"]
    if len(lines) == 1:
        raise IgcamError(lines[0])
    if lines:
        raise IgcamError.from_lines(f"{source}: {len(lines)} errors", lines)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" with the nearest known name, or "" if none is near."""
    by_fold = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.casefold(), list(by_fold), n=1, cutoff=0.6)
    return f"; did you mean '{by_fold[near[0]]}'?" if near else ""
