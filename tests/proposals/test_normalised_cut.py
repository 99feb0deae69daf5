from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igcam.core.errors import IgcamError
from igcam.proposals.spectral import NormalisedCutOptions, normalised_cut, sides

RELAXED = settings(max_examples=20, deadline=None)


def two_clusters(inside: np.ndarray, noise: float = 0.0) -> np.ndarray:
    """Features (3, h, w) of one direction inside a region and another one outside."""
    feature = np.stack([inside, ~inside, np.full(inside.shape, 0.3)]).astype(np.float32)
    return feature + np.float32(noise) * np.random.default_rng(0).normal(size=feature.shape).astype(np.float32)


def block(size: int = 12) -> np.ndarray:
    inside = np.zeros((size, size), bool)
    inside[2:7, 3:9] = True
    return inside


def noise(seed: int, depth: int = 16, size: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(depth, size, size)).astype(np.float32)


def test_the_first_cut_splits_two_clusters() -> None:
    inside = block()
    cut = normalised_cut(two_clusters(inside, noise=0.05))[0]
    assert abs(cut[inside].mean() - cut[~inside].mean()) > 10 * cut[inside].std()
    low, high = sorted([(cut[inside].min(), cut[inside].max()), (cut[~inside].min(), cut[~inside].max())])
    assert low[1] < high[0]


@pytest.mark.parametrize("size", [6, 8, 12, 24])
@pytest.mark.parametrize("axis", [0, 1])
def test_halves_that_mirror_each_other_are_split(size: int, axis: int) -> None:
    inside = np.indices((size, size))[axis] < size // 2
    cut = normalised_cut(two_clusters(inside))[0]
    assert (np.sign(cut[inside]) == -np.sign(cut[~inside][0])).all()
    assert (np.sign(cut[~inside]) == np.sign(cut[~inside][0])).all()


@RELAXED
@given(seed=st.integers(0, 1000), cuts=st.integers(1, 5))
def test_cuts_solve_the_generalised_eigenproblem(seed: int, cuts: int) -> None:
    options = NormalisedCutOptions(power=1.5, radius=5, cuts=cuts)
    feature = noise(seed, size=6) + 0.5
    found = normalised_cut(feature, options)
    assert found.shape == (cuts, 6, 6)
    assert found.dtype == np.float32
    flat = feature.reshape(16, -1).astype(np.float64)
    unit = flat / np.linalg.norm(flat, axis=0)
    locations = np.indices((6, 6)).reshape(2, -1) * 4.0  # a 24 x 24 map has four times the places a side
    squared = ((locations[:, :, None] - locations[:, None]) ** 2).sum(axis=0)
    affinity = np.maximum(unit.T @ unit, 0) ** 1.5 * np.exp(-squared / 50) + 1e-5
    degree = np.diag(affinity.sum(axis=1))
    laplacian = degree - affinity
    expected = np.linalg.eigvals(np.linalg.solve(degree, laplacian)).real
    values = []
    for vector in found.reshape(cuts, -1).astype(np.float64):
        np.testing.assert_allclose(np.linalg.norm(vector), 1, rtol=1e-5)
        values.append(float(vector @ laplacian @ vector / (vector @ degree @ vector)))
    np.testing.assert_allclose(values, np.sort(expected)[1 : cuts + 1], atol=1e-3)


@RELAXED
@given(seed=st.integers(0, 1000), factor=st.sampled_from([1e-3, 0.5, 40.0]))
def test_order_and_scale_of_the_channels_do_not_matter(seed: int, factor: float) -> None:
    feature = two_clusters(block(7), noise=0.3)
    feature = np.concatenate([feature, noise(seed, depth=2)])
    order = np.random.default_rng(seed).permutation(len(feature))
    first = normalised_cut(feature)[0]
    other = normalised_cut(np.float32(factor) * feature[order])[0]
    assert abs(float((first * other).sum())) > 0.999


def test_the_same_feature_gives_the_same_cuts_whatever_came_between() -> None:
    features = [noise(seed) for seed in range(4)] + [np.zeros((3, 5, 5), np.float32), np.ones((2, 6, 6), np.float32)]
    first = [normalised_cut(feature) for feature in features]
    again = [normalised_cut(feature) for feature in reversed(features)]
    for one, other in zip(first, reversed(again), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)


def test_half_precision_and_maps_that_are_not_square() -> None:
    inside = np.zeros((5, 11), bool)
    inside[:, :4] = True
    cut = normalised_cut(two_clusters(inside).astype(np.float16))[0]
    assert cut.shape == (5, 11)
    assert (np.sign(cut[inside]) != np.sign(cut[~inside][0])).all()


@pytest.mark.parametrize("shape", [(4, 8), (4, 2, 2), (4, 1, 4), (1, 3, 8, 8)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"feature: must be \(D, h, w\) of 5 locations or more, got"):
        normalised_cut(np.ones(shape, np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    feature = noise(0)
    feature[0, 0, 0] = bad
    with pytest.raises(ValueError, match="feature: must be finite"):
        normalised_cut(feature)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(IgcamError, match="cuts must be 1 to 64, got 0"):
        NormalisedCutOptions(cuts=0)


def test_a_cut_has_two_sides_whatever_its_scale_and_sign() -> None:
    inside = np.zeros((8, 8), bool)
    inside[2:5, 3:7] = True
    values = np.where(inside, 3.0, -1.0)
    for scale in (1, -1, 1e-3):
        first, second = sides(scale * values)
        np.testing.assert_array_equal(first, inside if scale > 0 else ~inside)
        np.testing.assert_array_equal(second, ~first)
    assert not sides(np.ones((2, 3)))[0].any()
