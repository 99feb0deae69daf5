from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from igcam.core.errors import IgcamError
from igcam.influence.head import HeadInfluence
from igcam.models.linear_head import (
    cross_fit,
    cross_fitted_logits,
    fit_linear_head,
)


def make_problem(count: int, width: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, width))
    logits = features @ random.standard_normal((width, classes)) + random.standard_normal((count, classes))
    return features, (logits > 0.5).astype(float)


def gradient_of(
    features: np.ndarray,
    tags: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    l2: float,
    weights: np.ndarray,
) -> np.ndarray:
    residual = weights * (expit(features @ weight.T + bias) - tags)
    by_weight = residual.T @ features / len(features) + l2 * weight
    by_bias = residual.mean(0) + l2 * bias
    return np.hstack([by_weight, by_bias[:, None]])


def test_two_images_by_hand() -> None:
    # f = +1 with the tag, f = -1 without: by symmetry bias 0, and sigmoid(-w) = l2 w
    head = fit_linear_head(np.array([[1.0], [-1.0]]), np.array([[1.0], [0.0]]), l2=0.1, tolerance=1e-12)
    assert head.bias[0] == pytest.approx(0, abs=1e-11)
    assert expit(-head.weight[0, 0]) == pytest.approx(0.1 * head.weight[0, 0], abs=1e-11)
    np.testing.assert_allclose(head.logits(np.array([[2.0]])), [[2 * head.weight[0, 0] + head.bias[0]]])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 40),
    width=st.integers(1, 60),
    classes=st.integers(1, 4),
    l2=st.sampled_from([1e-4, 1e-2, 1.0]),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_the_gradient_vanishes(seed: int, count: int, width: int, classes: int, l2: float, scale: float) -> None:
    features, tags = make_problem(count, width, classes, seed)
    features *= scale
    weights = np.random.default_rng(seed).uniform(0, 2, tags.shape)
    head = fit_linear_head(features, tags, l2, weights)
    gradient = gradient_of(features, tags, head.weight, head.bias, l2, weights)
    assert np.linalg.norm(gradient, axis=1).max() <= 1.1e-8
    assert head.gradient_norm <= 1e-8


@pytest.mark.parametrize("width", [5, 70])
def test_another_optimiser_ends_at_the_same_head(width: int) -> None:
    features, tags = make_problem(40, width, 2)
    rows = np.hstack([features, np.ones((40, 1))])
    head = fit_linear_head(features, tags, 0.01)
    for c in range(2):

        def objective(theta: np.ndarray, tag: np.ndarray = tags[:, c]) -> float:
            logits = rows @ theta
            return float((np.logaddexp(0, logits) - tag * logits).mean() + 0.005 * theta @ theta)

        other = minimize(objective, np.zeros(width + 1), method="BFGS", options={"gtol": 1e-7}).x
        np.testing.assert_allclose(np.append(head.weight[c], head.bias[c]), other, atol=1e-4)


def test_classes_are_independent_and_the_fit_repeats_bit_for_bit() -> None:
    features, tags = make_problem(30, 50, 3)
    head = fit_linear_head(features, tags, 1e-3)
    again = fit_linear_head(features, tags, 1e-3)
    np.testing.assert_array_equal(head.weight, again.weight)
    alone = fit_linear_head(features, tags[:, 1:2], 1e-3)
    np.testing.assert_allclose(alone.weight[0], head.weight[1], atol=2e-5)


def test_weight_zero_is_absence_and_two_is_twice() -> None:
    features, tags = make_problem(20, 4, 2)
    weights = np.ones(20)
    weights[3] = 0
    without = np.delete(np.arange(20), 3)
    # n stays 20, so 19 rows need 20/19 of the weight
    expected = fit_linear_head(features[without], tags[without], 0.1, np.full(19, 19 / 20))
    np.testing.assert_allclose(fit_linear_head(features, tags, 0.1, weights).weight, expected.weight, atol=1e-6)
    weights[3] = 2
    twice = np.append(np.arange(20), 3)
    expected = fit_linear_head(features[twice], tags[twice], 0.1, np.full(21, 21 / 20))
    np.testing.assert_allclose(fit_linear_head(features, tags, 0.1, weights).weight, expected.weight, atol=1e-6)


