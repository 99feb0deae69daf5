from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from igcam.core.errors import IgcamError
from igcam.influence.head import HeadInfluence, HeadVector
from igcam.models.linear_head import LinearHead, fit_linear_head

L2 = 0.02
EXACT = 1e-12


def make_problem(count: int = 60, width: int = 8, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw from one task: another seed gives other images of the same classes."""
    planted = np.random.default_rng(1000).standard_normal((width, classes))
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, width))
    tags = (features @ planted + random.standard_normal((count, classes)) > 0).astype(float)
    return features, tags


def tag_loss(head: LinearHead, features: np.ndarray, tags: np.ndarray) -> np.ndarray:
    logits = head.logits(features)
    return (np.logaddexp(0, logits) - tags * logits).mean(0)


def influence_of(features: np.ndarray, tags: np.ndarray, head: LinearHead, **options: object) -> HeadInfluence:
    return HeadInfluence(features, tags, head.weight, head.bias, head.l2, **options)  # type: ignore[arg-type]


def dense_influence(
    features: np.ndarray, tags: np.ndarray, weights: np.ndarray, head: LinearHead, gradient: np.ndarray
) -> np.ndarray:
    """The formula written out in all D + 1 dimensions."""
    rows = np.hstack([features, np.ones((len(features), 1))])
    probabilities = expit(head.logits(features))
    columns = []
    for c in range(tags.shape[1]):
        curvature = weights[:, c] * probabilities[:, c] * (1 - probabilities[:, c])
        hessian = rows.T @ np.diag(curvature) @ rows / len(rows) + head.l2 * np.eye(rows.shape[1])
        gradients = (probabilities[:, c] - tags[:, c])[:, None] * rows
        columns.append(-gradients @ np.linalg.inv(hessian) @ gradient[c])
    return np.stack(columns, axis=1)


def leaving_out(l2: float, weighted: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the change of the validation loss by retraining, by influence alone, and by `leave_out_linear`."""
    features, tags = make_problem()
    clean, clean_tags = make_problem(count=200, seed=1)
    weights = np.random.default_rng(5).uniform(0.5, 1.5, tags.shape) if weighted else np.ones(tags.shape)
    head = fit_linear_head(features, tags, l2, weights, tolerance=EXACT)
    exact = influence_of(features, tags, head, sample_weight=weights)
    influence = exact.on_loss(clean, clean_tags)
    before = tag_loss(head, clean, clean_tags).sum()
    actual = []
    for i in range(len(features)):
        without = weights.copy()
        without[i] = 0
        retrained = fit_linear_head(features, tags, l2, without, tolerance=EXACT)
        actual.append(tag_loss(retrained, clean, clean_tags).sum() - before)
    first_order = -(weights * influence).sum(1) / len(features)
    return np.array(actual), first_order, exact.leave_out_linear(influence).sum(1)


@pytest.mark.parametrize("weighted", [False, True])
def test_leaving_out_matches_retraining(weighted: bool) -> None:
    actual, first_order, one_step = leaving_out(0.3, weighted)
    assert np.corrcoef(first_order, actual)[0, 1] >= 0.99
    assert np.corrcoef(one_step, actual)[0, 1] >= 0.99


def test_leave_out_linear_is_the_newton_step_without_the_image() -> None:
    features, tags = make_problem()
    clean, clean_tags = make_problem(count=200, seed=1)
    weights = np.random.default_rng(5).uniform(0.5, 1.5, tags.shape)
    head = fit_linear_head(features, tags, L2, weights, tolerance=EXACT)
    exact = influence_of(features, tags, head, sample_weight=weights)
    gradient = exact.loss_gradient(clean, clean_tags)
    both = np.hstack([gradient.weight, gradient.bias[:, None]])
    estimate = exact.leave_out_linear(exact.on_gradient(gradient))
    for i in (0, 31):
        without = weights.copy()
        without[i] = 0
        # the influence of the image under the Hessian that lacks it
        step = dense_influence(features, tags, without, head, both)[i]
        np.testing.assert_allclose(estimate[i], -weights[i] * step / 60, rtol=1e-9)


def test_leave_out_linear_has_the_right_size_where_single_images_carry_much() -> None:
    actual, first_order, one_step = leaving_out(L2, weighted=False)
    assert np.polyfit(first_order, actual, 1)[0] > 1.15
    assert np.polyfit(one_step, actual, 1)[0] == pytest.approx(1, abs=0.06)
    assert np.corrcoef(one_step, actual)[0, 1] > np.corrcoef(first_order, actual)[0, 1]


@pytest.mark.parametrize("width", [8, 90])
def test_up_weighting_matches_finite_differences_in_every_class(width: int) -> None:
    features, tags = make_problem(width=width)
    clean, clean_tags = make_problem(count=40, width=width, seed=1)
    weights = np.random.default_rng(5).uniform(0.5, 2, tags.shape)
    head = fit_linear_head(features, tags, L2, weights, tolerance=EXACT)
    influence = influence_of(features, tags, head, sample_weight=weights).on_loss(clean, clean_tags)
    step = 1e-5
    for i in range(0, 60, 9):
        moved = []
        for sign in (1, -1):
            changed = weights.copy()
            changed[i] += sign * step * len(features)
            retrained = fit_linear_head(features, tags, L2, changed, tolerance=EXACT)
            moved.append(tag_loss(retrained, clean, clean_tags))
        slope = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(influence[i], slope, rtol=1e-3)


@pytest.mark.parametrize("width", [4, 40])
def test_the_hessian_of_the_whole_head_is_the_one_of_the_loss(width: int) -> None:
    features, tags = make_problem(count=20, width=width)
    head = fit_linear_head(features, tags, L2, tolerance=EXACT)
    x, y = torch.from_numpy(features), torch.from_numpy(tags)

    def total(theta: torch.Tensor) -> torch.Tensor:
        logits = x @ theta[:, :-1].T + theta[:, -1]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="sum") / len(x)
        return loss + L2 / 2 * (theta**2).sum()

    theta = torch.from_numpy(np.hstack([head.weight, head.bias[:, None]]))
    size = 3 * (width + 1)
    hessian = torch.autograd.functional.hessian(total, theta).reshape(size, size)
    gradient = torch.from_numpy(np.random.default_rng(0).standard_normal((3, width + 1)))
    expected = torch.linalg.solve(hessian, gradient.reshape(-1)).reshape(3, width + 1).numpy()
    solved = influence_of(features, tags, head).solve(HeadVector(gradient[:, :-1].numpy(), gradient[:, -1].numpy()))
    np.testing.assert_allclose(solved.weight, expected[:, :-1], rtol=1e-9)
    np.testing.assert_allclose(solved.bias, expected[:, -1], rtol=1e-9)


