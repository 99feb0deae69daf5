from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from igcam.supervision.pseudo_labels import from_activation, restrict_to_tags

RELAXED = settings(max_examples=30, deadline=None)
UNIT = st.floats(0, 1, width=32)


@RELAXED
@given(activation=arrays(np.float32, (3, 4, 5), elements=UNIT), coverage=arrays(np.float32, (4, 5), elements=UNIT))
def test_activations_become_probabilities(activation: np.ndarray, coverage: np.ndarray) -> None:
    activation[1] = 0
    probability = from_activation(activation, coverage)
    assert probability.shape == (4, 4, 5)
    assert probability.dtype == np.float32
    assert probability.min() >= 0
    np.testing.assert_allclose(probability.sum(axis=0), 1, atol=1e-5)
    assert not probability[2].any()


def test_activation_by_hand() -> None:
    activation = np.array([0.6, 0.2, 0.0], np.float32).reshape(3, 1, 1)
    probability = from_activation(activation, np.array([[0.4]], np.float32))
    foreground = 1 / (1 + np.exp(-8 * ((0.6 + 0.4) / 2 - 0.4)))
    shares = np.array([0.601**2, 0.201**2]) / (0.601**2 + 0.201**2)
    np.testing.assert_allclose(probability.ravel(), [1 - foreground, *(foreground * shares), 0], rtol=1e-5)
    level = from_activation(activation, np.array([[0.4]], np.float32), level=0.5, slope=3)
    assert level[0, 0, 0] == pytest.approx(0.5)


def test_what_activations_spread_to_tells_the_class() -> None:
    activation = np.array([[[1.0, 0.0]], [[0.0, 0.1]], [[0.0, 0.0]]], np.float32)
    spread = np.array([[[0.6, 0.6]], [[0.2, 0.3]], [[0.9, 0.9]]], np.float32)
    probability = from_activation(activation, np.ones((1, 2), np.float32), propagated=spread)
    np.testing.assert_allclose(probability[1] / probability[2], [[0.6**2 / 0.2**2, 0.6**2 / 0.3**2]], rtol=1e-4)
    assert not probability[3].any(), "an untagged class gets nothing"


def test_more_coverage_means_more_foreground() -> None:
    activation = np.full((1, 1, 3), 0.5, np.float32)
    background = from_activation(activation, np.array([[0.0, 0.5, 1.0]], np.float32))[0, 0]
    assert background[0] > background[1] > background[2]


def test_an_image_without_tags_is_background() -> None:
    probability = from_activation(np.zeros((2, 3, 3), np.float32), np.ones((3, 3), np.float32))
    assert (probability[0] == 1).all()
    assert not probability[1:].any()


@RELAXED
@given(
    weights=arrays(np.float32, (2, 4, 3, 3), elements=st.floats(0.015625, 1, width=32)),
    tags=arrays(np.float32, (2, 3), elements=st.sampled_from([0.0, 1.0])),
)
def test_untagged_classes_are_taken_out(weights: np.ndarray, tags: np.ndarray) -> None:
    probability = weights / weights.sum(axis=1, keepdims=True)
    kept = restrict_to_tags(probability, tags)
    np.testing.assert_allclose(kept.sum(axis=1), 1, atol=1e-5)
    for row in range(2):
        allowed = [0, *(1 + np.flatnonzero(tags[row]))]
        assert not np.delete(kept[row], allowed, axis=0).any()
        if len(allowed) == 1:
            assert (kept[row][0] == 1).all()
            continue
        # What is an object stays one, and the tagged classes keep their odds.
        np.testing.assert_allclose(kept[row][0], probability[row][0], rtol=1e-4)
        first, *others = allowed[1:]
        for other in others:
            np.testing.assert_allclose(
                kept[row][other] * weights[row][first], weights[row][other] * kept[row][first], rtol=1e-4
            )
    np.testing.assert_array_equal(kept[0], restrict_to_tags(probability[0], tags[0]))


def test_what_is_surely_an_untagged_class_goes_to_the_tagged_ones() -> None:
    probability = np.array([1e-20, 2e-20, 1.0], np.float32).reshape(3, 1, 1)
    found = restrict_to_tags(probability, np.array([1.0, 0.0], np.float32))
    np.testing.assert_allclose(found.ravel(), [0, 1, 0], atol=1e-6)
    others = np.array([0.25, 0, 0, 0.75], np.float32).reshape(4, 1, 1)
    found = restrict_to_tags(others, np.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(found.ravel(), [0.25, 0.375, 0.375, 0])
    np.testing.assert_array_equal(restrict_to_tags(others, np.zeros(3)).ravel(), [1, 0, 0, 0])


def test_a_class_counts_as_far_as_its_tag_is_believed() -> None:
    probability = np.array([0.2, 0.6, 0.2], np.float32).reshape(3, 1, 1)
    found = restrict_to_tags(probability, np.array([0.5, 1.0], np.float32)).ravel()
    # Of 0.8 objects 0.3 : 0.2 by the classes, of which the first one counts half.
    expected = np.array([0.2, 0.8 * 0.6 * 0.5, 0.8 * 0.4])
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-5)
