"""Stage 2, guide: proposals, activation maps and cues become pseudo labels, and a head is trained on all images."""

from __future__ import annotations

from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from igcam.core.options import options
from igcam.methods.igcam.first_labels import ObjectnessOptions, first_pseudo_labels
from igcam.methods.igcam.noisy_tags import weighted_by_posterior
from igcam.methods.igcam.rounds import Guided, RoundOptions, learn
from igcam.methods.inputs import Inputs


@options
class GuideOptions:
    """Which segments guide, and how the head is trained."""

    objectness: ObjectnessOptions = field(default_factory=ObjectnessOptions)
    """From activation maps, proposals and cues to first pseudo labels."""
    learn: RoundOptions = field(default_factory=RoundOptions)
    """The rounds of training on them."""


def guide(inputs: Inputs, activations: NDArray[np.floating], options: GuideOptions) -> Guided:
    """Build pseudo labels from proposals, activation maps and cues, and train a head on them.

    `activations` are (N, C, h', w') in 0..1 of any size, zero for classes without a tag or with a low posterior.
    """
    probabilities = first_pseudo_labels(inputs, activations, options.objectness, options.learn.pseudo_labels.marks)
    probabilities = weighted_by_posterior(inputs, probabilities)
    return learn(inputs, probabilities, options.learn)
