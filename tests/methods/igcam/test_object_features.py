from __future__ import annotations

from dataclasses import replace

import numpy as np
from toy_inputs import CLASSES, SIDE, toy_inputs, toy_masks, toy_targets

from igcam.methods.igcam.stages import object_features


def test_objects_are_the_means_of_their_places() -> None:
    inputs, masks = toy_inputs(), toy_masks(12)
    means, classes = object_features(inputs, toy_targets(masks))
    assert classes.tolist() == inputs.tags.tolist()
    for index, mask in enumerate(masks):
        np.testing.assert_allclose(means[index], inputs.last_level(index)[:, mask > 0].mean(axis=1), rtol=1e-5)


def test_places_count_by_their_probability() -> None:
    inputs = toy_inputs(2)
    probabilities = np.zeros((2, CLASSES + 1, SIDE, SIDE), np.float32)
    probabilities[:, 0] = 1
    probabilities[0, 1, 2, 3], probabilities[0, 1, 4, 5] = 0.9, 0.3
    probabilities[1, 2, 0, 0] = 1
    means, _ = object_features(inputs, probabilities)
    level = inputs.last_level(0)
    np.testing.assert_allclose(means[0], (3 * level[:, 2, 3] + level[:, 4, 5]) / 4, rtol=1e-5)


def test_specks_are_left_out_unless_a_class_has_nothing_else() -> None:
    inputs = toy_inputs(4)
    probabilities = np.full((4, CLASSES + 1, SIDE, SIDE), 1e-5, np.float32)
    probabilities[0, 1] = 0.5
    _, classes = object_features(inputs, probabilities)
    # Photo 0 shows the first class; photo 2 only a speck of it, photos 1 and 3 only specks of the other one.
    assert classes.tolist() == [[1, 0], [0, 1], [0, 1]]


def test_a_class_that_is_nowhere_goes_by_whole_photos_and_a_belief_takes_the_place_of_a_tag() -> None:
    inputs = toy_inputs(2)
    probabilities = toy_targets(toy_masks(2))
    nowhere, _ = object_features(inputs, np.zeros_like(probabilities))
    np.testing.assert_allclose(nowhere, inputs.pooled, rtol=1e-5)
    doubted = replace(inputs, posterior=np.array([[0.2, 0.1], [0.0, 0.9]], np.float32))
    assert object_features(doubted, probabilities)[1].tolist() == [[0, 1]]
