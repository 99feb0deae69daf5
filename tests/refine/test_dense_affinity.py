from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from igcam.core.errors import IgcamError
from igcam.refine.affinity import DenseAffinityOptions, dense_affinity
from igcam.refine.propagation import by_rows

RELAXED = settings(max_examples=30, deadline=None)
VALUES = st.floats(-5, 5, width=32)
FLAT = np.ones((1, 8, 8), np.float32)


@RELAXED
@given(
    feature=arrays(np.float32, (3, 4, 5), elements=VALUES),
    image=arrays(np.uint8, (4, 5, 3)),
    power=st.floats(0, 4),
    colour=st.just(0) | st.floats(0.01, 50),
)
def test_affinities_are_symmetric_and_largest_with_oneself(
    feature: np.ndarray, image: np.ndarray, power: float, colour: float
) -> None:
    affinity = dense_affinity(feature, image, DenseAffinityOptions(power=power, colour=colour))
    assert affinity.shape == (20, 20)
    assert affinity.dtype == np.float32
    np.testing.assert_allclose(affinity, affinity.T, atol=1e-6)
    assert affinity.min() >= 0
    assert affinity.max() <= 1
    np.testing.assert_allclose(np.diag(affinity), 1, atol=1e-4)


@pytest.mark.parametrize("colour", [0.01, 0.3, 8.0])
def test_small_differences_between_colours_are_not_lost_in_large_ones(colour: float) -> None:
    # Two halves that are far apart, each of places that are alike or all but alike.
    image = np.full((8, 8, 3), (200, 30, 90), np.uint8)
    image[4:] = (10, 160, 240)
    image[::2] += 1
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab).reshape(64, 3).astype(np.float64)
    squared = ((lab[:, None] - lab) ** 2).sum(axis=2)
    found = dense_affinity(FLAT, image, DenseAffinityOptions(power=0, colour=colour, radius=1e6))
    np.testing.assert_allclose(found, np.exp(-squared / (2 * colour**2)), rtol=2e-4, atol=1e-6)


def test_distance_alone_by_hand() -> None:
    affinity = dense_affinity(FLAT, None, DenseAffinityOptions(power=0, colour=0, radius=6))
    # Places of an 8 x 8 map are three apart in a 24 x 24 map.
    assert affinity[0, 2] == pytest.approx(np.exp(-(6**2) / (2 * 6**2)))
    assert affinity[0, 9] == pytest.approx(np.exp(-2 * 3**2 / (2 * 6**2)))


def test_cosines_by_hand() -> None:
    feature = np.array([[[1, 2, 0, 1]], [[0, 0, 3, 1]]], np.float32)
    affinity = dense_affinity(feature, None, DenseAffinityOptions(power=3, colour=0, radius=1e6))
    np.testing.assert_allclose(affinity[0], [1, 1, 0, 0.5**1.5], atol=1e-5)


def test_opposite_features_are_not_alike() -> None:
    feature = np.array([[[1, -1]]], np.float32)
    assert dense_affinity(feature, None, DenseAffinityOptions(power=1, colour=0))[0, 1] == 0


def test_colours_by_hand() -> None:
    image = np.array([[[0, 0, 0], [255, 255, 255], [0, 0, 0]]], np.uint8)
    affinity = dense_affinity(np.ones((1, 1, 3)), image, DenseAffinityOptions(power=0, colour=50, radius=1e6))
    # Black and white are 100 apart in lightness.
    np.testing.assert_allclose(affinity[0], [1, np.exp(-(100**2) / (2 * 50**2)), 1], rtol=1e-3)


def test_wrong_shapes_and_values_are_named() -> None:
    with pytest.raises(ValueError, match="feature: must be finite"):
        dense_affinity(np.full((1, 2, 2), np.nan), None)
    with pytest.raises(ValueError, match=r"image: must be uint8 \(8, 8, 3\), got uint8 \(4, 8, 3\)"):
        dense_affinity(FLAT, np.zeros((4, 8, 3), np.uint8))
    with pytest.raises(IgcamError, match=r"colour must be 0 or at least 0\.01, got -1"):
        DenseAffinityOptions(colour=-1)


def test_rows_too_small_to_invert_count_as_empty() -> None:
    affinity = np.array([[0, 1e-42], [1e-42, 0.5]], np.float32)
    np.testing.assert_allclose(by_rows(affinity), [[0, 0], [0, 1]], atol=1e-6)
    assert by_rows(affinity, in_place=True) is affinity
    np.testing.assert_allclose(affinity, [[0, 0], [0, 1]], atol=1e-6)
