"""A segmenter as a folder: segmenter.safetensors with all weights, and segmenter.json with its facts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from igcam.core.errors import IgcamError
from igcam.core.files import read_json, read_tensors, write_json, write_tensors
from igcam.core.validation import from_plain, options, to_plain
from igcam.models.backbone import BackboneOptions, build_backbone
from igcam.models.image_prior import ImagePrior, Tagger
from igcam.models.segmenter import Encoder, Segmenter, SegmenterOptions
from igcam.models.weights import has_v1_strides, use_v1_strides
from igcam.runs.old_options import modernise

WEIGHTS = "segmenter.safetensors"
DESCRIPTION = "segmenter.json"


@options
class SegmenterFacts:
    """What rebuilds a segmenter, besides its weights."""

    classes: tuple[str, ...]
    """Names, without background."""
    backbone: BackboneOptions
    """The backbone, without a source of weights."""
    v1_strides: bool
    """Whether the network's strides were moved, see `igcam.models.weights.use_v1_strides`."""
    segmenter: SegmenterOptions
    """The decoder."""
    tag_prior: float
    """Weight of the tag prior of the whole photo; 0 for none."""
    object_prior: float
    """Weight of the object prior of similar locations; 0 for none."""
    size: int
    """Side of the square that photos are squashed to."""
    flip: bool
    """Whether the mirrored view is averaged in."""


def facts_of(
    segmenter: Segmenter, backbone: BackboneOptions, classes: Sequence[str], size: int, flip: bool
) -> SegmenterFacts:
    """Return the facts of a segmenter that was built on this backbone."""
    kept = segmenter.encoder.backbone
    return SegmenterFacts(
        tuple(classes),
        replace(backbone, weights=None, pretrained=False, levels=kept.levels),
        has_v1_strides(kept.network),
        segmenter.options,
        0.0 if segmenter.prior is None else segmenter.prior.weight,
        0.0 if segmenter.prior is None else segmenter.prior.object_prior_weight,
        size,
        flip,
    )


def write_segmenter(folder: Path, segmenter: Segmenter, facts: SegmenterFacts) -> None:
    """Write both files; segmenter.json comes last and marks the segmenter as complete."""
    write_tensors(folder / WEIGHTS, segmenter.state_dict())
    write_json(folder / DESCRIPTION, to_plain(facts))


def read_segmenter(folder: str | Path) -> tuple[Segmenter, SegmenterFacts]:
    """Read a segmenter in evaluation mode, on the CPU; IgcamError if a file is missing, damaged or of another kind."""
    folder = Path(folder)
    description = folder / DESCRIPTION
    plain = read_json(description)
    if not isinstance(plain, dict):
        raise IgcamError(f"{description}: must be a JSON object")
    plain = modernise(plain)
    missing = [name for name in SegmenterFacts.__dataclass_fields__ if name not in plain]
    if missing:
        raise IgcamError(f"{description}: is not of a segmenter: no {', '.join(missing)}")
    facts = from_plain(SegmenterFacts, plain, str(description))
    # Up to version 0.1.0 the image prior was stored as `evidence`.
    stored = read_tensors(folder / WEIGHTS)
    tensors = {re.sub(r"^evidence\.", "prior.", name): tensor for name, tensor in stored.items()}
    try:
        with torch.random.fork_rng(devices=[]):
            backbone = build_backbone(facts.backbone)
        if facts.v1_strides:
            use_v1_strides(backbone.network)
        segmenter = Segmenter(Encoder(backbone, facts.segmenter.max_components), facts.segmenter, len(facts.classes))
        if facts.tag_prior:
            segmenter.prior = _prior(tensors, facts)
        segmenter.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        # Torch lists every tensor in a line of its own.
        reason = " ".join(str(error).split())[:200]
        raise IgcamError(f"{folder / WEIGHTS}: does not fit {DESCRIPTION}: {reason}") from error
    return segmenter.eval(), facts


def _prior(tensors: Mapping[str, Tensor], facts: SegmenterFacts) -> ImagePrior:
    def head(name: str) -> Tagger:
        return Tagger(tensors[f"prior.{name}.weight"], tensors[f"prior.{name}.bias"])

    objects = head("objects") if facts.object_prior > 0 else None
    return ImagePrior(head("tagger"), facts.tag_prior, objects, facts.object_prior)
