"""The supervision ledger: what a number was bought with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

ANNOTATION_SECONDS: Mapping[str, float] = {
    "tags": 20.0,
    "point": 22.1,
    "scribble": 34.9,
    "box": 38.1,
    "mask": 239.7,
}
"""Seconds an image of VOC 2012, naming its classes included, by the strongest thing that was drawn on it.

Source: Bearman et al., ECCV 2016 (tags, points, scribbles, masks); Bellver et al., CVPR workshops 2019
(boxes).
"""


def annotation_seconds(
    images: int, cues: Mapping[str, int] | None = None, costs: Mapping[str, float] = ANNOTATION_SECONDS
) -> float:
    """Estimate how long the annotation took.

    The costs are totals an image and contain the naming of its classes. So every annotated image pays the
    tags once, and every kind of cue on it adds what that kind costs beyond the tags.

    Args:
        images: Annotated images, those with cues among them.
        cues: Kind of cue -> number of images that carry it.
        costs: Seconds an image for "tags" and for every kind in `cues`.

    Raises:
        ValueError: A kind has no cost, or a kind is on more images than there are.
    """
    seconds = images * costs["tags"]
    for kind, count in (cues or {}).items():
        if kind == "tags" or kind not in costs:
            allowed = ", ".join(name for name in costs if name != "tags")
            raise ValueError(f"cues: kinds must be among {allowed}, got {kind}")
        if not 0 <= count <= images:
            raise ValueError(f"cues: {kind} must be on 0..{images} images, got {count}")
        seconds += count * (costs[kind] - costs["tags"])
    return seconds


def _installed_version() -> str:
    try:
        return version("igcam")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class Ledger:
    """Everything that must be equal before two numbers may stand in one column."""

    method: str
    """Name of the method and its variant."""
    split: str
    """Images that were scored, by name ("voc2012 val")."""
    split_size: int
    """How many they are."""
    tags_at_inference: bool
    """Whether the true tags of the scored images were used to make the prediction."""
    cues: Mapping[str, int] = field(default_factory=dict)
    """Kind of cue -> number of training images that carried it; tags are not listed."""
    annotation_seconds: float = 0.0
    """Estimated time of all annotation used for training; see `annotation_seconds`."""
    threshold_rule: str = "none"
    """How the background was told from the classes."""
    oracle_threshold: bool = False
    """Whether that rule was picked with the truth that it is scored on."""
    crf: Mapping[str, Any] | None = None
    """Parameters of the dense CRF; None without."""
    multi_scale: tuple[float, ...] = (1.0,)
    """Scales of the image at inference."""
    flip: bool = False
    """Whether the mirrored image was used too."""
    backbone: str = ""
    """Name of the network."""
    weights: str = ""
    """Where its weights come from, best with a hash."""
    regime: str = ""
    """"frozen" or "finetune"."""
    resolution: str = ""
    """Size of the image that the network saw ("384 x 384", "short side 448")."""
    seed: int | None = None
    """Seed of the run; None for a mean over seeds."""
    stages: tuple[str, ...] = ()
    """Stages of the schedule that ran, in order."""
    wall_seconds: float | None = None
    """Time of the run on its machine."""
    truth_digest: str | None = None
    """Hash of the truth masks, as codebases differ in them."""
    version: str = field(default_factory=_installed_version)
    """Version of igcam."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and scalars for JSON."""
        plain = asdict(self)
        plain["cues"] = dict(self.cues)
        plain["crf"] = None if self.crf is None else dict(self.crf)
        plain["multi_scale"] = list(self.multi_scale)
        plain["stages"] = list(self.stages)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Ledger:
        """Undo `to_dict`.

        Raises:
            ValueError: A field is unknown, or a required one is missing.
        """
        unknown = sorted(set(plain) - {item.name for item in fields(cls)})
        missing = [name for name in ("method", "split", "split_size", "tags_at_inference") if name not in plain]
        if unknown or missing:
            raise ValueError(f"ledger: must hold the known fields, got unknown {unknown}, missing {missing}")
        values = dict(plain)
        for name in ("multi_scale", "stages"):
            if name in values:
                values[name] = tuple(values[name])
        return cls(**values)

    def differences(self, other: Ledger) -> tuple[str, ...]:
        """Return the fields that forbid a comparison: all that differ, but for method, seed and time."""
        mine, theirs = self.to_dict(), other.to_dict()
        free = {"method", "seed", "wall_seconds"}
        return tuple(name for name in mine if name not in free and mine[name] != theirs[name])
