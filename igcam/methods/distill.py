"""Options of a distillation: a segmenter is trained on the masks of a run, and needs no tags."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from igcam.core.options import Count, Fraction, Natural, NonNegative, ScaleRange, Seed, between, one_of, options
from igcam.models.segmenter import SegmenterOptions

REGIMES = ("frozen", "finetune")


@options
class DistillOptions:
    """The segmenter and its training."""

    segmenter: SegmenterOptions = field(default_factory=SegmenterOptions)
    """The decoder."""
    regime: Annotated[str, one_of(REGIMES)] = "frozen"
    """`frozen`: features of the backbone are computed once and the decoder is trained; `finetune`: the backbone is
    trained too, on photos that are augmented anew in each epoch."""
    size: Annotated[int, between(32, 4096, or_zero=True)] = 0
    """Side of the square in pixels to which photos are squashed; 0 takes the run's."""
    epochs: Count = 20
    """Passes over the images, in each round."""
    min_steps: Natural = 200
    """Few images get more passes, until this number of updates is reached."""
    batch_size: Count = 16
    """Images an update, over all processes together."""
    accumulate: Count = 1
    """Number of parts in which an update goes through the network, to save memory."""
    learning_rate: NonNegative = 5e-3
    """Peak rate of AdamW; it rises in the first tenth of all updates and falls to zero along a cosine."""
    backbone_rate: NonNegative = 0.002
    """Rate of the backbone as a share of `learning_rate`. A network that was trained on many photos forgets more than
    it gains from a few hundred: 0.1 cost half of the accuracy (benchmarks/finetuned_choice.py). Random weights need
    1."""
    weight_decay: NonNegative = 1e-2
    """Decoupled weight decay."""
    averaging: Annotated[float, between(0, 0.9999)] = 0.99
    """Decay of the exponential moving average of the weights: the teacher, which predicts between rounds and is the
    segmenter in the end."""
    class_balance: Fraction = 0.0
    """Locations of a class have the weight of its frequency in all masks to the power of minus this; 0 weighs all
    alike."""
    foreground_bias: Annotated[float, between(-20, 20)] = 0.5
    """Subtracted from the background's logit after training, as for the head of a run."""
    rounds: Annotated[int, between(1, 100)] = 1
    """In each further round the teacher's predictions, restricted to the tags, are mixed into the pseudo labels."""
    teacher_weight: Fraction = 0.5
    """Their weight in the pseudo labels of images without cues; the rest are the masks of the run."""
    tag_prior: NonNegative | None = None
    """Weight of the tag prior of the whole photo; null takes the run's, or 0 in the finetune regime, where the tagger
    is fitted to photos that the backbone was trained on and is overconfident on others."""
    compile: bool = False
    """Compile the network by torch.compile: pays on a GPU in long trainings."""
    scale: ScaleRange = (0.7, 1.5)
    """Finetune regime: range of the longer side of a photo, as a multiple of `size`."""
    colour: Annotated[float, between(0, 0.99)] = 0.2
    """Finetune regime: strength of random changes of brightness, contrast and saturation."""
    seed: Seed = 0
    """Seeds all that is random."""
