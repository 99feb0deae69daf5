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
from igcam.reporting.overlay import heat_overlay, signed_overlay, thumbnail
from igcam.reporting.rendering import PICTURE_WIDTH, Panel, byte_limit, render
from igcam.reporting.words import duration

MAX_PICTURES = 100
_MAX_ROWS = 200


def write_audit_page(
    title: str, audit: Audit, output: str | Path, proposals: Sequence[Proposal] = (), pictures: int = 30
) -> Path:
    """Write an audit as one HTML page that needs no other file and no network; return its path.

    It shows the most suspicious tags, so many of them with pictures (0 to 100), and what to annotate next, if given.

    Raises:
        IgcamError: The page cannot be written, or pictures is out of range.
    """
    if not 0 <= pictures <= MAX_PICTURES:
        raise IgcamError(f"pictures: must be 0 to {MAX_PICTURES}, got {pictures}")
    tags = audit.dataset.tag_matrix() > 0.5
    likely = audit.suspicion.log_odds > 0
    articles, problems = [], []
    for rank, suspect in enumerate(audit.suspects[:pictures], 1):
        try:
            articles.append((rank, suspect, _panels(suspect, audit)))
        except IgcamError as error:
            problems.append(str(error))
    ranked = enumerate(audit.suspects[: pictures + _MAX_ROWS], 1)
    gain = sum(item.gain for item in proposals)
    page = render(
        "audit.html",
        title=title,
        audit=audit,
        tags=int(tags.sum()),
        wrong=int((likely & tags).sum()),
        missing=int((likely & ~tags).sum()),
        articles=articles,
        problems=problems,
        limit=byte_limit(3 * (len(articles) + len(problems))),
        rest=[
            (rank, item.name, item.label, item.kind, f"{100 * item.probability:.0f}%")
            for rank, item in ranked
            if rank > pictures
        ],
        seconds=sum(item.seconds for item in proposals),
        proposals=[
            (rank, audit.dataset.names[item.image], item.kind, duration(item.seconds), f"{100 * item.gain / gain:.0f}%")
            for rank, item in enumerate(proposals, 1)
        ],
    )
    write_text(output, page)
    return Path(output)


def _panels(suspect: Suspect, audit: Audit) -> list[Panel]:
    photo = thumbnail(load_image(audit.dataset.samples[suspect.image].image), PICTURE_WIDTH)
    clear = audit.typical[audit.dataset.classes.index(suspect.label)]
    scores = np.clip(suspect.scores / max(clear, suspect.scores.max() / 2, 1e-6), 0, 1)
    scale = float(np.quantile(np.abs(suspect.influence), 0.98)) or 1.0
    return [
        Panel("Photo", f"Photo {suspect.name}", photo),
        Panel(f"Score of {suspect.label}", "Score of the class at each location", heat_overlay(photo, scores)),
        Panel("Influence", "Influence of each location", signed_overlay(photo, suspect.influence / scale)),
    ]
