"""The supervision ledger: annotation, settings and network behind a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from igcam.core.version import __version__

ANNOTATION_SECONDS: Mapping[str, float] = {"tags": 20.0, "point": 22.1, "scribble": 34.9, "box": 38.1, "mask": 239.7}
"""Annotation time in seconds an image of VOC 2012, class labels included, by the strongest kind of label.

Source: Bearman et al., ECCV 2016 (tags, points, scribbles, masks); Bellver et al., CVPR workshops 2019 (boxes).
"""


def annotation_seconds(
    images: int, cues: Mapping[str, int] | None = None, costs: Mapping[str, float] = ANNOTATION_SECONDS
) -> float:
    """Estimate the annotation time in seconds from the annotated images and the number of images by kind of cue.

    Costs are totals an image, tags included. So every annotated image costs its tags once, and every kind of cue
    on it adds the difference to the tags.

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


@dataclass(frozen=True)
class Ledger:
    """Settings that must be equal for two numbers to be comparable."""

    method: str
    """Name of the method and its variant."""
    split: str
    """Name of the scored images ("voc2012 val")."""
    split_size: int
    """Number of scored images."""
    tags_at_inference: bool
    """Whether predictions used the true tags of the scored images."""
    cues: Mapping[str, int] = field(default_factory=dict)
    """Number of training images by kind of cue; tags are not listed."""
    annotation_seconds: float = 0.0
    """Estimated annotation time of the training data; see the function of this name."""
    threshold_rule: str = "none"
    """How background and classes were separated."""
    oracle_threshold: bool = False
    """Whether that rule was tuned on the truth that is scored."""
    crf: Mapping[str, Any] | None = None
    """Parameters of the dense CRF; None without."""
    multi_scale: tuple[float, ...] = (1.0,)
    """Scales of the image at inference."""
    flip: bool = False
    """Whether the mirrored image was used too."""
    backbone: str = ""
    """Name of the network."""
    weights: str = ""
    """Source of its weights, best with a hash."""
    regime: str = ""
    """"frozen" or "finetune"."""
    resolution: str = ""
    """Input size of the network ("384 x 384", "short side 448")."""
    seed: int | None = None
    """Seed of the run; None for a mean over seeds."""
    stages: tuple[str, ...] = ()
    """Stages of the schedule that ran, in order."""
    wall_seconds: float | None = None
    """Duration of the run on its machine."""
    truth_digest: str | None = None
    """Hash of the true masks, as codebases differ in them."""
    version: str = __version__
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
        """Undo `to_dict`; ValueError for an unknown field or without a required one."""
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
        """Return the fields that forbid a comparison: all that differ except method, seed and duration."""
        mine, theirs = self.to_dict(), other.to_dict()
        free = {"method", "seed", "wall_seconds"}
        return tuple(name for name in mine if name not in free and mine[name] != theirs[name])
