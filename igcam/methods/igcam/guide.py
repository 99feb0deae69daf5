"""Stage 2, guide: proposals and cues become coverage targets, and a head learns them across images."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from igcam.methods.igcam.first_labels import ObjectnessOptions, first_pseudo_labels
from igcam.methods.igcam.noisy_tags import weighted_by_posterior
from igcam.methods.igcam.rounds import Guided, RoundOptions, learn
from igcam.methods.inputs import Inputs


@dataclass(frozen=True)
class GuideOptions:
    """Which segments guide, and how the head learns from them."""

    objectness: ObjectnessOptions = field(default_factory=ObjectnessOptions)
    """From activation maps, proposals and cues to first targets."""
    learn: RoundOptions = field(default_factory=RoundOptions)
    """The rounds in which heads learn them."""


def guide(inputs: Inputs, activations: NDArray[np.floating], options: GuideOptions) -> Guided:
    """Build targets from proposals, activation maps and cues, and train a head on them.

    Args:
        inputs: Features, tags, cues.
        activations: (N, C, h', w') in 0..1 of any size, zero for classes that are not tagged, or not believed.
        options: See there.
    """
    probabilities = first_pseudo_labels(inputs, activations, options.objectness, options.learn.pseudo_labels.marks)
    return learn(inputs, weighted_by_posterior(inputs, probabilities), options.learn)
