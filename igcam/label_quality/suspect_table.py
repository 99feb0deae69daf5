"""The table of suspects: written with an empty column `fix`, and applied to the tags once answered."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from igcam.core.errors import IgcamError
from igcam.core.files import write_csv
from igcam.data.findings import did_you_mean
from igcam.data.sample import Dataset
from igcam.data.tags import write_tag_table
from igcam.label_quality.suspects import Suspect

NUMBERS = ("probability", "score", "logit", "neighbours", "locations", "change")
COLUMNS = ("rank", "image", "class", "kind", *NUMBERS, "fix")
REQUIRED = ("image", "class", "kind", "fix")
YES, NO = ("yes", "y", "1", "true", "x"), ("no", "n", "0", "false", "")


def write_suspects(path: str | Path, suspects: Sequence[Suspect]) -> None:
    """Write the table as CSV, with an empty column `fix` for the user's answers."""
    rows = (
        [rank, item.name, item.label, item.kind, *(f"{getattr(item, name):.6g}" for name in NUMBERS), ""]
        for rank, item in enumerate(suspects, 1)
    )
    write_csv(path, COLUMNS, rows)


def check_unanswered(path: Path) -> None:
    """Raise IgcamError for a table with answers in its column `fix`, which must not be overwritten, or without one."""
    if path.exists() and any(_cell(row, "fix") for row in _rows(path)):
        raise IgcamError(f"{path}: has your answers in the column fix; apply them, or choose another --out")


def apply_fixes(dataset: Dataset, fixes: str | Path, out: str | Path) -> int:
    """Write the corrected tags of a data set as a new table `image,tags`, and return the number of changed tags.

    In rows of `fixes`, a table of `write_suspects`, whose column `fix` says yes, a `wrong` tag is removed and a
    `missing` one added.

    Raises:
        IgcamError: `out` exists, the table cannot be read, or rows in it are wrong: all are listed.
    """
    if Path(out).exists():
        raise IgcamError(f"{out}: exists; corrected tags are only written to a new file")
    flips = _read_flips(dataset, Path(fixes))
    tags = {}
    for sample in dataset:
        kept = set(sample.tags or ()) ^ {tag for name, tag in flips if name == sample.name}
        tags[sample.name] = [dataset.classes[tag] for tag in sorted(kept)]
    write_tag_table(out, tags)
    return len(flips)


def _read_flips(dataset: Dataset, path: Path) -> set[tuple[str, int]]:
    """Return the pairs of image and class whose tag is to be flipped."""
    problems: list[str] = []
    flips: dict[tuple[str, int], int] = {}
    held = {sample.name: sample.tags or () for sample in dataset}
    for number, row in enumerate(_rows(path), 2):
        problem = _problem(row, held, dataset.classes)
        if problem is None and _answer(row) in YES:
            pair = (_cell(row, "image"), dataset.classes.index(_cell(row, "class")))
            if pair in flips:
                problem = f"says the same as row {flips[pair]}"
            flips.setdefault(pair, number)
        if problem is not None:
            problems.append(f"row {number}: {problem}")
    if problems:
        raise IgcamError.from_lines(f"{path}: {len(problems)} rows are wrong:", problems)
    if not flips:
        raise IgcamError(f"{path}: no row says yes in the column fix, so there is nothing to apply")
    return set(flips)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise IgcamError(f"{path}: cannot be read: {reason}") from error
    absent = [name for name in REQUIRED if not rows or name not in rows[0]]
    if absent:
        raise IgcamError(f"{path}: must have rows and the columns {', '.join(REQUIRED)}; lacks {', '.join(absent)}")
    return rows


def _problem(row: Mapping[str, str], held: Mapping[str, tuple[int, ...]], classes: tuple[str, ...]) -> str | None:
    name, label, kind = (_cell(row, column) for column in ("image", "class", "kind"))
    if _answer(row) not in YES + NO:
        return f"fix must be yes, no or empty, got '{_cell(row, 'fix')}'"
    if name not in held:
        return f"the run has no image '{name}'{did_you_mean(name, list(held))}"
    if label not in classes:
        return f"the run has no class '{label}'{did_you_mean(label, classes)}"
    if kind not in ("wrong", "missing"):
        return f"kind must be wrong or missing, got '{kind}'"
    tagged = classes.index(label) in held[name]
    if tagged != (kind == "wrong"):
        return f"'{name}' is {'' if tagged else 'not '}tagged with {label}, so that cannot be {kind}"
    return None


def _cell(row: Mapping[str, str], column: str) -> str:
    return (row[column] or "").strip()


def _answer(row: Mapping[str, str]) -> str:
    return _cell(row, "fix").casefold()
