"""A softmax head, one class per image, fitted to the optimum of its convex loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from igcam.core.errors import IgcamError
from igcam.influence.design import checked_features, checked_l2, row_space
from igcam.influence.softmax import checked_labels
from igcam.models.linear_head import LinearHead


def fit_softmax_head(
    features: ArrayLike, labels: ArrayLike, classes: int, l2: float, tolerance: float = 1e-8
) -> LinearHead:
    """Minimise 1/n sum_i cross-entropy_i + l2/2 |Theta|^2 over weights and biases of all classes.

    The bias is penalised like a weight, as in `fit_linear_head`, so the optimum is unique. Trust-region Newton
    method with conjugate gradients, in n dimensions where D >= n. Deterministic.

    Args:
        features: (n, D), any float type; computed in float64.
        labels: Integers (n,), 0 to classes - 1.
        classes: Number of classes C, at least 2.
        l2: Penalty, positive.
        tolerance: Largest norm of the gradient at the end.

    Raises:
        ValueError: Wrong shapes or values of arrays.
        IgcamError: l2 is not positive, or too small for the tolerance to be reached.
    """
    features = checked_features("features", features)
    if classes < 2:
        raise ValueError(f"classes: must be at least 2, got {classes}")
    labels = checked_labels("labels", labels, len(features), classes)
    l2 = checked_l2(l2)
    space = row_space(features)
    rows, count, truth = space.rows, len(features), np.eye(classes)[labels]

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        theta = vector.reshape(classes, -1)
        logits = rows @ theta.T
        value = -(truth * log_softmax(logits, axis=1)).sum() / count + l2 / 2 * (vector**2).sum()
        gradient = (softmax(logits, axis=1) - truth).T @ rows / count + l2 * theta
        return float(value), gradient.ravel()

    def product(vector: np.ndarray, direction: np.ndarray) -> np.ndarray:
        shares = softmax(rows @ vector.reshape(classes, -1).T, axis=1)
        moved = rows @ direction.reshape(classes, -1).T
        pulls = shares * (moved - (shares * moved).sum(axis=1, keepdims=True))
        return (pulls.T @ rows / count).ravel() + l2 * direction

    start = np.zeros(classes * rows.shape[1])
    found = minimize(
        objective, start, jac=True, hessp=product, method="trust-ncg", options={"gtol": tolerance, "maxiter": 500}
    )
    norm = float(np.linalg.norm(found.jac))
    if not norm <= 10 * tolerance:
        raise IgcamError(
            f"l2: {l2:g} is too small for these features: after {found.nit} steps the gradient norm is {norm:.1e}, "
            f"wanted {tolerance:g}"
        )
    theta = space.out_of(found.x.reshape(classes, -1))
    return LinearHead(theta[:, :-1].copy(), theta[:, -1].copy(), l2, norm, int(found.nit))
