"""The ledger of a run's numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from igcam.core.files import digest
from igcam.data.sample import Dataset
from igcam.methods.base import Refinement
from igcam.methods.options import FitOptions
from igcam.metrics.ledger import Ledger, annotation_seconds


def run_ledger(
    options: FitOptions,
    training: Dataset,
    *,
    split: str,
    split_size: int,
    tags_at_inference: bool,
    stages: Sequence[str] | None = None,
    wall_seconds: float | None = None,
) -> Ledger:
    """Return the supervision and the settings behind masks of a run.

    Args:
        options: Of the run.
        training: Its training images, with their cues.
        split: Name of the scored images.
        split_size: Their number.
        tags_at_inference: Whether their tags were used.
        stages: Stages behind these masks; None for all of the run.
        wall_seconds: Time up to these masks.
    """
    shown = tuple(options.mask_stages if stages is None else stages)
    declared = options.stages
    taking_part = [stage for stage in declared if stage.name in shown]
    given = training if any(stage.uses_cues for stage in taking_part) else ()
    cues = dict(Counter(kind for sample in given for kind in {cue.kind for cue in sample.cues}))
    rules = [stage.threshold_rule for stage in taking_part if stage.scores]
    crf = next((stage.facts for stage in reversed(taking_part) if isinstance(stage, Refinement) and stage.facts), None)
    before = declared[: 1 + max((declared.index(stage) for stage in taking_part), default=-1)]
    backbone = options.backbone
    weights = "timm" if backbone.pretrained else "random"
    if backbone.weights is not None:
        weights = f"{backbone.weights.name} sha256 {digest(backbone.weights)[:12]}"
    return Ledger(
        method=options.entry.name,
        split=split,
        split_size=split_size,
        tags_at_inference=tags_at_inference,
        cues=cues,
        annotation_seconds=annotation_seconds(len(training), cues),
        threshold_rule=rules[-1] if rules else "",
        crf=None if crf is None else dict(crf),
        flip=options.flip,
        backbone=backbone.name,
        weights=weights,
        regime=" + ".join(dict.fromkeys(stage.regime for stage in before if stage.regime)) or "frozen",
        resolution=f"{options.size} x {options.size}",
        seed=options.seed,
        stages=shown,
        wall_seconds=wall_seconds,
    )
