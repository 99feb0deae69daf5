from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_inputs import toy_inputs, toy_masks, toy_targets

from igcam.methods.head_training import HeadOptions
from igcam.methods.mask_trust import choose_share, mask_weight
from igcam.methods.retarget import RetargetOptions
from igcam.methods.rounds import RoundOptions, learn

COUNT = 16
HEAD = HeadOptions(hidden=16, epochs=1, least_steps=40, batch_size=4, learning_rate=0.02)
MASKED = np.arange(COUNT) < 6


def test_masks_have_their_share() -> None:
    trust = np.ones((4, 2, 2), np.float32)
    masked = np.array([True, False, False, False])
    # 12 places are guessed: 36 of masks are three quarters of the whole.
    assert mask_weight(trust, masked, 0.75, 100) == pytest.approx(9)
    assert mask_weight(trust, masked, 0.75, 5) == 5
    assert mask_weight(trust, masked, 0, 100) == 1
    assert mask_weight(trust, ~masked, 0.5, 100) == 1


def chosen(wrong_guesses: bool, shares: tuple[float, ...], masked: np.ndarray = MASKED) -> float:
    """Choose where the guesses take one class for the other, or where the masks of two images do."""
    inputs = toy_inputs(COUNT, taught=tuple(np.flatnonzero(masked)))
    inputs = replace(inputs, tags=np.ones_like(inputs.tags))
    targets = toy_targets(toy_masks(COUNT)).astype(np.float32)
    if wrong_guesses:
        targets[~masked] = targets[~masked][:, [0, 2, 1]]
    return choose_share(inputs, targets, np.ones((COUNT, 8, 8), np.float32), masked, shares, 1000, HEAD)


def test_masks_count_for_more_where_guesses_are_wrong() -> None:
    assert chosen(True, (0.0, 0.95)) == 0.95
    assert chosen(True, (0.95, 0.0)) == 0.95


def test_a_larger_share_must_be_clearly_better() -> None:
    assert chosen(False, (0.5, 0.0)) == 0.0
    assert chosen(False, (0.0, 0.5)) == 0.0


@pytest.mark.parametrize("few", [0, 3, COUNT])
def test_too_few_masks_and_masks_alone_choose_nothing(few: int) -> None:
    assert chosen(True, (0.2, 0.95), np.arange(COUNT) < few) == 0.2


def test_rounds_take_what_was_chosen_and_choosing_leaves_no_trace() -> None:
    inputs = toy_inputs(COUNT, taught=(0, 1, 2, 3, 4, 5))
    begun = (0.8 * toy_targets(toy_masks(COUNT)) + 0.2 / 3).astype(np.float32)
    options = RoundOptions(rounds=1, mask_share=0.8, head=HEAD, retarget=RetargetOptions(size=0))
    fixed = learn(inputs, begun, replace(options, other_mask_shares=()))
    free = learn(inputs, begun, replace(options, other_mask_shares=(0.85, 0.9)))
    told = learn(inputs, begun, options, mask_share=0.3)
    assert (fixed.mask_share, free.mask_share, told.mask_share) == (0.8, 0.8, 0.3)
    np.testing.assert_array_equal(fixed.probabilities, free.probabilities)
    assert told.trust[0].max() < fixed.trust[0].max()
