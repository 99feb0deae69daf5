"""The report: one HTML file that tells what a run is, what it reached and what it looks like."""

from __future__ import annotations

from pathlib import Path

from igcam.core.errors import IgcamError
from igcam.core.files import write_text
from igcam.reporting.document import document
from igcam.reporting.gallery import gallery_section
from igcam.reporting.markup import Markup, element, escape, join
from igcam.reporting.run_data import RunData, read_run
from igcam.reporting.tables import class_section, stage_section
from igcam.reporting.words import (
    STAGE_TITLES,
    count,
    duration,
    flattened,
    ledger_facts,
    listed,
    percent,
    run_facts,
    signed,
)

MAX_PICTURES = 10
"""With more of each kind the page could not stay below 3 MB."""

_TILES = (
    ("miou", "mIoU"),
    ("boundary_iou", "Boundary IoU"),
    ("foreground_iou", "Foreground IoU"),
    ("pixel_accuracy", "Pixel accuracy"),
)


def write_report(run: str | Path, output: str | Path | None = None, pictures: int = 3) -> Path:
    """Write a run as one HTML page that needs no other file and no network.

    What the run does not hold is left out. Without truth there are no metrics, and the page says so.

    Args:
        run: The run folder.
        output: The page; RUN/report.html by default.
        pictures: How many of the best, the median and the worst images are shown, 0 to 10.

    Returns:
        Where the page is.

    Raises:
        IgcamError: The folder is no run, a file in it is damaged, or the page cannot be written.
    """
    if not 0 <= pictures <= MAX_PICTURES:
        raise IgcamError(f"pictures: must be 0 to {MAX_PICTURES}, got {pictures}")
    output = Path(run) / "report.html" if output is None else Path(output)
    write_text(output, report_page(read_run(run), pictures))
    return output


def report_page(run: RunData, pictures: int = 3) -> str:
    """Return the page of a run."""
    name = run.folder.resolve().name
    return document(
        name,
        _header(run, name),
        _ledger_section(run),
        stage_section(run),
        class_section(run),
        gallery_section(run, pictures),
        _details_section(run),
        version=run.version,
    )


def _header(run: RunData, name: str) -> Markup:
    kind = f"igcam report · method {run.method}"
    return element(
        "header",
        element("p", kind, class_="kicker"),
        element("h1", name),
        element("p", _summary(run), class_="summary"),
        _tiles(run),
        *_warnings(run),
    )


def _summary(run: RunData) -> Markup:
    images, classes = count(len(run.entries), "image"), count(len(run.classes), "class")
    opening = escape(f"{images}, {classes}: {listed(run.classes)}.")
    if not run.measured:
        return opening
    first, last = run.measured[0], run.measured[-1]
    reached = element("strong", f"{percent(last.values['miou'])}% mIoU")
    if first is last:
        return join(opening, " The masks reach ", reached, ".")
    title = STAGE_TITLES.get(first.name, (first.name, ""))[0].lower()
    gain = last.values["miou"] - first.values["miou"]
    distance = f"{abs(gain):.1f} points {'above' if gain >= 0 else 'below'} the {title} of the start."
    return join(opening, " The final masks reach ", reached, f", {distance}")


def _tiles(run: RunData) -> Markup:
    tiles = []
    if run.measured:
        first, last = run.measured[0], run.measured[-1]
        for key, title in _TILES:
            if key in last.values:
                before = first.values.get(key) if first is not last else None
                change = None if before is None else last.values[key] - before
                note = f"{signed(change)} since the first stage" if change is not None else ""
                tiles.append(_tile(title, percent(last.values[key]), "%", note))
    else:
        tiles += [_tile("Images", f"{len(run.entries):,}"), _tile("Classes", f"{len(run.classes):,}")]
    if run.seconds is not None:
        tiles.append(_tile("Computing time", duration(run.seconds)))
    return element("dl", *tiles, class_="tiles")


def _tile(title: str, value: str, unit: str = "", note: str = "") -> Markup:
    number = element("dd", value, element("small", unit) if unit else None)
    return element("div", element("dt", title), number, element("dd", note, class_="note") if note else None)


def _warnings(run: RunData) -> list[Markup]:
    """Return what a reader must know before the numbers."""
    lines = []
    if not run.measured:
        if any(entry.truth is not None for entry in run.entries):
            reason = "The run knows truth masks, but has not measured any stage yet: there are no metrics here."
        else:
            reason = "No truth masks were given, so nothing can be measured: there are no metrics here."
        lines.append(reason)
    elif run.measured[-1].ledger is not None and run.measured[-1].ledger.oracle_threshold:
        lines.append(
            "The background threshold was picked with the truth that is scored on: the numbers are an upper "
            "bound, and no result."
        )
    return [element("p", line, class_="callout") for line in lines]


def _ledger_section(run: RunData) -> Markup:
    if run.measured and run.measured[-1].ledger is not None:
        title, facts = "What the numbers were bought with", ledger_facts(run.measured[-1].ledger, run.seconds)
    else:
        title, facts = "The run", run_facts(run)
    pairs = [element("div", element("dt", question), element("dd", answer)) for question, answer in facts]
    return element("section", element("h2", title), element("dl", *pairs, class_="facts"))


def _details_section(run: RunData) -> Markup | None:
    blocks = [
        _folded("All options", flattened(run.options)),
        _folded("Machine and versions", flattened(run.environment)),
    ]
    shown = [block for block in blocks if block is not None]
    return element("section", element("h2", "To repeat it"), *shown) if shown else None


def _folded(title: str, pairs: list[tuple[str, str]]) -> Markup | None:
    if not pairs:
        return None
    rows = [
        element("tr", element("th", element("code", name), scope="row"), element("td", value)) for name, value in pairs
    ]
    table = element("table", element("tbody", *rows), class_="plain")
    return element("details", element("summary", title), element("div", table, class_="scroll"))
