"""Distillation: a segmenter learns the masks of a run, and then needs no tags."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from igcam.core.errors import IgcamError, check_ranges
from igcam.models.segmenter import SegmenterOptions

REGIMES = ("frozen", "finetune")


@dataclass(frozen=True)
class DistillOptions:
    """What is learnt from the masks of a run, and how."""

    segmenter: SegmenterOptions = field(default_factory=SegmenterOptions)
    """The decoder."""
    regime: str = "frozen"
    """`frozen`: the backbone stays as it is, its levels are computed once and only the decoder learns; `finetune`: the
    backbone learns too, on photos that are varied anew in each epoch."""
    size: int = 0
    """Side of the square that photos are squashed to; 0 takes the run's."""
    epochs: int = 20
    """Passes over the images, in each round."""
    min_steps: int = 200
    """Fewer images get more passes, until so many updates are made."""
    batch_size: int = 16
    """Images an update, over all processes together."""
    accumulate: int = 1
    """The images of an update go through the network in so many parts, where memory is short."""
    learning_rate: float = 5e-3
    """Peak of AdamW's rate, after a tenth of all updates; it falls to zero along a cosine."""
    backbone_rate: float = 0.002
    """The backbone's rate is this share of it. One that was trained on many photos forgets more than it learns from a
    few hundred: 0.1 cost half of the accuracy (benchmarks/finetuned_choice.py). A network that starts at random needs
    1."""
    weight_decay: float = 1e-2
    """Decoupled weight decay."""
    averaging: float = 0.99
    """Decay of the running average of the weights: the teacher, which predicts in the end and between rounds."""
    class_balance: float = 0.0
    """Places of a class count by its share of all targets to the power of minus this; 0 counts all alike."""
    foreground_bias: float = 0.5
    """Taken from the background's logit after training, as for the head of a run."""
    rounds: int = 1
    """In each further round the teacher's predictions, restricted to the tags, take part in the targets."""
    teacher_weight: float = 0.5
    """Their share of the targets of images without cues; the rest are the masks of the run."""
    tag_prior: float | None = None
    """How far what is told from the whole photo decides to which class its objects belong; null takes the run's. In the
    finetune regime null takes 0: a tagger is fitted to the backbone after it has learnt, on photos that it knows by
    then, and is too sure of others."""
    compile: bool = False
    """Compile the network by torch.compile first: pays on a GPU in long trainings."""
    scale: tuple[float, float] = (0.7, 1.5)
    """Finetune regime: range of the longer side of a photo, as a multiple of `size`."""
    colour: float = 0.2
    """Finetune regime: strength of random changes of brightness, contrast and saturation."""
    seed: int = 0
    """Seeds all that is random."""

    def __post_init__(self) -> None:
        if self.regime not in REGIMES:
            raise IgcamError(f"regime must be one of {', '.join(REGIMES)}, got {self.regime!r}")
        check_ranges(self, epochs=(1, math.inf), min_steps=(0, math.inf), batch_size=(1, math.inf))
        check_ranges(self, accumulate=(1, math.inf), learning_rate=(0, math.inf), backbone_rate=(0, math.inf))
        check_ranges(self, weight_decay=(0, math.inf), averaging=(0, 0.9999), class_balance=(0, 1))
        check_ranges(self, foreground_bias=(-20, 20), rounds=(1, 100), teacher_weight=(0, 1), colour=(0, 0.99))
        check_ranges(self, seed=(0, 2**32 - 1))
        if self.size != 0:
            check_ranges(self, size=(32, 4096))
        if self.tag_prior is not None:
            check_ranges(self, tag_prior=(0, math.inf))
        if not 0 < self.scale[0] <= self.scale[1]:
            raise IgcamError(f"scale must be 0 < low <= high, got {self.scale}")
