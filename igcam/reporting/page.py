"""The report: one HTML page with the supervision, the metrics, the training curves and the pictures of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from igcam.core.errors import IgcamError
from igcam.core.files import write_text
from igcam.data.masks import BACKGROUND
from igcam.reporting.figures import CURVE_FRAME, Line, line_chart, share_bar
from igcam.reporting.gallery import make_gallery
from igcam.reporting.rendering import render
from igcam.reporting.run_data import RunData, Stage, read_run
from igcam.reporting.words import duration, flattened, ledger_facts, percent, run_facts, signed

MAX_PICTURES = 10
"""With more images of each kind the page could exceed 3 MB."""

METRICS = (
    ("miou", "mIoU"),
    ("boundary_iou", "Boundary IoU"),
    ("foreground_iou", "Foreground IoU"),
    ("pixel_accuracy", "Pixel accuracy"),
)
"""Row ids of the tiles and their titles; the table of the stages has the first three."""


@dataclass(frozen=True)
class ClassRow:
    """One class after the last stage in percent; `start` is the IoU after the first one, None where it has none."""

    name: str
    iou: float
    start: float | None
    fpr: float
    fnr: float
    boundary_iou: float | None
    bar: Markup


def write_report(run: str | Path, output: str | Path | None = None, pictures: int = 3) -> Path:
    """Write a run as one HTML page that needs no other file and no network; return its path.

    The page leaves out what the run does not have. Without truth it has no metrics, and says so.

    Args:
        run: The run folder.
        output: The page; RUN/report.html by default.
        pictures: How many of the best, the median and the worst images are shown, 0 to 10.

    >>> igcam.report("runs/mine").name
    'report.html'

    Raises:
        IgcamError: The folder is not a run, a file in it is damaged, the page cannot be written, or pictures is
            out of range.
    """
    if not 0 <= pictures <= MAX_PICTURES:
        raise IgcamError(f"pictures: must be 0 to {MAX_PICTURES}, got {pictures}")
    output = Path(run) / "report.html" if output is None else Path(output)
    write_text(output, _page(read_run(run), pictures))
    return output


def _page(run: RunData, pictures: int) -> str:
    first, last = (run.measured[0], run.measured[-1]) if run.measured else (None, None)
    return render(
        "report.html",
        run=run,
        name=run.folder.resolve().name,
        first=first,
        last=last,
        compared=first is not last,
        ledger=last and last.ledger,
        tiles=_tiles(run),
        facts=ledger_facts(last.ledger, run.seconds) if last and last.ledger else run_facts(run),
        columns=METRICS[:3] if last else (),
        stages=_changes(run.stages),
        stage_chart=_stage_chart(run.measured),
        curves=[(stage, chart) for stage in run.stages if (chart := _curve_chart(stage))],
        classes=_class_rows(run),
        absent=[name for name in run.classes if last and f"iou/{name}" not in last.values],
        gallery=make_gallery(run, pictures),
        details=(("All options", flattened(run.options)), ("Machine and versions", flattened(run.environment))),
    )


def _tiles(run: RunData) -> list[tuple[str, str, str, str]]:
    """Return title, value, unit and note of the large numbers."""
    tiles = []
    if run.measured:
        first, last = run.measured[0].values, run.measured[-1].values
        for key, title in METRICS:
            if key in last:
                known = len(run.measured) > 1 and key in first
                note = f"{signed(last[key] - first[key])} since the first stage" if known else ""
                tiles.append((title, percent(last[key]), "%", note))
    else:
        tiles += [("Images", f"{len(run.entries):,}", "", ""), ("Classes", f"{len(run.classes):,}", "", "")]
    return tiles if run.seconds is None else [*tiles, ("Computing time", duration(run.seconds), "", "")]


def _changes(stages: Sequence[Stage]) -> list[tuple[Stage, dict[str, float]]]:
    """Return each stage with the difference of each value to the last stage before that has metrics."""
    rows = []
    before: Mapping[str, float] = {}
    for stage in stages:
        rows.append((stage, {key: value - before[key] for key, value in stage.values.items() if key in before}))
        before = stage.values if stage.ledger is not None and "miou" in stage.values else before
    return rows


def _class_rows(run: RunData) -> list[ClassRow]:
    """Return the classes that have an IoU, the best first."""
    if not run.measured:
        return []
    last, rows = run.measured[-1].values, []
    first = run.measured[0].values if len(run.measured) > 1 else {}
    for name in (BACKGROUND, *run.classes):
        if f"iou/{name}" in last:
            iou, fpr, fnr = (last.get(f"{kind}/{name}", 0.0) for kind in ("iou", "fpr", "fnr"))
            start = first.get(f"iou/{name}")
            bar = share_bar(iou, fpr, fnr, start)
            rows.append(ClassRow(name, iou, start, fpr, fnr, last.get(f"boundary_iou/{name}"), bar))
    return sorted(rows, key=lambda row: -row.iou)


def _stage_chart(measured: Sequence[Stage]) -> Markup | None:
    if len(measured) < 2:
        return None
    lines = [
        Line(title, [stage.values.get(key) for stage in measured])
        for key, title in METRICS[:2]
        if any(key in stage.values for stage in measured)
    ]
    return line_chart("mIoU and boundary IoU after each stage, in percent", [stage.name for stage in measured], lines)


def _curve_chart(stage: Stage) -> Markup | None:
    names = sorted({key for point in stage.curve for key in point} - {"epoch"})
    lines = []
    for name in names:
        values = [point.get(name) for point in stage.curve]
        finite = [value if value is not None and math.isfinite(value) else None for value in values]
        if any(value is not None for value in finite):
            lines.append(Line(name, finite))
    if not lines or len(stage.curve) < 2:
        return None
    epochs = [f"{point.get('epoch') or index + 1:g}" for index, point in enumerate(stage.curve)]
    labels = [f"epoch {epochs[0]}", *[""] * (len(epochs) - 2), *epochs[1:][-1:]]
    title = f"Training loss over the epochs: {stage.title}"
    return line_chart(title, labels, lines[:4], CURVE_FRAME, point_values=False)
