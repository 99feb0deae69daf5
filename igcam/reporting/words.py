"""Numbers, options and the supervision ledger in the words of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from igcam.metrics.ledger import ANNOTATION_SECONDS, Ledger, annotation_seconds
from igcam.reporting.run_data import RunData

_PLURALS = {"point": "points", "box": "boxes", "scribble": "scribbles", "mask": "masks"}


def percent(value: float | None) -> str:
    """Return a number with one decimal, a dash for None."""
    return "–" if value is None else f"{value:.1f}"


def signed(value: float | None) -> str:
    """Return a difference with its sign, empty for None."""
    if value is None:
        return ""
    text = f"{abs(value):.1f}"
    return f"±{text}" if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def duration(seconds: float | None) -> str:
    """Return a time in seconds as text: 4.2 s, 3 min 20 s, 2 h 5 min; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 image, 437 images."""
    many = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{'' if number == 1 else many}"


def listed(names: Sequence[str], maximum: int = 8) -> str:
    """Return names as a list in a sentence; beyond a maximum they are only counted."""
    if len(names) > maximum:
        return f"{', '.join(names[:maximum])} and {len(names) - maximum} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def kinds_of_cues(cues: Mapping[str, int]) -> list[str]:
    """Return for each kind of cue how many images have it: "boxes on 3 images"."""
    return [f"{_PLURALS.get(kind, kind)} on {count(number, 'image')}" for kind, number in cues.items() if number]


def cue_words(cues: Mapping[str, int]) -> str:
    """Return the supervision of a run by the number of images for each kind of cue, in words."""
    parts = kinds_of_cues(cues)
    return f"tags, and {listed(parts)}" if parts else "tags only"


def ledger_facts(ledger: Ledger, seconds: float | None) -> list[tuple[str, str]]:
    """Return the ledger of the last stage, and the computing time of the run, as pairs of a term and its value."""
    used = "used to make the masks" if ledger.tags_at_inference else "not used to make the masks"
    scales = listed([f"{scale:g}" for scale in ledger.multi_scale])
    views = "the photo as it is" if tuple(ledger.multi_scale) == (1.0,) else f"scales {scales}"
    if ledger.flip:
        views += ", also mirrored"
    facts = [
        ("Scored on", f"{ledger.split}, {count(ledger.split_size, 'image')}"),
        ("Their true tags", used),
        ("Supervision", cue_words(ledger.cues)),
        ("Annotation time", _annotation(ledger.annotation_seconds)),
        ("Background threshold", ledger.threshold_rule),
        ("Dense CRF", _parameters(ledger.crf)),
        ("Backbone", " ".join(filter(None, [ledger.backbone, ledger.regime and f"({ledger.regime})"]))),
        ("Weights", ledger.weights),
        ("Image size", ledger.resolution),
        ("Views", views),
        ("Seed", "mean over seeds" if ledger.seed is None else str(ledger.seed)),
        ("Computing time", duration(seconds)),
        ("Truth masks", f"SHA-256 {ledger.truth_digest[:12]}…" if ledger.truth_digest else ""),
        ("igcam", ledger.version),
    ]
    return [(term, value) for term, value in facts if value]


def run_facts(run: RunData) -> list[tuple[str, str]]:
    """Return the facts of a run without truth, as pairs of a term and its value."""
    tagged = sum(entry.tags is not None for entry in run.entries)
    cues = Counter(kind for found in run.cues for kind, number in found.items() if number)
    annotated = sum(
        entry.tags is not None or any(found.values()) for entry, found in zip(run.entries, run.cues, strict=True)
    )
    priced = {kind: number for kind, number in cues.items() if kind in ANNOTATION_SECONDS}
    known = "known for all images" if tagged == len(run.entries) else f"known for {count(tagged, 'image')}"
    return [
        ("Images", f"{len(run.entries):,}"),
        ("Tags", known),
        ("Supervision", cue_words(cues)),
        ("Annotation time", _annotation(annotation_seconds(annotated, priced))),
        ("Seed", "none" if run.seed is None else str(run.seed)),
        ("Computing time", duration(run.seconds)),
        ("igcam", run.version),
    ]


def flattened(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested options as pairs of a dotted name and its value."""
    pairs: list[tuple[str, str]] = []
    for key, value in options.items():
        if isinstance(value, Mapping):
            pairs += flattened(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", _plain(value)))
    return pairs


def _annotation(seconds: float) -> str:
    rounded = 60.0 * round(seconds / 60) if seconds >= 600 else float(round(seconds))
    return f"about {duration(rounded)} (estimated)" if seconds else "none"


def _parameters(crf: Mapping[str, Any] | None) -> str:
    if crf is None:
        return "none"
    return ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in crf.items()) or "yes"


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)
