from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_inputs import toy_drawn, toy_inputs, toy_masks, toy_targets

from igcam.core.errors import IgcamError
from igcam.methods.igcam.foreground import ForegroundOptions, learn_foreground
from igcam.methods.igcam.guidance import ObjectnessOptions, first_pseudo_labels
from igcam.proposals.objectness import ObjectScoreOptions
from igcam.supervision.conditioning import MarkOptions

COUNT = 12
OPTIONS = ForegroundOptions(locations=400)


def noisy_targets(wrong: float, seed: int = 3) -> np.ndarray:
    """Return the true targets with a share of the places of every image turned over."""
    targets = toy_targets(toy_masks(COUNT))
    flipped = np.random.default_rng(seed).random(targets[:, 0].shape) < wrong
    foreground = np.where(flipped, targets[:, 0], 1 - targets[:, 0])
    return np.stack([1 - foreground, foreground / 2, foreground / 2], axis=1).astype(np.float32)


def test_what_is_wrong_in_one_image_is_outvoted_by_the_others() -> None:
    truth = toy_masks(COUNT) > 0
    targets = noisy_targets(0.3)
    found = learn_foreground(toy_inputs(COUNT), targets, OPTIONS)
    assert found.shape == truth.shape
    assert found.dtype == np.float32
    assert ((targets[:, 0] < 0.5) == truth).mean() < 0.75
    assert ((found > 0.5) == truth).mean() > 0.98


def test_it_knows_no_classes() -> None:
    inputs = toy_inputs(COUNT)
    targets = toy_targets(toy_masks(COUNT))
    found = learn_foreground(inputs, targets, OPTIONS)
    swapped = learn_foreground(inputs, targets[:, [0, 2, 1]], OPTIONS)
    np.testing.assert_array_equal(found, swapped)


def test_mirrored_views_are_mirrored_back() -> None:
    inputs = toy_inputs(COUNT)
    targets = toy_targets(toy_masks(COUNT))
    both = learn_foreground(inputs, targets, OPTIONS)
    one = learn_foreground(replace(inputs, reduced=inputs.reduced[:1]), targets, OPTIONS)
    np.testing.assert_allclose(both, one, atol=2e-2)


def test_few_masks_outweigh_many_guesses() -> None:
    inputs, targets = toy_inputs(COUNT, taught=(0, 1)), noisy_targets(0.0)
    targets[2:] = targets[2:, [1, 0, 2]]  # half of what is guessed of the objects is called background
    masks = toy_targets(toy_masks(COUNT))
    targets[:2] = masks[:2]
    truth = toy_masks(COUNT) > 0
    errors = [
        np.abs(learn_foreground(inputs, targets, replace(OPTIONS, mask_weight=share)) - truth).mean()
        for share in (0.0, 0.5, 0.95)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_places_that_a_mask_does_not_know_do_not_count() -> None:
    masks = toy_masks(COUNT)
    masks[:, :, 4:] = 255
    inputs = replace(toy_inputs(COUNT), annotated={index: toy_drawn(mask) for index, mask in enumerate(masks)})
    targets = toy_targets(toy_masks(COUNT))
    spoilt = targets.copy()
    spoilt[:, :, :, 4:] = spoilt[:, [1, 0, 2], :, 4:]
    np.testing.assert_array_equal(learn_foreground(inputs, targets, OPTIONS), learn_foreground(inputs, spoilt, OPTIONS))
    nothing = replace(inputs, annotated={index: toy_drawn(mask * 0 + 255) for index, mask in enumerate(masks)})
    np.testing.assert_array_equal(learn_foreground(nothing, targets, OPTIONS), 1 - targets[:, 0])


def test_first_targets_are_scored_again_by_all_images() -> None:
    inputs, truth = toy_inputs(COUNT), toy_masks(COUNT)
    # Every fourth image has its activation beside the object.
    activations = np.stack([[truth_of == label for label in (1, 2)] for truth_of in truth]).astype(np.float32)
    activations[::4] = np.roll(activations[::4], 4, axis=3)
    activations *= inputs.tags[:, :, None, None]

    def missed(share: float) -> float:
        alone = ObjectScoreOptions(activation=1, surroundings=0)
        options = ObjectnessOptions(alone, foreground=replace(OPTIONS, weight=share))
        targets = first_pseudo_labels(inputs, activations, options, MarkOptions())
        return float(targets[::4, 0][truth[::4] > 0].mean())

    assert missed(1.0) < missed(0.0) - 0.1


@pytest.mark.parametrize("bad", [{"weight": 1.5}, {"penalty": 0.0}, {"locations": 0}, {"mask_weight": 1.0}])
def test_options_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(IgcamError, match=next(iter(bad))):
        ForegroundOptions(**bad)
