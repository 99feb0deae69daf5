"""The page of an audit: suspicious tags with their pictures, and what to annotate next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from igcam.commands.audit import Audit
from igcam.core.errors import IgcamError
from igcam.core.files import write_text
from igcam.data.images import load_image
from igcam.label_quality.next_cue import Proposal
from igcam.label_quality.suspects import Suspect
from igcam.reporting.document import document
from igcam.reporting.markup import Markup, element, escape, join
from igcam.reporting.overlay import heat_overlay, signed_overlay, thumbnail
from igcam.reporting.pictures import data_uri
from igcam.reporting.words import count, duration, listed

MAX_PICTURES = 100
_ALL_BYTES = 2_400_000
_MAX_BYTES = 60_000
_MAX_ROWS = 200


def write_audit_page(
    title: str, audit: Audit, output: str | Path, proposals: Sequence[Proposal] = (), pictures: int = 30
) -> Path:
    """Write an audit as one HTML page that needs no other file and no network.

    Args:
        title: Name of the run.
        audit: What was found.
        output: The page.
        proposals: What to annotate next; none leaves the section out.
        pictures: How many of the most suspicious tags are shown with pictures, 0 to 100.

    Raises:
        IgcamError: The page cannot be written, or pictures is out of range.
    """
    if not 0 <= pictures <= MAX_PICTURES:
        raise IgcamError(f"pictures: must be 0 to {MAX_PICTURES}, got {pictures}")
    page = document(
        f"{title}: audit",
        _header(title, audit),
        _pictures_section(audit, pictures),
        _proposals_section(audit, proposals),
        _list_section(audit, pictures),
    )
    write_text(output, page)
    return Path(output)


def _header(title: str, audit: Audit) -> Markup:
    images, classes = count(len(audit.dataset), "image"), count(len(audit.dataset.classes), "class")
    tags = audit.dataset.tag_matrix() > 0.5
    likely = audit.suspicion.log_odds > 0
    found = audit.suspicion
    text = join(
        f"{images}, {classes}: {listed(audit.dataset.classes)}. ",
        element("strong", f"{count(int((likely & tags).sum()), 'tag')} probably wrong"),
        f" of {int(tags.sum()):,}, and ",
        element("strong", f"{count(int((likely & ~tags).sum()), 'tag')} probably missing"),
        ".",
    )
    rates = (
        f"By what the other images teach, about {100 * found.lost:.1f}% of the true tags are missing, and "
        f"{100 * found.added:.1f}% of the absent classes are tagged all the same. Each image was judged by heads "
        "that have not seen its tags. Answer yes in the column fix of the table where you agree, and give the table "
        "to igcam audit --apply."
    )
    return element(
        "header",
        element("p", "igcam audit", class_="kicker"),
        element("h1", title),
        element("p", text, class_="summary"),
        element("p", rates, class_="note"),
    )


def _pictures_section(audit: Audit, pictures: int) -> Markup | None:
    shown = audit.suspects[:pictures]
    if not shown:
        return None
    limit = min(_MAX_BYTES, _ALL_BYTES // (3 * len(shown)))
    articles, problems = [], []
    for rank, suspect in enumerate(shown, 1):
        try:
            articles.append(_article(rank, suspect, audit, limit))
        except IgcamError as error:
            problems.append(element("li", str(error)))
    legend = element(
        "ul",
        element("li", element("span", class_="swatch heat"), "evidence for the class, none to that of a clear case"),
        element("li", element("span", class_="swatch signed"), "influence on other images: helps, harms"),
        class_="legend",
    )
    missing = [element("p", "Not shown:", class_="note"), element("ul", *problems)] if problems else []
    return element("section", element("h2", "Suspicious tags"), legend, *articles, *missing)


def _article(rank: int, suspect: Suspect, audit: Audit, limit: int) -> Markup:
    photo = thumbnail(load_image(audit.dataset.samples[suspect.image].image), 400)
    clear = audit.typical[audit.dataset.classes.index(suspect.label)]
    scores = np.clip(suspect.scores / max(clear, suspect.scores.max() / 2, 1e-6), 0, 1)
    reach = float(np.quantile(np.abs(suspect.influence), 0.98)) or 1.0
    panels = (
        ("Photo", f"Photo {suspect.name}", photo),
        (f"Where {suspect.label} is seen", "CueConstraint at each place", heat_overlay(photo, scores)),
        ("Influence", "Influence of each place", signed_overlay(photo, suspect.influence / reach)),
    )
    figures = []
    for title, description, picture in panels:
        height = round(220 * picture.shape[0] / picture.shape[1])
        image = element("img", src=data_uri(picture, limit), alt=description, width=220, height=height)
        figures.append(element("figure", image, element("figcaption", title)))
    heading = element(
        "div",
        element("h4", f"{rank}. {suspect.name}"),
        element("span", f"{suspect.label}: probably {suspect.kind}, {_percent(suspect.probability)}", class_="score"),
        class_="heading",
    )
    return element("article", heading, element("div", *figures, class_="panels"), element("p", _words(suspect)))


def _words(suspect: Suspect) -> str:
    turned = "with the tag added" if suspect.kind == "missing" else "without the tag"
    effect = "falls" if suspect.change < 0 else "rises"
    return (
        f"Whole image {suspect.logit:+.1f}, similar images {suspect.neighbours:+.1f}, top places "
        f"{suspect.locations:+.1f}; {turned} the loss of other images {effect} by {abs(suspect.change):.4f}."
    )


def _list_section(audit: Audit, pictures: int) -> Markup | None:
    rest = list(enumerate(audit.suspects, 1))[pictures : pictures + _MAX_ROWS]
    rows = [(f"{rank}", item.name, item.label, item.kind, _percent(item.probability)) for rank, item in rest]
    return _table("More of them", ("", "Image", "Class", "Tag is", "Probability"), rows) if rows else None


def _proposals_section(audit: Audit, proposals: Sequence[Proposal]) -> Markup | None:
    if not proposals:
        return None
    names = audit.dataset.names
    total = sum(item.gain for item in proposals)
    rows = [
        (f"{rank}", names[item.image], item.kind, duration(item.seconds), _percent(item.gain / total))
        for rank, item in enumerate(proposals, 1)
    ]
    title = f"What to annotate next, in {duration(sum(item.seconds for item in proposals))}"
    return _table(title, ("", "Image", "Draw", "Time", "Share of the gain"), rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = element("tr", *(element("th", name, scope="col") for name in columns))
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    table = element("table", element("thead", head), element("tbody", *body))
    return element("section", element("h2", escape(title)), element("div", table, class_="scroll"))


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
