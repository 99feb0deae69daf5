from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch.nn.functional import cross_entropy

from igcam.core.errors import IgcamError
from igcam.influence import SoftmaxInfluence
from igcam.models.linear_head import LinearHead, fit_linear_head, fit_softmax_head

Array = np.ndarray
L2 = 0.05


def problem(width: int, count: int = 40, seed: int = 0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, width)) + 0.2
    rule = np.random.default_rng(5).standard_normal((width, 3)) / np.sqrt(width)
    return features, (2 * features @ rule + random.gumbel(size=(count, 3))).argmax(axis=1)


def loss(head: LinearHead, features: Array, labels: Array) -> float:
    return -float(log_softmax(head.logits(features), axis=1)[np.arange(len(labels)), labels].mean())


@pytest.fixture(params=[4, 60], ids=["primal", "dual"])
def case(request: pytest.FixtureRequest) -> tuple[Array, Array, LinearHead, SoftmaxInfluence, Array, Array]:
    features, labels = problem(request.param)
    head = fit_softmax_head(features, labels, 3, L2)
    exact = SoftmaxInfluence(features, labels, head.weight, head.bias, L2)
    return features, labels, head, exact, *problem(request.param, 30, seed=1)


def test_it_is_minus_the_gradients_through_the_inverse_hessian(
    case: tuple[Array, Array, LinearHead, SoftmaxInfluence, Array, Array],
) -> None:
    features, labels, head, exact, held, truth = case
    theta = torch.from_numpy(np.hstack([head.weight, head.bias[:, None]])).flatten()

    def total(flat: torch.Tensor, rows: Array, classes: Array) -> torch.Tensor:
        inputs = torch.from_numpy(np.hstack([rows, np.ones((len(rows), 1))]))
        return cross_entropy(inputs @ flat.reshape(3, -1).T, torch.from_numpy(classes))

    penalty = L2 * torch.eye(len(theta), dtype=torch.float64)
    hessian = torch.func.hessian(lambda flat: total(flat, features, labels))(theta) + penalty
    toward = torch.linalg.solve(hessian, torch.func.grad(total)(theta, held, truth))
    gradients = [torch.func.grad(total)(theta, features[[i]], labels[[i]]) for i in range(len(labels))]
    expected = [-float(gradient @ toward) for gradient in gradients]
    np.testing.assert_allclose(exact.on_loss(held, truth), expected, rtol=1e-6, atol=1e-9)


def test_each_image_and_the_mean_agree(
    case: tuple[Array, Array, LinearHead, SoftmaxInfluence, Array, Array],
) -> None:
    features, labels, _, exact, held, truth = case
    each = exact.on_each(held, truth, chunk=7)
    np.testing.assert_allclose(each.mean(axis=0), exact.on_loss(held, truth), rtol=1e-9, atol=1e-12)
    own = exact.on_each(features, labels)
    np.testing.assert_allclose(np.diag(own), exact.self_influence(chunk=9), rtol=1e-8)
    assert (exact.self_influence() <= 0).all()


def test_leaving_out_is_close_to_retraining(
    case: tuple[Array, Array, LinearHead, SoftmaxInfluence, Array, Array],
) -> None:
    features, labels, head, exact, held, truth = case
    before, count = loss(head, held, truth), len(labels)
    groups = [np.array([i]) for i in range(0, count, 2)] + [np.arange(k, k + 8) for k in range(0, 32, 4)]
    actual = []
    for group in groups:
        kept = np.delete(np.arange(count), group)
        retrained = fit_softmax_head(features[kept], labels[kept], 3, L2 * count / len(kept))
        actual.append(loss(retrained, held, truth) - before)
    predicted = exact.leave_out(groups, held, truth)
    assert np.corrcoef(predicted, actual)[0, 1] >= 0.99
    assert np.polyfit(predicted, actual, 1)[0] == pytest.approx(1, abs=0.08)


def test_two_classes_are_one_logistic_head() -> None:
    # Softmax with theta_1 = -theta_0 = t / 2 is logistic in t; its penalty l2 / 2 (2 |t / 2|^2) is half as strong.
    features, labels = problem(4)
    two = (labels > 0).astype(int)
    pair = fit_softmax_head(features, two, 2, L2)
    single = fit_linear_head(features, two[:, None].astype(float), L2 / 2, tolerance=1e-11)
    np.testing.assert_allclose(pair.weight[1] - pair.weight[0], single.weight[0], atol=1e-7)
    np.testing.assert_allclose(pair.bias.sum(), 0, atol=1e-9)


def test_heads_that_are_not_at_their_optimum_are_refused() -> None:
    features, labels = problem(4)
    head = fit_softmax_head(features, labels, 3, L2)
    with pytest.raises(IgcamError, match="not at the optimum"):
        SoftmaxInfluence(features, labels, head.weight * 1.1, head.bias, L2)
    with pytest.raises(ValueError, match="labels"):
        SoftmaxInfluence(features, labels + 1, head.weight, head.bias, L2)
    with pytest.raises(ValueError, match="classes"):
        fit_softmax_head(features, labels * 0, 1, L2)
