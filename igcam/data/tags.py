"""The tag table: a CSV of `image,tags` or one column a class."""

from __future__ import annotations

import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from igcam.core.files import write_csv
from igcam.data.findings import Finding
from igcam.data.masks import BACKGROUND

OFTEN, SIMILAR = 3, 0.8
"""Images from which a class name counts as intended; ratio of difflib from which a name may be a misspelling."""

_CELLS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


@dataclass(frozen=True)
class TagRow:
    """Tags of one image, from one row of a table or from the folder of a photo."""

    image: str
    """Name of the image as written there."""
    tags: tuple[str, ...]
    """Names of its classes, unique, in their order; () = none."""
    file: str
    """Table or folder."""
    line: int | None = None

    def finding(self, rule: str, message: str, level: Literal["error", "warning"] = "error") -> Finding:
        """Return a finding at this row."""
        return Finding(level, self.file, rule, message, self.line)


class _BadTableError(Exception):
    """The whole table is invalid."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class TagTable:
    """A tag table: its valid rows, and findings for the invalid ones."""

    rows: tuple[TagRow, ...]
    columns: tuple[str, ...] | None
    """Classes in the header of a one-hot table; None for a table of `image,tags`."""
    findings: tuple[Finding, ...]
    """One error for each invalid row."""


def read_tag_table(path: str | Path) -> TagTable:
    """Read a CSV with a header, in one of two forms.

    `image,tags`: the tags of an image in one cell, with semicolons between them. `image,CLASS,CLASS,...`:
    one column a class, each cell 0 or 1. Cells are separated by the comma, semicolon or tab that follows
    `image` in the header. Byte order marks, Windows line ends, quoted cells, blank lines and spaces
    around names are accepted.

    Returns:
        The valid rows, and errors: for each invalid row, or one for a file that is missing, is not UTF-8, or
        has another header.
    """
    try:
        text = _text(path)
        lines = _lines(text)
        line, header = next(lines, (1, []))
        if not header:
            raise _BadTableError("is empty; it needs the header image,tags")
        names = [clean_name(cell) for cell in header]
        if names[0].casefold() != "image" or len(names) < 2:
            shown = ",".join(names)[:60]
            raise _BadTableError(f"the header must be 'image,tags' or 'image,CLASS,...', got '{shown}'", line)
        if "tags" in (name.casefold() for name in names):
            return _tag_lists(path, names, lines, ragged=_delimiter(text) == ";")
        return _one_hot(path, names, lines)
    except _BadTableError as error:
        finding = Finding("error", str(path), "bad-table", str(error), error.line)
        return TagTable((), None, (finding,))


def write_tag_table(path: str | Path, tags: Mapping[str, Sequence[str]]) -> None:
    """Write a table of `image,tags`, from the names of the classes by name of the image, atomically.

    Raises:
        IgcamError: The disk is full or the folder cannot be written.
    """
    write_csv(path, ["image", "tags"], ([image, ";".join(names)] for image, names in tags.items()))


def clean_name(cell: str) -> str:
    """Return a name without surrounding spaces, in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", cell.strip())


def probable_misspellings(counts: Mapping[str, int]) -> dict[str, str]:
    """Return the intended name for each name that is probably misspelt, from the number of images by name.

    A name is suspicious where it differs from a more frequent one only by case, spaces, hyphens or underscores; or
    where it has one image, a similar name has at least OFTEN, and they do not differ by a number.
    """
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    meant: dict[str, str] = {}
    for position, name in enumerate(ranked):
        others = [other for other in ranked[:position] if other not in meant]
        same = [other for other in others if _bare(other) == _bare(name)]
        near = [other for other in others if counts[name] == 1 and counts[other] >= OFTEN and _similar(other, name)]
        if same or near:
            meant[name] = (same or near)[0]
    return meant


def _tag_lists(path: str | Path, header: list[str], lines: Lines, ragged: bool) -> TagTable:
    column = [name.casefold() for name in header].index("tags")
    rows: list[TagRow] = []
    findings: list[Finding] = []
    for line, cells in lines:
        if ragged and len(header) == 2:
            # In a file separated by semicolons each tag may fill a cell.
            cells = [cells[0], ";".join(cells[1:])]
        if problem := _shape_problem(header, cells):
            findings.append(Finding("error", str(path), "bad-row", problem, line))
            continue
        tags = tuple(dict.fromkeys(filter(None, map(clean_name, cells[column].split(";")))))
        row = TagRow(clean_name(cells[0]), tags, str(path), line)
        if BACKGROUND in map(str.casefold, tags):
            message = f"'{BACKGROUND}' is no class; leave the tags empty where an image shows none"
            findings.append(row.finding("reserved-class", message))
            continue
        rows.append(row)
    return TagTable(tuple(rows), None, tuple(findings))


def _one_hot(path: str | Path, header: list[str], lines: Lines) -> TagTable:
    columns = header[1:]
    for name in columns:
        if not name or name.casefold() == BACKGROUND or columns.count(name) > 1:
            raise _BadTableError(f"the columns must be classes, each once, without background; got '{name}'", 1)
    rows: list[TagRow] = []
    findings: list[Finding] = []
    for line, cells in lines:
        problem = _shape_problem(header, cells)
        values = [_CELLS.get(cell.strip().casefold()) for cell in cells[1:]]
        if not problem and None in values:
            at = values.index(None)
            problem = f"column '{columns[at]}' must be 0 or 1, got '{cells[at + 1].strip()[:40]}'"
        if problem:
            findings.append(Finding("error", str(path), "bad-row", problem, line))
            continue
        tags = tuple(name for name, value in zip(columns, values, strict=True) if value)
        rows.append(TagRow(clean_name(cells[0]), tags, str(path), line))
    return TagTable(tuple(rows), tuple(columns), tuple(findings))


def _shape_problem(header: list[str], cells: list[str]) -> str | None:
    if len(cells) != len(header):
        hint = "; put semicolons between tags" if len(header) == 2 and len(cells) > 2 else ""
        return f"has {len(cells)} cells, the header has {len(header)}{hint}"
    return None if clean_name(cells[0]) else "names no image"


Lines = Iterator[tuple[int, list[str]]]


def _lines(text: str) -> Lines:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise _BadTableError(f"is not CSV from here on: {error}", start) from error


def _delimiter(text: str) -> str:
    match = re.match(r'\s*"?\s*image\s*"?\s*([,;\t])', text, re.IGNORECASE)
    return match[1] if match else ","


def _text(path: str | Path) -> str:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise _BadTableError(f"cannot be read: {error.strerror or error}") from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _BadTableError("is not UTF-8 text; save the table as 'CSV UTF-8'", line) from error


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


def _similar(first: str, second: str) -> bool:
    if re.findall(r"\d+", first) != re.findall(r"\d+", second):
        return False
    return difflib.SequenceMatcher(None, first.casefold(), second.casefold()).ratio() >= SIMILAR
