from __future__ import annotations

import numpy as np
from toy_inputs import toy_inputs, toy_masks, toy_targets

from igcam.methods.igcam.rounds import update_pseudo_labels
from igcam.refine.crf import CRFParameters
from igcam.supervision.pseudo_labels import PseudoLabelOptions, snap

SHARP = PseudoLabelOptions(size=64, crf=CRFParameters(bilateral_width=120, bilateral_colour=20))


def blurred(count: int) -> np.ndarray:
    targets = 0.4 * toy_targets(toy_masks(count)) + 0.2
    targets[:, 1:] *= toy_inputs(count).tags[:, :, None, None]
    return (targets / targets.sum(axis=1, keepdims=True)).astype(np.float32)


def test_targets_move_towards_the_regions_of_the_photo() -> None:
    inputs, masks, before = toy_inputs(4), toy_masks(4), blurred(4)
    # A place inside each object that the map has wrong.
    for index, mask in enumerate(masks):
        row, column = np.argwhere(mask)[4]
        before[index, :, row, column] = before[index, :, 0, 0]
    targets, confidence = update_pseudo_labels(inputs, np.arange(4), before, SHARP)
    assert (before.argmax(axis=1) != masks).sum() == 4
    np.testing.assert_array_equal(targets.argmax(axis=1), masks)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    assert not targets[:, 1:][inputs.tags == 0].any()
    assert confidence.min() >= SHARP.min_confidence
    assert confidence.max() <= 1 + 1e-6


def test_rows_belong_to_the_indices() -> None:
    inputs, before = toy_inputs(4), blurred(4)
    targets, confidence = update_pseudo_labels(inputs, np.arange(4), before, SHARP)
    chosen = np.array([3, 1])
    some, same = update_pseudo_labels(inputs, chosen, before[chosen], SHARP)
    np.testing.assert_array_equal(some, targets[chosen])
    np.testing.assert_array_equal(same, confidence[chosen])


def test_without_the_crf_targets_stay_and_trust_is_the_margin() -> None:
    before = blurred(3)
    targets, confidence = update_pseudo_labels(
        toy_inputs(3), np.arange(3), before, PseudoLabelOptions(size=0, min_confidence=0.2)
    )
    np.testing.assert_array_equal(targets, before)
    top = np.sort(before, axis=1)
    np.testing.assert_allclose(confidence, 0.2 + 0.8 * (top[:, -1] - top[:, -2]), rtol=1e-5)


def test_what_is_background_only_stays() -> None:
    probability = np.zeros((3, 4, 4), np.float32)
    probability[0] = 1
    image = np.zeros((16, 16, 3), np.uint8)
    np.testing.assert_array_equal(snap(probability, image, CRFParameters()), probability)
