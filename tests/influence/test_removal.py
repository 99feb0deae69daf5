from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from igcam.influence import HeadChanges, HeadInfluence
from igcam.models.linear_head import LinearHead, fit_linear_head

L2 = 0.05
Array = np.ndarray


def problem(width: int, count: int = 50, classes: int = 2, seed: int = 0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, width)) + 0.3
    truth = np.random.default_rng(9).standard_normal((width, classes)) / np.sqrt(width)
    return features, (random.uniform(size=(count, classes)) < expit(2 * features @ truth)).astype(float)


def loss(head: LinearHead, features: Array, tags: Array, weight: Array | float = 1.0) -> Array:
    logits = head.logits(features)
    return (weight * (np.logaddexp(0, logits) - tags * logits)).mean(axis=0)


class Case:
    """A trained head, a validation loss, and retraining."""

    def __init__(self, width: int, weighted: bool = False) -> None:
        self.features, self.tags = problem(width)
        self.held, self.held_tags = problem(width, 30, seed=1)
        random = np.random.default_rng(3)
        self.weight = random.uniform(0.5, 2, self.tags.shape) if weighted else np.ones(self.tags.shape)
        self.held_weight = random.uniform(0, 2, self.held_tags.shape) if weighted else np.ones(self.held_tags.shape)
        self.head = fit_linear_head(self.features, self.tags, L2, self.weight, tolerance=1e-11)
        self.before = loss(self.head, self.held, self.held_tags, self.held_weight)

    def changes(self, steps: int = 1, chunk: int = 128) -> HeadChanges:
        exact = HeadInfluence(self.features, self.tags, self.head.weight, self.head.bias, L2, sample_weight=self.weight)
        return HeadChanges(exact, self.held, self.held_tags, self.held_weight, steps=steps, chunk=chunk)

    def retrained(self, weight: Array, tags: Array) -> Array:
        head = fit_linear_head(self.features, tags, L2, weight, tolerance=1e-11)
        return loss(head, self.held, self.held_tags, self.held_weight) - self.before

    def without(self, group: Array) -> Array:
        weight = self.weight.copy()
        weight[group] = 0
        return self.retrained(weight, self.tags)

    def flipped(self, image: int, c: int) -> float:
        tags = self.tags.copy()
        tags[image, c] = 1 - tags[image, c]
        return float(self.retrained(self.weight, tags)[c])


@pytest.mark.parametrize("width", [5, 80])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_steps_are_retraining(width: int, weighted: bool) -> None:
    case = Case(width, weighted)
    changes = case.changes(steps=40)
    groups = [np.arange(7), np.array([3, 30, 11]), np.array([], int), np.array([8])]
    actual = np.array([case.without(group) for group in groups])
    np.testing.assert_allclose(changes.leave_out_groups(groups), actual, atol=1e-7)
    assert np.abs(actual).max() > 1e-3
    pairs = [(0, 0), (49, 1), (20, 1)]
    np.testing.assert_allclose(changes.flip_tags(pairs), [case.flipped(*pair) for pair in pairs], atol=1e-7)


@pytest.mark.parametrize("width", [5, 80])
def test_one_step_is_close_to_retraining(width: int) -> None:
    case = Case(width)
    changes = case.changes()
    random = np.random.default_rng(0)
    groups = [random.choice(50, 12, replace=False) for _ in range(20)]
    for estimate, actual in (
        (changes.leave_out().sum(1), [case.without(np.array([i])).sum() for i in range(50)]),
        (changes.leave_out_groups(groups).sum(1), [case.without(group).sum() for group in groups]),
        (changes.flip_tags().ravel(), [case.flipped(i, c) for i in range(50) for c in range(2)]),
    ):
        assert np.corrcoef(estimate, actual)[0, 1] >= 0.99
        assert np.polyfit(estimate, actual, 1)[0] == pytest.approx(1, abs=0.06)


def test_a_head_without_features_is_solved_by_hand() -> None:
    # Only the bias moves: p = 1/2 at first; without image 0 the optimum solves (sigma(b) - 1) / 2 + b = 0.
    features, tags = np.zeros((2, 1)), np.array([[0.0], [1.0]])
    head = fit_linear_head(features, tags, 1.0, tolerance=1e-12)
    exact = HeadInfluence(features, tags, head.weight, head.bias, 1.0)
    changes = HeadChanges(exact, np.zeros((1, 1)), np.ones((1, 1)))
    bias = 0.0
    for _ in range(50):
        bias = (1 - expit(bias)) / 2
    assert changes.leave_out([0])[0, 0] == pytest.approx(np.logaddexp(0, -bias) - np.log(2), abs=1e-9)
    assert changes.leave_out([1])[0, 0] > 0


def test_chunks_and_order_do_not_matter() -> None:
    case = Case(80, weighted=True)
    whole = case.changes().leave_out()
    np.testing.assert_allclose(case.changes(chunk=7).leave_out(), whole, rtol=1e-9)
    np.testing.assert_allclose(case.changes().leave_out([4, 2]), whole[[4, 2]], rtol=1e-9)
    np.testing.assert_allclose(case.changes().flip_tags([(2, 1)]), case.changes().flip_tags()[2, 1], rtol=1e-9)


def test_what_has_no_weight_changes_nothing() -> None:
    case = Case(5)
    case.weight[3] = 0
    case.head = fit_linear_head(case.features, case.tags, L2, case.weight, tolerance=1e-11)
    assert np.abs(case.changes().leave_out([3])).max() < 1e-9
    assert np.abs(case.changes().flip_tags([(3, 0)])).max() < 1e-9


def test_wrong_arguments_are_named() -> None:
    changes = Case(5).changes()
    for groups in ([[50]], [[-1]], [[1, 1]], [[0.5]]):
        with pytest.raises(ValueError, match="groups"):
            changes.leave_out_groups(groups)
    for pairs in ([(0, 2)], [(50, 0)], [0, 1], [(0.0, 1.0)]):
        with pytest.raises(ValueError, match="pairs"):
            changes.flip_tags(pairs)
    with pytest.raises(ValueError, match="steps"):
        Case(5).changes(steps=0)


def test_the_step_uses_the_hessian_without_the_group() -> None:
    case = Case(5, weighted=True)
    changes, group = case.changes(), np.array([2, 9, 30])
    rows = np.hstack([case.features, np.ones((50, 1))])
    probability = expit(case.head.logits(case.features)[:, 1])
    weight = case.weight[:, 1].copy()
    weight[group] = [0, 0.25, 0]
    hessian = rows.T @ ((weight * probability * (1 - probability))[:, None] * rows) / 50 + L2 * np.eye(6)
    vector = np.arange(1.0, 7.0)[:, None]
    solved = changes._solve(1, vector, [group], [weight[group]])
    np.testing.assert_allclose(solved, np.linalg.solve(hessian, vector), rtol=1e-8)
