from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igcam.core.errors import IgcamError
from igcam.influence.weights import WeightOptions, influence_weights, robust_scale, shuffled_weights

INFLUENCES = hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=6), elements=st.floats(-1e6, 1e6))


def test_worked_by_hand() -> None:
    influence = np.array([-2.0, 0.0, 2.0])
    weights = influence_weights(influence, WeightOptions(low=0, high=2), scale=2.0)
    # 2 sigmoid(1) = 1.46212, 2 sigmoid(-1) = 0.53788
    np.testing.assert_allclose(weights, [1.4621172, 1.0, 0.5378828], rtol=1e-6)


def test_the_stronger_side_is_shrunk() -> None:
    weights = influence_weights(np.array([-2.0, 2.0, 2.0, 2.0]), scale=2.0)
    # one gain of 0.46212 against three losses of it: each loss shrinks to a third
    np.testing.assert_allclose(weights, [1.4621172, 0.8459609, 0.8459609, 0.8459609], rtol=1e-6)


def test_clipping_bounds_the_weights() -> None:
    weights = influence_weights(np.array([-100.0, 100.0]), WeightOptions(low=0.25, high=1.5), scale=1.0)
    np.testing.assert_allclose(weights, [1.5, 0.5])


@settings(max_examples=150, deadline=None)
@given(
    influence=INFLUENCES,
    temperature=st.floats(0.1, 10),
    low=st.floats(0, 1),
    high=st.floats(1, 2),
)
def test_bounded_ordered_signed_and_of_mean_one(
    influence: np.ndarray, temperature: float, low: float, high: float
) -> None:
    weights = influence_weights(influence, WeightOptions(temperature, low, high))
    assert weights.shape == influence.shape
    assert weights.dtype == np.float32
    assert weights.mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert (weights >= low - 1e-6).all()
    assert (weights <= high + 1e-6).all()
    assert (weights[influence > 0] <= 1).all()
    assert (weights[influence < 0] >= 1).all()
    order = np.argsort(influence, axis=None)
    assert (np.diff(weights.ravel()[order]) <= 0).all()


@settings(max_examples=50, deadline=None)
@given(influence=INFLUENCES, factor=st.sampled_from([0.25, 4.0, 1024.0]))
def test_the_unit_of_influence_does_not_matter(influence: np.ndarray, factor: float) -> None:
    np.testing.assert_allclose(influence_weights(influence * factor), influence_weights(influence), atol=1e-6)


def test_harmful_is_below_one_and_helpful_above() -> None:
    influence = np.random.default_rng(0).standard_normal((50, 3)) ** 3
    weights = influence_weights(influence)
    assert (weights[influence > 0] < 1).all()
    assert (weights[influence < 0] > 1).all()


def test_smoother_with_a_higher_temperature() -> None:
    influence = np.random.default_rng(0).standard_normal(200)
    deviations = [influence_weights(influence, WeightOptions(t)).std() for t in (0.5, 1, 2, 4)]
    assert deviations == sorted(deviations, reverse=True)


def test_one_sign_only_or_nothing_leaves_ones() -> None:
    np.testing.assert_array_equal(influence_weights(np.array([1.0, 2.0, 3.0])), 1)
    np.testing.assert_array_equal(influence_weights(np.zeros((2, 3))), 1)
    assert influence_weights(np.zeros((0, 3))).shape == (0, 3)


def test_robust_scale() -> None:
    normal = np.random.default_rng(0).standard_normal(20_000)
    assert robust_scale(3 * normal) == pytest.approx(3, rel=0.03)
    normal[:1000] = 1e9
    assert robust_scale(normal) == pytest.approx(1, rel=0.1)
    assert robust_scale(np.array([0.0, 0.0, 0.0, 8.0])) == 2.0
    assert robust_scale(np.array([])) == 0.0


def test_locations_are_weighted_by_the_same_function() -> None:
    locations = np.random.default_rng(0).standard_normal((2, 6, 5))
    scale = robust_scale(locations)
    both = influence_weights(locations, scale=scale)
    assert both.shape == (2, 6, 5)
    np.testing.assert_array_equal(np.sign(1 - both), np.sign(locations))


def test_shuffling_keeps_the_values_within_groups() -> None:
    weights = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    tags = (np.random.default_rng(1).random((40, 3)) < 0.3).astype(int)
    shuffled = shuffled_weights(weights, seed=3, groups=tags)
    assert (shuffled != weights).mean() > 0.8
    assert shuffled.dtype == np.float32
    for tag in (0, 1):
        np.testing.assert_array_equal(np.sort(shuffled[tags == tag]), np.sort(weights[tags == tag]))
    np.testing.assert_array_equal(shuffled, shuffled_weights(weights, seed=3, groups=tags))
    assert (shuffled_weights(weights, seed=3) != shuffled_weights(weights, seed=4)).any()
    np.testing.assert_array_equal(np.sort(shuffled_weights(weights, 1), axis=None), np.sort(weights, axis=None))


def test_wrong_options_and_values_are_named() -> None:
    with pytest.raises(IgcamError, match="temperature must be above 0, got 0"):
        WeightOptions(temperature=0)
    with pytest.raises(IgcamError, match="low, high"):
        WeightOptions(low=1.5)
    with pytest.raises(ValueError, match="influence: all values must be finite"):
        influence_weights(np.array([np.nan]))
    with pytest.raises(ValueError, match="scale: must be finite"):
        influence_weights(np.ones(2), scale=-1.0)
