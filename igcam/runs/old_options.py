"""Names of options in version 0.1.0, for its run folders and for messages."""

from __future__ import annotations

from typing import Any

OLD_STAGES = ("classify", "guide", "reweight", "sharpen", "crf")
NEW_NAMES = {
    "tag_evidence": "tag_prior",
    "object_evidence": "object_prior",
    "doubt": "noisy_tags",
    "doubt.share": "weight",
    "doubt.least": "min_posterior",
    "doubt.disputed": "disputed_weight",
    "doubt.evidence": "scores",
    "coverage": "objectness",
    "coverage.evidence": "object_score",
    "coverage.places": "affinity",
    "evidence.places": "affinity",
    "segment_share": "segment_weight",
    "foreground.share": "weight",
    "foreground.places": "locations",
    "mask_share": "mask_weight",
    "most_weight": "max_mask_weight",
    "settled": "converged",
    "retarget": "pseudo_labels",
    "trust_floor": "min_confidence",
    "marks.places": "affinity",
    "marks.share": "walk_weight",
    "reweight.places": "locations",
    "reach": "radius",
    "most": "max_count",
    "most_parts": "max_parts",
    "most_area": "max_area",
    "least_area": "min_area",
    "least_share": "min_share",
    "least_steps": "min_steps",
    "teacher_share": "teacher_weight",
}
"""New names by old ones; old names of several senses stand with the name of the options around them."""


def modernise(plain: dict[str, Any], inside: str = "") -> dict[str, Any]:
    """Return the JSON form of options with present names; `inside` is the old name of the option that holds them."""
    return {
        _now(inside, name): modernise(value, name) if isinstance(value, dict) and name != "arguments" else value
        for name, value in plain.items()
    }


def modernised_run(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a run of version 0.1.0, which held those of both methods, in their present form."""
    fitted = modernise(plain)
    name = str(fitted.get("method", "igcam"))
    of_method = dict(fitted.get(name) or {})
    stages = of_method.pop("stages", OLD_STAGES)
    kept = {key: value for key, value in fitted.items() if key not in ("cam", "igcam")}
    without = [stage for stage in OLD_STAGES if stage not in stages] if name == "igcam" else []
    return {**kept, "method": {"name": name, **of_method}, "without": without}


def new_name(name: str) -> str | None:
    """Return the present dotted name of an option; None if it was not renamed."""
    parts = name.split(".")
    now = ".".join(map(_now, ["", *parts], parts))
    return now if now != name else None


def _now(inside: str, name: str) -> str:
    return NEW_NAMES.get(f"{inside}.{name}", NEW_NAMES.get(name, name))
