"""The sections of numbers: stages, training curves, classes."""

from __future__ import annotations

import math

from igcam.data.masks import BACKGROUND
from igcam.reporting.figures import CURVE_FRAME, Line, line_chart, share_bar
from igcam.reporting.markup import Markup, element
from igcam.reporting.run_data import RunData, Stage
from igcam.reporting.words import STAGE_TITLES, duration, percent, signed

_STAGE_COLUMNS = (("miou", "mIoU"), ("boundary_iou", "Boundary IoU"), ("foreground_iou", "Foreground IoU"))


def stage_section(run: RunData) -> Markup | None:
    """Return the table of the stages, its chart and the training curves; None where no stage is complete."""
    if not run.stages:
        return None
    columns = _STAGE_COLUMNS if run.measured else ()
    head = [element("th", "Stage", scope="col")]
    head += [element("th", title, scope="col", class_="number") for _, title in columns]
    head.append(element("th", "Time", scope="col", class_="number"))
    rows, before = [], None
    for stage in run.stages:
        title, deed = STAGE_TITLES.get(stage.name, (stage.name, ""))
        cells = [element("th", title, element("small", deed) if deed else None, scope="row")]
        cells += [_changed_cell(stage, before, key) for key, _ in columns]
        cells.append(element("td", duration(stage.seconds), class_="number"))
        rows.append(element("tr", *cells))
        before = stage if stage in run.measured else before
    table = _table("The stages and what each of them changed", head, rows)
    text = "In percent; below each number is the difference to the stage before."
    note = element("p", text, class_="note") if len(run.measured) > 1 else None
    curves = [chart for chart in map(_curve_chart, run.stages) if chart is not None]
    figures = element("div", _stage_chart(run), element("div", *curves, class_="curves") if curves else None)
    return element("section", element("h2", "Stage by stage"), note, element("div", table, figures, class_="pair"))


def class_section(run: RunData) -> Markup | None:
    """Return the table of the classes with its bars, the best class first; None without metrics."""
    if not run.measured:
        return None
    last = run.measured[-1]
    first = run.measured[0] if len(run.measured) > 1 else None
    names = [name for name in (BACKGROUND, *run.classes) if f"iou/{name}" in last.values]
    if not names:
        return None
    names.sort(key=lambda name: -last.values[f"iou/{name}"])
    titles = ["IoU", *(["at the start", "change"] if first else []), "false alarms", "missed", "Boundary IoU"]
    head = [
        element("th", "Class", scope="col"),
        element("th", element("span", "Shares of the union", class_="hidden"), scope="col", class_="bar"),
        *(element("th", title, scope="col", class_="number") for title in titles),
    ]
    rows = [_class_row(name, first, last) for name in names]
    keys = [("hit", "found: IoU"), ("extra", "false alarms: FPR"), ("lost", "missed: FNR")]
    if first is not None:
        keys.append(("start", f"thin: IoU of {STAGE_TITLES.get(first.name, (first.name, ''))[0].lower()}"))
    legend = [element("li", element("span", class_=f"swatch {kind}"), title) for kind, title in keys]
    text = (
        "A bar is everything that the final masks or the truth call this class. The part in both is the IoU; "
        "false alarms are in the masks alone, missed pixels in the truth alone. All in percent."
    )
    return element(
        "section",
        element("h2", "Class by class"),
        element("p", text, class_="note"),
        element("ul", *legend, class_="legend"),
        _table("The classes: IoU, false alarms and missed pixels", head, rows),
        _absent_note(run, last),
    )


def _changed_cell(stage: Stage, before: Stage | None, key: str) -> Markup:
    if not stage.values:
        return element("td")
    value = stage.values.get(key)
    earlier = None if before is None else before.values.get(key)
    change = None if value is None or earlier is None else value - earlier
    return element("td", percent(value), _change(change), class_="number")


def _change(change: float | None) -> Markup | None:
    if change is None:
        return None
    text = signed(change)
    direction = {"+": "up", "−": "down"}.get(text[0], "same")
    return element("small", text, class_=direction)


def _class_row(name: str, first: Stage | None, last: Stage) -> Markup:
    iou, fpr, fnr = (last.values.get(f"{kind}/{name}", 0.0) for kind in ("iou", "fpr", "fnr"))
    start = None if first is None else first.values.get(f"iou/{name}")
    cells = [
        element("th", name, scope="row"),
        element("td", share_bar(iou, fpr, fnr, start), class_="bar"),
        element("td", element("strong", percent(iou)), class_="number"),
    ]
    if first is not None:
        change = _change(None if start is None else iou - start)
        cells += [element("td", percent(start), class_="number"), element("td", change, class_="number")]
    boundary = last.values.get(f"boundary_iou/{name}")
    cells += [element("td", percent(value), class_="number") for value in (fpr, fnr, boundary)]
    return element("tr", *cells)


def _absent_note(run: RunData, last: Stage) -> Markup | None:
    absent = [name for name in run.classes if f"iou/{name}" not in last.values]
    if not absent:
        return None
    return element("p", f"Neither in the masks nor in the truth: {', '.join(absent)}.", class_="note")


def _stage_chart(run: RunData) -> Markup | None:
    if len(run.measured) < 2:
        return None
    lines = [
        Line(title, [stage.values.get(key) for stage in run.measured])
        for key, title in _STAGE_COLUMNS[:2]
        if any(key in stage.values for stage in run.measured)
    ]
    chart = line_chart("mIoU and boundary IoU after each stage, in percent", [s.name for s in run.measured], lines)
    return element("figure", chart)


def _curve_chart(stage: Stage) -> Markup | None:
    names = sorted({key for point in stage.curve for key, value in point.items() if value is not None} - {"epoch"})
    values = [(name, [_finite(point.get(name)) for point in stage.curve]) for name in names]
    lines = [Line(name, numbers) for name, numbers in values if any(number is not None for number in numbers)]
    if not lines or len(stage.curve) < 2:
        return None
    epochs = [f"{point.get('epoch') or index + 1:g}" for index, point in enumerate(stage.curve)]
    labels = [f"epoch {epochs[0]}", *[""] * (len(epochs) - 2), *epochs[1:][-1:]]
    title = STAGE_TITLES.get(stage.name, (stage.name, ""))[0]
    chart = line_chart(f"Training loss over the epochs: {title}", labels, lines[:4], CURVE_FRAME, point_values=False)
    return element("figure", element("figcaption", f"{title}: loss"), chart)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _table(caption: str, head: list[Markup], rows: list[Markup]) -> Markup:
    table = element(
        "table",
        element("caption", caption, class_="hidden"),
        element("thead", element("tr", *head)),
        element("tbody", *rows),
    )
    return element("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0)
