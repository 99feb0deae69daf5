"""The ledger of a run's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from igcam.data.sample import Dataset
from igcam.core.files import digest
from igcam.metrics.ledger import Ledger, annotation_seconds
from igcam.runs.options import FitOptions
from igcam.refine.crf import CRF_PRESETS


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
    """Say what masks of a run were bought with.

    Args:
        options: The run's.
        training: Images that it has learnt from, with the cues that it was given.
        split: Name of the images that are scored.
        split_size: How many they are.
        tags_at_inference: Whether their tags were used.
        stages: Those that took part in these masks; None for all of the run.
        wall_seconds: Time up to these masks.
    """
    stages = tuple(options.stages if stages is None else stages)
    cues: dict[str, int] = {}
    for sample in training:
        for kind in {cue.kind for cue in sample.cues}:
            cues[kind] = cues.get(kind, 0) + 1
    method = options.igcam if options.method == "igcam" else options.cam
    trained = "guide" in stages or "reweight" in stages
    backbone = options.backbone
    weights = "random"
    if backbone.weights is not None:
        weights = f"{backbone.weights.name} sha256 {digest(backbone.weights)[:12]}"
    elif backbone.pretrained:
        weights = "timm"
    return Ledger(
        method=options.method,
        split=split,
        split_size=split_size,
        tags_at_inference=tags_at_inference,
        cues=cues if trained else {},
        annotation_seconds=annotation_seconds(len(training), cues if trained else {}),
        threshold_rule="background learnt as a class" if trained else method.background.words,
        crf=_crf(options) if "crf" in stages else None,
        flip=options.flip,
        backbone=backbone.name,
        weights=weights,
        regime=options.regime,
        resolution=f"{options.size} x {options.size}",
        seed=options.seed,
        stages=stages,
        wall_seconds=wall_seconds,
    )


def _crf(options: FitOptions) -> dict[str, Any]:
    """Say which CRF it is, and for which photos its widths are meant where they follow the size of the photo."""
    sizes = {"widths_for_longer_side": options.crf_side} if options.crf_side else {}
    return {"preset": options.crf, **asdict(CRF_PRESETS[options.crf]), **sizes}
