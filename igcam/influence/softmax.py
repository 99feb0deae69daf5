"""Exact influence for softmax heads: one class per image, one Hessian over all classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from igcam.core.errors import IgcamError
from igcam.influence.design import checked_features, checked_head, checked_l2, checked_labels, row_space, with_constant
from igcam.influence.head import HeadVector

Array = NDArray[np.float64]
MAX_PARAMETERS = 16_384
"""Largest side of the Hessian, which then takes 2 GB."""


class SoftmaxInfluence:
    """Influence functions of a softmax head at its optimum.

    The head minimises J(Theta) = 1/n sum_i l_i + l2/2 |Theta|^2 over the weights and biases of all classes, l the
    cross-entropy. Block (k, m) of its Hessian is 1/n sum_i p_ik (delta_km - p_im) x_i x_i^T, plus l2 on the diagonal.
    The influence I(i, V) = -grad V^T H^-1 grad l_i is one number per image, with the signs and units of
    `HeadInfluence`. With D + 1 > n all is computed in the n dimensions that the rows span.

    Labels are integers (n,), 0 to C - 1; other arguments and errors are those of `HeadInfluence`.

    Raises:
        IgcamError: The Hessian would have more than `MAX_PARAMETERS` rows.
    """

    residual: Array
    """float64 (n, C): probability - label, the gradient of l_i by its logits."""
    optimality: float
    """Norm of the gradient of J, as a fraction of the mean norm of the gradients of the images."""

    def __init__(
        self,
        features: ArrayLike,
        labels: ArrayLike,
        weight: ArrayLike,
        bias: ArrayLike,
        l2: float,
        *,
        tolerance: float = 1e-3,
    ) -> None:
        features = checked_features("features", features)
        classes = np.size(bias)
        self.l2 = checked_l2(l2)
        self._theta = checked_head(weight, bias, classes, features.shape[1])
        self._space = row_space(features)
        self._labels = checked_labels("labels", labels, len(features), classes)
        self._logits = with_constant(features) @ self._theta.T
        self._probability = softmax(self._logits, axis=1)
        self.residual = self._probability - np.eye(classes)[self._labels]
        self._check_optimum(tolerance)
        self._factor = self._factorise()

    def on_loss(self, features: ArrayLike, labels: ArrayLike) -> Array:
        """Return the influence, float64 (n,), on the mean cross-entropy of validation images (m, D)."""
        rows, pulls = self._validation(features, labels)
        gradient = pulls.T @ rows / len(rows)
        return self.on_gradient(HeadVector(gradient[:, :-1], gradient[:, -1]))

    def on_gradient(self, gradient: HeadVector) -> Array:
        """Return the influence, float64 (n,), on any loss with this gradient."""
        classes, width = self._theta.shape
        vector = checked_head(gradient.weight, gradient.bias, classes, width - 1)
        return -self._along(self._solve(self._space.into(vector).reshape(-1, 1)))[:, 0]

    def on_each(self, features: ArrayLike, labels: ArrayLike, *, chunk: int = 256) -> Array:
        """Return the influence, float64 (m, n), of each training image on the loss of each validation image."""
        rows, pulls = self._validation(features, labels)
        coordinates = self._space.into(rows)
        influence = np.empty((len(rows), len(self._labels)))
        for start in range(0, len(rows), chunk):
            part = slice(start, start + chunk)
            influence[part] = -self._along(self._solve(_gradients(pulls[part], coordinates[part]))).T
        return influence

    def self_influence(self, *, chunk: int = 256) -> Array:
        """Return the influence, float64 (n,), of each image on its own loss: never positive."""
        result = np.empty(len(self._labels))
        for start in range(0, len(result), chunk):
            part = slice(start, start + chunk)
            gradients = _gradients(self.residual[part], self._space.rows[part])
            result[part] = -(gradients * self._solve(gradients)).sum(axis=0)
        return result

    def leave_out(self, groups: Sequence[ArrayLike], features: ArrayLike, labels: ArrayLike) -> Array:
        """Return the change of the mean loss of validation images when each group is left out, float64 (G,).

        One Newton step of optimal length as in `HeadChanges`; the Hessian loses U U^T, of rank |group| (C - 1).
        """
        rows, _ = self._validation(features, labels)
        truth = checked_labels("validation labels", labels, len(rows), len(self._theta))
        logits, coordinates = rows @ self._theta.T, self._space.into(rows)
        before = _loss(logits, truth)
        changes = []
        for group in groups:
            direction = self._step_without(np.asarray(group, np.int64))
            moved = coordinates @ direction.T
            changes.append(_loss(logits + self._best_length(np.asarray(group), direction) * moved, truth) - before)
        return np.array(changes)

    def _step_without(self, group: NDArray[np.int64]) -> Array:
        """Return the Newton step, (C, R), of the objective without a group of images."""
        count, rows, shares = len(self._labels), self._space.rows[group], self._probability[group]
        pull = np.einsum("nc,nr->cr", self.residual[group], rows).reshape(-1, 1) / count
        roots = np.sqrt(shares)
        # A A^T = diag(p) - p p^T
        half = roots[:, :, None] * np.eye(shares.shape[1]) - shares[:, :, None] * roots[:, None, :]
        lost = np.einsum("ncm,nr->crnm", half, rows).reshape(len(self._factor), -1) / np.sqrt(count)
        solved, columns = self._solve(pull), self._solve(lost)
        inner = np.eye(lost.shape[1]) - lost.T @ columns
        step = solved + columns @ np.linalg.solve(inner, lost.T @ solved)
        return np.asarray(step.reshape(len(self._theta), -1))

    def _best_length(self, group: NDArray[np.int64], direction: Array) -> float:
        """Return the t >= 0 that minimises the objective without the group at Theta + t direction."""
        kept = np.ones(len(self._labels), bool)
        kept[group] = False
        logits, labels = self._logits[kept], self._labels[kept]
        moved = self._space.rows[kept] @ direction.T
        theta = self._space.into(self._theta)

        def slope(length: float) -> float:
            pulls = softmax(logits + length * moved, axis=1) - np.eye(len(theta))[labels]
            penalty = self.l2 * ((theta + length * direction) * direction).sum()
            return float((pulls * moved).sum() / len(self._labels) + penalty)

        if slope(0.0) >= 0:
            return 0.0
        end = 1.0
        while slope(end) < 0:
            end *= 2
        return float(brentq(slope, 0.0, end, xtol=1e-9))

    def _check_optimum(self, tolerance: float) -> None:
        rows = self._space.rows
        gradient = self._space.out_of(self.residual.T @ rows / len(rows)) + self.l2 * self._theta
        typical = (np.linalg.norm(self.residual, axis=1) * np.linalg.norm(rows, axis=1)).mean()
        self.optimality = float(np.linalg.norm(gradient) / max(typical, np.finfo(np.float64).tiny))
        if not self.optimality <= tolerance:
            raise IgcamError(
                f"head: not at the optimum of its loss with l2 = {self.l2:g}: its gradient norm is "
                f"{self.optimality:.1e} of a typical image's, at most {tolerance:g} is allowed"
            )

    def _factorise(self) -> Array:
        rows, shares = self._space.rows, self._probability
        classes, width = shares.shape[1], rows.shape[1]
        side = classes * width
        if side > MAX_PARAMETERS:
            raise IgcamError(f"features: the Hessian of a softmax head has {side} rows, at most {MAX_PARAMETERS} fit")
        hessian = np.zeros((classes, width, classes, width))
        for k in range(classes):
            for m in range(k + 1):
                curvature = shares[:, k] * ((k == m) - shares[:, m]) / len(rows)
                hessian[k, :, m] = rows.T @ (curvature[:, None] * rows)
                hessian[m, :, k] = hessian[k, :, m].T
        flat = hessian.reshape(side, side)
        flat[np.diag_indices(side)] += self.l2
        return np.asarray(scipy.linalg.cholesky(flat, lower=True, overwrite_a=True, check_finite=False))

    def _solve(self, vectors: Array) -> Array:
        return np.asarray(scipy.linalg.cho_solve((self._factor, True), vectors, check_finite=False))

    def _along(self, solved: Array) -> Array:
        """Return the inner products, (n, k), of the gradients of the images with directions (C R, k)."""
        directions = solved.reshape(len(self._theta), -1, solved.shape[1])
        along = np.tensordot(self._space.rows, directions, (1, 1))
        return np.asarray(np.einsum("nc,nck->nk", self.residual, along))

    def _validation(self, features: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
        classes, width = self._theta.shape
        rows = with_constant(checked_features("validation features", features, width - 1))
        labels = checked_labels("validation labels", labels, len(rows), classes)
        return rows, softmax(rows @ self._theta.T, axis=1) - np.eye(classes)[labels]


def _gradients(pulls: Array, rows: Array) -> Array:
    """Return the gradients, (C R, n), of n images with derivatives (n, C) by their logits and rows (n, R)."""
    return np.asarray(np.einsum("nc,nr->crn", pulls, rows).reshape(-1, len(rows)))


def _loss(logits: Array, labels: NDArray[np.int64]) -> float:
    return -float(log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