@pytest.mark.parametrize(("count", "width"), [(60, 8), (30, 29), (30, 30), (30, 31), (25, 120)])
def test_few_or_many_features_equal_the_dense_formula(count: int, width: int) -> None:
    features, tags = make_problem(count, width)
    clean, clean_tags = make_problem(17, width, seed=1)
    weights = np.random.default_rng(5).uniform(0, 2, tags.shape)
    head = fit_linear_head(features, tags, 1e-3, weights, tolerance=1e-11)
    exact = influence_of(features, tags, head, sample_weight=weights)
    gradient = exact.loss_gradient(clean, clean_tags)
    both = np.hstack([gradient.weight, gradient.bias[:, None]])
    expected = dense_influence(features, tags, weights, head, both)
    np.testing.assert_allclose(exact.on_gradient(gradient), expected, rtol=1e-8, atol=1e-9)
    along = exact.solve(gradient)
    pulled = -exact.residual * (features @ along.weight.T + along.bias)
    np.testing.assert_allclose(pulled, expected, rtol=1e-8, atol=1e-9)


def test_chunks_equal_the_whole() -> None:
    features, tags = make_problem()
    clean, clean_tags = make_problem(count=23, seed=1)
    head = fit_linear_head(features, tags, L2)
    whole, chunked = influence_of(features, tags, head), influence_of(features, tags, head, chunk=7)
    each = whole.on_each(clean, clean_tags)
    np.testing.assert_allclose(chunked.on_each(clean, clean_tags, chunk=5), each, rtol=1e-10)
    np.testing.assert_allclose(chunked.on_loss(clean, clean_tags), whole.on_loss(clean, clean_tags), rtol=1e-10)
    np.testing.assert_allclose(chunked.self_influence(), whole.self_influence(), rtol=1e-10)
    np.testing.assert_allclose(each.mean(0), whole.on_loss(clean, clean_tags).sum(1), rtol=1e-9)


def test_self_influence_is_the_diagonal_and_never_positive() -> None:
    features, tags = make_problem()
    exact = influence_of(features, tags, fit_linear_head(features, tags, L2))
    own = exact.self_influence()
    assert (own <= 0).all()
    np.testing.assert_allclose(own.sum(1), np.diag(exact.on_each(features, tags)), rtol=1e-10)


def test_leverages_lie_between_zero_and_one_and_sum_to_the_effective_parameters() -> None:
    features, tags = make_problem(count=20, width=50)
    exact = influence_of(features, tags, fit_linear_head(features, tags, 1e-3))
    leverage = exact.leverage()
    assert (leverage > 0).all()
    assert (leverage < 1).all()
    assert (leverage.sum(0) < 20).all()


