"""The section of pictures."""

from __future__ import annotations

from igcam.core.errors import IgcamError
from igcam.reporting.markup import Markup, element
from igcam.reporting.overlay import class_colours
from igcam.reporting.pictures import Panel, PictureRow, choose, data_uri, draw
from igcam.reporting.run_data import RunData
from igcam.reporting.words import percent

_ALL_BYTES = 2_400_000
_MAX_BYTES = 60_000


def gallery_section(run: RunData, pictures: int) -> Markup | None:
    """Return the chosen images with their panels; None where there is nothing to show.

    Args:
        run: The run.
        pictures: How many of each kind.
    """
    groups, problems = [], []
    for choice in choose(run, pictures):
        rows = []
        for index in choice.indices:
            try:
                rows.append(draw(run, index))
            except IgcamError as error:
                problems.append(element("li", str(error)))
        groups.append((choice.title, rows))
    drawn = [row for _, rows in groups for row in rows]
    if not drawn and not problems:
        return None
    limit = min(_MAX_BYTES, _ALL_BYTES // max(1, sum(len(row.panels) for row in drawn)))
    blocks = [
        element("div", element("h3", title), *(_row(row, run, limit) for row in rows), class_="group")
        for title, rows in groups
        if rows
    ]
    missing = [element("p", "Not shown:", class_="note"), element("ul", *problems)] if problems else []
    return element(
        "section",
        element("h2", "Pictures"),
        element("p", _explanation(run), class_="note"),
        _legend(run, drawn) if drawn else None,
        *blocks,
        *missing,
    )


def _explanation(run: RunData) -> str:
    if run.image_scores:
        return "Chosen by the mIoU of the single image, over the classes in its mask or its truth."
    if run.maps is not None:
        return (
            "Without truth nobody knows which are best. These are chosen by how far the strongest score of the "
            "activation maps is above the second, mean over the photo."
        )
    return "Chosen at equal distances in the list of images."


def _legend(run: RunData, drawn: list[PictureRow]) -> Markup:
    titles = {panel.title for row in drawn for panel in row.panels}
    labels = sorted({label for row in drawn for label in row.labels})
    items = [_class_key(run, label) for label in labels]
    if "Activation map" in titles:
        items.append(element("li", element("span", class_="swatch heat"), "activation, weak to strong"))
    if "Guidance target" in titles and run.confidence is not None:
        items.append(element("li", element("span", class_="swatch hatch"), "target with little trust"))
    if any(row.unknown for row in drawn):
        items.append(element("li", element("span", class_="swatch blank"), "not scored"))
    return element("ul", *items, class_="legend")


def _row(row: PictureRow, run: RunData, limit: int) -> Markup:
    score = None if row.score is None else element("span", f"{percent(row.score)}% mIoU", class_="score")
    keys = element("ul", *(_class_key(run, label) for label in row.labels), class_="legend")
    heading = element("div", element("h4", row.name), score, keys, class_="heading")
    panels = element("div", *(_figure(panel, limit) for panel in row.panels), class_="panels")
    return element("article", heading, panels)


def _figure(panel: Panel, limit: int) -> Markup:
    height, width = panel.picture.shape[:2]
    image = element(
        "img",
        src=data_uri(panel.picture, limit),
        alt=panel.description,
        width=220,
        height=round(220 * height / width),
        decoding="async",
    )
    return element("figure", image, element("figcaption", panel.title))


def _class_key(run: RunData, label: int) -> Markup:
    colour = bytes(class_colours(len(run.classes))[label].tolist()).hex()
    return element("li", element("span", class_="swatch", style=f"--colour: #{colour}"), run.classes[label - 1])
