from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from igcam.proposals.objectness import border_distance
from igcam.refine.affinity import dense_affinity
from igcam.refine.propagation import propagate

RELAXED = settings(max_examples=30, deadline=None)
VALUES = st.floats(-5, 5, width=32)


def same_region(labels: np.ndarray) -> np.ndarray:
    """Return an affinity of one within a region and zero between regions."""
    return (labels.ravel()[:, None] == labels.ravel()).astype(np.float32)


def test_what_does_not_touch_the_border_is_farthest_from_it() -> None:
    labels = np.zeros((8, 8), int)
    labels[2:6, 3:6] = 1
    distance = border_distance(same_region(labels), 8, 8)
    assert (distance[labels == 1] == 1).all()
    # 28 places on the border, 52 in all.
    assert distance[labels == 0] == pytest.approx(np.exp(-(28**2 / 52) / (2 * 0.6**2)))


def test_a_square_with_one_side_on_the_border_has_a_connection_of_one() -> None:
    labels = np.zeros((12, 12), int)
    labels[4:8, :4] = 1
    distance = border_distance(same_region(labels), 12, 12, 0.8)
    np.testing.assert_allclose(distance[labels == 1], np.exp(-1 / (2 * 0.8**2)), rtol=1e-5)


def test_the_size_of_the_map_does_not_matter() -> None:
    labels = np.zeros((8, 8), int)
    labels[:4, 2:6] = 1
    large = np.kron(labels, np.ones((2, 2), int))
    small = border_distance(same_region(labels), 8, 8)[0, 3]
    assert border_distance(same_region(large), 16, 16)[0, 6] == pytest.approx(small)


@RELAXED
@given(feature=arrays(np.float32, (2, 3, 4), elements=VALUES), maps=arrays(np.float32, (2, 3, 4), elements=VALUES))
def test_propagation_is_a_mean(feature: np.ndarray, maps: np.ndarray) -> None:
    affinity = dense_affinity(feature, None)
    result = propagate(affinity, maps)
    assert result.shape == maps.shape
    assert result.dtype == np.float32
    assert result.max() <= maps.max() + 1e-4
    assert result.min() >= maps.min() - 1e-4
    np.testing.assert_allclose(propagate(affinity, np.full((1, 3, 4), 0.3)), 0.3, rtol=1e-5)


def test_propagation_stays_within_regions() -> None:
    labels = np.array([[0, 0, 1, 1]])
    maps = np.array([[[1.0, 0.0, 0.0, 0.5]]])
    np.testing.assert_allclose(propagate(same_region(labels), maps), [[[0.5, 0.5, 0.25, 0.25]]])