def test_a_planted_wrong_tag_is_harmful_and_ranks_on_top() -> None:
    features, tags = make_problem(count=120)
    clean, clean_tags = make_problem(count=400, seed=1)
    margin = np.abs(fit_linear_head(features, tags, L2).logits(features)[:, 1])
    worst = int(margin.argmax())
    tags[worst, 1] = 1 - tags[worst, 1]
    exact = influence_of(features, tags, fit_linear_head(features, tags, L2))
    influence = exact.on_loss(clean, clean_tags)
    assert influence[worst, 1] > 0
    assert np.unravel_index(influence.argmax(), influence.shape) == (worst, 1)
    assert influence.sum(1).argmax() == worst
    assert np.unravel_index(exact.self_influence().argmin(), influence.shape) == (worst, 1)


def test_validation_tags_of_weight_zero_are_left_out() -> None:
    features, tags = make_problem()
    clean, clean_tags = make_problem(count=30, seed=1)
    exact = influence_of(features, tags, fit_linear_head(features, tags, L2))
    known = np.ones(clean_tags.shape)
    known[:, 2] = 0
    influence = exact.on_loss(clean, clean_tags, known)
    assert (influence[:, 2] == 0).all()
    np.testing.assert_allclose(influence[:, :2], exact.on_loss(clean, clean_tags)[:, :2])


def test_a_duplicate_counts_as_a_weight_of_two() -> None:
    features, tags = make_problem()
    clean, clean_tags = make_problem(count=30, seed=1)
    doubled = np.append(np.arange(60), 7)
    head = fit_linear_head(features[doubled], tags[doubled], L2, tolerance=EXACT)
    weights = np.full(60, 60 / 61)
    weights[7] *= 2
    same = fit_linear_head(features, tags, L2, weights, tolerance=EXACT)
    np.testing.assert_allclose(head.weight, same.weight, atol=1e-9)
    with_copy = influence_of(features[doubled], tags[doubled], head).on_loss(clean, clean_tags)
    weighted = influence_of(features, tags, same, sample_weight=weights).on_loss(clean, clean_tags)
    np.testing.assert_allclose(with_copy, weighted[doubled], rtol=1e-6, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(4, 30),
    width=st.integers(1, 40),
    classes=st.integers(1, 4),
    l2=st.sampled_from([1e-3, 0.1, 10.0]),
)
def test_permuting_images_and_classes_permutes_influence(
    seed: int, count: int, width: int, classes: int, l2: float
) -> None:
    features, tags = make_problem(count, width, classes, seed)
    clean, clean_tags = make_problem(9, width, classes, seed + 1)
    random = np.random.default_rng(seed)
    images, order = random.permutation(count), random.permutation(classes)
    head = fit_linear_head(features, tags, l2, tolerance=1e-11)
    moved = fit_linear_head(features[images], tags[images][:, order], l2, tolerance=1e-11)
    plain = influence_of(features, tags, head).on_loss(clean, clean_tags)
    permuted = influence_of(features[images], tags[images][:, order], moved).on_loss(clean, clean_tags[:, order])
    np.testing.assert_allclose(permuted, plain[images][:, order], rtol=1e-5, atol=1e-6)


def test_a_head_away_from_its_optimum_is_refused_in_one_line() -> None:
    features, tags = make_problem()
    head = fit_linear_head(features, tags, L2)
    HeadInfluence(features, tags, head.weight.astype(np.float32), head.bias.astype(np.float32), L2)
    with pytest.raises(IgcamError, match="not at the optimum") as caught:
        HeadInfluence(features, tags, head.weight * 1.1, head.bias, L2)
    assert "\n" not in str(caught.value)
    with pytest.raises(IgcamError, match="not at the optimum"):
        HeadInfluence(features, tags, head.weight, head.bias, L2 * 2)
    taken = HeadInfluence(features, tags, head.weight * 1.1, head.bias, L2, tolerance=np.inf)
    assert (taken.optimality > 1e-3).all()


def test_wrong_input_is_named() -> None:
    features, tags = make_problem()
    head = fit_linear_head(features, tags, L2)
    exact = influence_of(features, tags, head)
    with pytest.raises(IgcamError, match="l2: must be positive"):
        HeadInfluence(features, tags, head.weight, head.bias, 0)
    with pytest.raises(ValueError, match=r"weight: shape must be \(3, 8\), got \(3, 7\)"):
        HeadInfluence(features, tags, head.weight[:, :7], head.bias, L2)
    with pytest.raises(ValueError, match=r"validation features: shape must be \(n, 8\)"):
        exact.on_loss(features[:, :7], tags)
    with pytest.raises(ValueError, match=r"validation tags: shape must be \(60, 3\)"):
        exact.on_loss(features, tags[:, :2])
    with pytest.raises(ValueError, match="chunk: must be at least 1"):
        exact.on_each(features, tags, chunk=0)
    with pytest.raises(ValueError, match="bias: all values must be finite"):
        exact.solve(HeadVector(np.zeros((3, 8)), np.full(3, np.nan)))
