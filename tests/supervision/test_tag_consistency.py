from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from igcam.supervision.pseudo_labels import keep_every_tag


def test_a_tag_that_wins_nowhere_gets_the_locations_where_it_is_nearest() -> None:
    background = np.array([[0.7, 0.6, 0.9, 0.8]], np.float32)
    probability = np.stack([background, 1 - background])
    kept = keep_every_tag(probability, np.array([1]), 0.5)
    assert kept.argmax(axis=0).tolist() == [[1, 1, 0, 0]]
    # One factor at all locations, here 0.7 / 0.3, keeps the ratios of the odds.
    np.testing.assert_allclose((kept[1] / kept[0]) / (probability[1] / probability[0]), 0.7 / 0.3 * 1.001, rtol=1e-4)


def test_nothing_changes_where_every_tag_has_its_share() -> None:
    probability = np.array([[[0.4, 0.9]], [[0.6, 0.1]], [[0.0, 0.0]]], np.float32)
    np.testing.assert_array_equal(keep_every_tag(probability, np.array([1, 0]), 0.5), probability)
    np.testing.assert_array_equal(keep_every_tag(probability, np.array([1, 1]), 0.0), probability)


@pytest.mark.parametrize("low", [0.0, 0.01])
def test_a_tag_that_is_nowhere_near_is_left(low: float) -> None:
    probability = np.stack([np.full((4, 4), 1 - low), np.full((4, 4), low)]).astype(np.float32)
    np.testing.assert_array_equal(keep_every_tag(probability, np.array([1]), 0.1), probability)


@given(arrays(np.float32, (4, 5, 6), elements=st.floats(0.0625, 1, width=32)), st.sampled_from([0.05, 0.1, 0.2]))
def test_it_stays_a_probability_and_untagged_classes_gain_nothing(raw: np.ndarray, minimum: float) -> None:
    probability = raw / raw.sum(axis=0)
    kept = keep_every_tag(probability, np.array([1, 0, 0]), minimum)
    np.testing.assert_allclose(kept.sum(axis=0), 1, atol=1e-5)
    assert (kept.argmax(axis=0) == 1).sum() >= round(minimum * 30)
    assert (kept[[0, 2, 3]] <= probability[[0, 2, 3]] + 1e-6).all()
