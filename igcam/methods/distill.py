"""Options of a distillation: a segmenter is trained on the masks of a run, and needs no tags."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from igcam.core.errors import IgcamError, check_ranges
from igcam.models.segmenter import SegmenterOptions

REGIMES = ("frozen", "finetune")


@dataclass(frozen=True)
class DistillOptions:
    """The segmenter and its training."""

    segmenter: SegmenterOptions = field(default_factory=SegmenterOptions)
    """The decoder."""
    regime: str = "frozen"
    """`frozen`: features of the backbone are computed once and the decoder is trained; `finetune`: the backbone is
    trained too, on photos that are augmented anew in each epoch."""
    size: int = 0
    """Side of the square in pixels to which photos are squashed; 0 takes the run's."""
    epochs: int = 20
    """Passes over the images, in each round."""
    min_steps: int = 200
    """Few images get more passes, until this number of updates is reached."""
    batch_size: int = 16
    """Images an update, over all processes together."""
    accumulate: int = 1
    """Number of parts in which an update goes through the network, to save memory."""
    learning_rate: float = 5e-3
    """Peak rate of AdamW; it rises in the first tenth of all updates and falls to zero along a cosine."""
    backbone_rate: float = 0.002
    """Rate of the backbone as a share of `learning_rate`. A network that was trained on many photos forgets more than
    it gains from a few hundred: 0.1 cost half of the accuracy (benchmarks/finetuned_choice.py). Random weights need
    1."""
    weight_decay: float = 1e-2
    """Decoupled weight decay."""
    averaging: float = 0.99
    """Decay of the exponential moving average of the weights: the teacher, which predicts between rounds and is the
    segmenter in the end."""
    class_balance: float = 0.0
    """Locations of a class have the weight of its frequency in all masks to the power of minus this; 0 weighs all
    alike."""
    foreground_bias: float = 0.5
    """Subtracted from the background's logit after training, as for the head of a run."""
    rounds: int = 1
    """In each further round the teacher's predictions, restricted to the tags, are mixed into the pseudo labels."""
    teacher_weight: float = 0.5
    """Their weight in the pseudo labels of images without cues; the rest are the masks of the run."""
    tag_prior: float | None = None
    """Weight of the tag prior of the whole photo; null takes the run's, or 0 in the finetune regime, where the tagger
    is fitted to photos that the backbone was trained on and is overconfident on others."""
    compile: bool = False
    """Compile the network by torch.compile: pays on a GPU in long trainings."""
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
