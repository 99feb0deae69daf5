from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igcam.refine.kernels import locate
from igcam.refine.lattice import PermutohedralLattice, _strides, from_blocks, lattice_scale, to_blocks


def exact(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Gaussian filter by all pairs in float64, divided by the filtered ones."""
    square = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    kernel = np.exp(-square / 2)
    return kernel @ values / kernel.sum(axis=1, keepdims=True)


def averaged(lattice: PermutohedralLattice, values: np.ndarray) -> np.ndarray:
    """Filter the columns of `values` (N, L), divided by the filtered ones."""
    return (lattice.filter(values.T) / lattice.filter(np.ones(len(values), np.float32))).T


def elevate(points: np.ndarray) -> np.ndarray:
    """Embed (N, d) points in the plane of d + 1 coordinates that sum to 0, in float64."""
    scaled = points.astype(np.float64) * lattice_scale(points.shape[1])
    after = np.cumsum(scaled[:, ::-1], axis=1)[:, ::-1]
    elevated = np.pad(after, ((0, 0), (0, 1)))
    elevated[:, 1:] -= np.arange(1, points.shape[1] + 1) * scaled
    return elevated


@settings(max_examples=30, deadline=None)
@given(dimensions=st.integers(1, 5), width=st.floats(0.1, 50), seed=st.integers(0, 999))
def test_points_lie_within_their_simplex(dimensions: int, width: float, seed: int) -> None:
    points = np.random.default_rng(seed).normal(0, width, (50, dimensions)).astype(np.float32)
    size, scale = dimensions + 1, lattice_scale(dimensions)
    strides = _strides(points, scale)
    weights, keys = np.empty((50, size), np.float32), np.empty((50, size), np.int64)
    locate(points, scale, strides, weights, keys)
    assert weights.min() > -1e-3
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert all(len(set(row)) == size for row in keys.tolist())
    # Numbers of vertices are linear in their coordinates, so that the point's own number is the weighted mean.
    expected = elevate(points) @ strides
    error = np.abs((weights.astype(np.float64) * keys).sum(axis=1) - expected)
    assert (error <= 1e-5 * (1 + width) * size * strides.sum()).all()


def test_vertices_are_numbered_apart() -> None:
    points = np.random.default_rng(1).normal(0, 3, (400, 3)).astype(np.float32)
    scale = lattice_scale(3)
    strides = _strides(points, scale)
    weights, keys = np.empty((400, 4), np.float32), np.empty((400, 4), np.int64)
    locate(points, scale, strides, weights, keys)
    large = np.array([10**12, 10**8, 10**4, 0], np.int64)
    apart = np.empty_like(keys)
    locate(points, scale, large, weights, apart)
    assert len(np.unique(keys)) == len(np.unique(apart))


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_approximates_the_gaussian_filter(dimensions: int) -> None:
    generator = np.random.default_rng(dimensions)
    features = generator.uniform(0, 3, (800, dimensions)).astype(np.float32)
    values = np.stack([features[:, 0], np.sin(features.sum(axis=1))], axis=1)
    expected = exact(features.astype(np.float64), values.astype(np.float64))
    result = averaged(PermutohedralLattice(features), values)
    assert np.abs(result - expected).mean() < 0.08 * values.std()
    for column in range(2):
        assert np.corrcoef(result[:, column], expected[:, column])[0, 1] > 0.98


def test_one_dimension_has_the_width_of_the_gaussian() -> None:
    features = np.linspace(-6, 6, 601, dtype=np.float32)[:, None]
    impulse = np.zeros(601, dtype=np.float32)
    impulse[300] = 1
    response = PermutohedralLattice(features).filter(impulse).astype(np.float64)
    response /= response.sum()
    spread = np.sqrt((response * features[:, 0].astype(np.float64) ** 2).sum())
    assert spread == pytest.approx(1, abs=0.1)


def test_is_linear_and_keeps_rows_apart() -> None:
    generator = np.random.default_rng(0)
    lattice = PermutohedralLattice(generator.normal(size=(200, 3)))
    values = generator.random((4, 200)).astype(np.float32)
    whole = lattice.filter(values)
    np.testing.assert_allclose(lattice.filter(values[2]), whole[2], rtol=1e-5)
    onto = np.ones((1, 200, 4), np.float32)
    lattice.add_filtered(to_blocks(values), 0.5, onto)
    np.testing.assert_allclose(from_blocks(onto, 4), 1 + 0.5 * whole, rtol=1e-5)
    np.testing.assert_allclose(lattice.filter(2 * values + 1), 2 * whole + lattice.filter(values * 0 + 1), rtol=1e-4)


def test_far_groups_do_not_mix() -> None:
    features = np.concatenate([np.zeros((5, 2)), np.full((5, 2), 1000.0)])
    values = np.repeat([0.0, 1.0], 5).astype(np.float32)
    np.testing.assert_array_equal(PermutohedralLattice(features).filter(values)[:5], 0)


def test_moving_all_points_by_a_lattice_vector_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(100, 2)).astype(np.float32)
    values = generator.random(100).astype(np.float32)
    shift = np.linalg.lstsq(elevate(np.eye(2)).T, np.array([3.0, 0, -3]), rcond=None)[0]
    moved = PermutohedralLattice(features + shift.astype(np.float32)).filter(values)
    np.testing.assert_allclose(moved, PermutohedralLattice(features).filter(values), rtol=1e-3)


def test_normalised_rows_sum_to_about_one() -> None:
    y, x = np.mgrid[:30, :40]
    features = np.stack([x.ravel(), y.ravel()], axis=1) / 3
    ones = np.ones(1200, dtype=np.float32)
    sums = PermutohedralLattice(features, normalise=True).filter(ones)
    assert abs(sums.mean() - 1) < 0.05
    raw = PermutohedralLattice(features)
    norm = 1 / np.sqrt(raw.filter(ones))
    np.testing.assert_allclose(sums, norm * raw.filter(norm), rtol=1e-4)


def test_equal_points_share_their_vertices() -> None:
    lattice = PermutohedralLattice(np.tile([[0.3, 0.1, 0.7]], (50, 1)))
    assert lattice._before.shape[1] - 1 == 4
    np.testing.assert_allclose(np.ptp(lattice.filter(np.random.default_rng(0).random(50, np.float32))), 0, atol=1e-5)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="features: must be"):
        PermutohedralLattice(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="features: must be"):
        PermutohedralLattice(np.zeros(5))
    with pytest.raises(ValueError, match="features: must be finite"):
        PermutohedralLattice(np.array([[np.nan]]))
    with pytest.raises(ValueError, match="features: must span fewer lattice cells"):
        PermutohedralLattice(np.array([[0.0] * 5, [1e6] * 5]))
    with pytest.raises(ValueError, match=r"values: must be \(2,\) or \(L, 2\), got \(3,\)"):
        PermutohedralLattice(np.zeros((2, 1))).filter(np.zeros(3, dtype=np.float32))
    with pytest.raises(ValueError, match=r"blocks: must be contiguous float32 \(B, 2, W\) like result, got float64"):
        PermutohedralLattice(np.zeros((2, 1))).add_filtered(np.zeros((1, 2, 4)), 1.0, np.zeros((1, 2, 4)))
    blocks = np.zeros((1, 2, 4), np.float32)
    with pytest.raises(ValueError, match=r"got float32 \(1, 2, 4\) and \(1, 2, 2\)"):
        PermutohedralLattice(np.zeros((2, 1))).add_filtered(blocks, 1.0, blocks[..., :2].copy())


@pytest.mark.parametrize("labels", [1, 2, 3, 4, 5, 8, 9, 21])
def test_blocks_hold_every_value_once(labels: int) -> None:
    values = np.random.default_rng(0).random((labels, 30)).astype(np.float32)
    blocks = to_blocks(values)
    assert blocks.shape[0] * blocks.shape[2] >= labels
    assert np.count_nonzero(blocks) == values.size
    np.testing.assert_array_equal(from_blocks(blocks, labels), values)


@pytest.mark.parametrize("labels", [2, 4, 8, 21])
def test_one_at_a_time_and_many_together_are_the_same(labels: int) -> None:
    generator = np.random.default_rng(labels)
    lattice = PermutohedralLattice(generator.normal(size=(300, 5)), normalise=True)
    values = generator.random((labels, 300)).astype(np.float32)
    np.testing.assert_allclose(lattice.filter(values), [lattice.filter(row) for row in values], rtol=1e-5)