def test_a_class_without_positives_has_a_finite_head() -> None:
    features, tags = make_problem(20, 4, 2)
    tags[:, 1] = 0
    head = fit_linear_head(features, tags, 1e-3)
    assert np.isfinite(head.weight).all()
    assert (head.logits(features)[:, 1] < 0).all()


def test_half_precision_features_are_taken() -> None:
    features, tags = make_problem(20, 4, 2)
    half = features.astype(np.float16)
    head = fit_linear_head(half, tags.astype(np.uint8), 0.1)
    np.testing.assert_array_equal(head.weight, fit_linear_head(half.astype(np.float64), tags, 0.1).weight)


def test_own_tags_do_not_reach_the_out_of_fold_logits() -> None:
    features, tags = make_problem(31, 6, 2)
    logits = cross_fitted_logits(features, tags, 0.1, folds=4, seed=2)
    for i in (0, 13):
        changed = tags.copy()
        changed[i] = 1 - changed[i]
        moved = cross_fitted_logits(features, changed, 0.1, folds=4, seed=2)
        np.testing.assert_array_equal(moved[i], logits[i])
        assert (moved != logits).any()
    assert (cross_fitted_logits(features, tags, 0.1, folds=4, seed=3) != logits).any()
    np.testing.assert_array_equal(cross_fit(features, tags, 0.1, folds=4, seed=2).logits, logits)


@pytest.mark.parametrize("width", [5, 60])
def test_cross_fitted_influence_is_the_mean_over_the_folds_that_trained_on_an_image(width: int) -> None:
    features, tags = make_problem(30, width, 3)
    weights = np.random.default_rng(1).uniform(0.5, 2, tags.shape)
    fitted = cross_fit(features, tags, 0.01, folds=3, seed=1, sample_weight=weights)
    total = np.zeros(tags.shape)
    for k in range(3):
        out = fitted.fold == k
        assert out.sum() == 10
        head = fit_linear_head(features[~out], tags[~out], 0.01, weights[~out])
        exact = HeadInfluence(features[~out], tags[~out], head.weight, head.bias, 0.01, sample_weight=weights[~out])
        total[~out] += exact.on_loss(features[out], tags[out])
    np.testing.assert_allclose(fitted.influence, total / 2, rtol=1e-9, atol=1e-12)


def test_cross_fitted_influence_finds_planted_tags() -> None:
    random = np.random.default_rng(0)
    features, tags = make_problem(200, 6, 3)
    wrong = np.zeros(tags.shape, dtype=bool)
    wrong[random.choice(200, 15, replace=False), random.integers(0, 3, 15)] = True
    tags[wrong] = 1 - tags[wrong]
    influence = cross_fit(features, tags, 1e-2).influence
    above = (influence[wrong][:, None] > influence[~wrong]).mean()
    assert above > 0.75
    assert influence[wrong].mean() > 0 > influence[~wrong].mean()


def test_wrong_input_is_named() -> None:
    features, tags = make_problem(10, 4, 2)
    with pytest.raises(IgcamError, match=r"l2: must be positive and finite, got 0"):
        fit_linear_head(features, tags, 0)
    with pytest.raises(IgcamError, match="folds: must lie between 2 and the number of images, 10, got 11"):
        cross_fitted_logits(features, tags, 0.1, folds=11)
    with pytest.raises(IgcamError, match="too small for these features"):
        fit_linear_head(features * 1e6, tags, 1e-9, tolerance=1e-14)
    with pytest.raises(ValueError, match=r"tags: shape must be \(10, C\), got \(9, 2\)"):
        fit_linear_head(features, tags[:9], 0.1)
    with pytest.raises(ValueError, match=r"tags: values must lie in \[0, 1\], got 255"):
        fit_linear_head(features, tags * 255, 0.1)
    with pytest.raises(ValueError, match="features: all values must be finite, got 1 that"):
        fit_linear_head(np.where(np.arange(40).reshape(10, 4) == 5, np.inf, features), tags, 0.1)
    with pytest.raises(ValueError, match="sample_weight: values must be finite and at least 0, got -1"):
        fit_linear_head(features, tags, 0.1, -np.ones(10))
    with pytest.raises(ValueError, match=r"sample_weight: shape must be \(10,\) or \(10, 2\), got \(2,\)"):
        fit_linear_head(features, tags, 0.1, np.ones(2))
