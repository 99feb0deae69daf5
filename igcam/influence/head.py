"""Exact influence of training images on any loss of a linear head.

Source: Koh and Liang, "Understanding Black-box Predictions via Influence Functions", ICML 2017, equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike
from scipy.special import expit

from igcam.core.errors import IgcamError
from igcam.influence.design import (
    checked_features,
    checked_head,
    checked_l2,
    checked_tags,
    checked_weight,
    row_space,
    with_constant,
)


@dataclass(frozen=True)
class HeadVector:
    """One number for each parameter of a head, weight float64 (C, D) and bias (C,): a gradient, or H^-1 gradient."""

    weight: np.ndarray
    bias: np.ndarray


class HeadInfluence:
    """Influence functions of a linear head at its optimum.

    The head minimises J_c = 1/n sum_i w_ic l_ic + l2/2 |theta_c|^2 for every class, theta_c = (weight, bias), l the
    logistic loss of one tag. The influence of image i on a loss V is

        I(i, V) = sum_c I_c(i, V),    I_c(i, V) = -grad_c V^T H_c^-1 grad_c l_i,

    with H_c the Hessian of J_c. Adding eps l_i to J changes V by eps I(i, V) to first order; leaving image i out
    changes V by about -w_i I(i, V) / n (`HeadChanges` is far more accurate). An image with positive influence raises V:
    it is harmful.

    H_c is factorised once for each class: C R^2 float64 numbers, R = min(n, D + 1), exact in the n dimensions that the
    rows span.

    Args:
        features: (n, D) of the training images.
        tags: (n, C), 0 or 1.
        weight: (C, D).
        bias: (C,).
        l2: Penalty on weight and bias in training.
        sample_weight: None, (n,) or (n, C), as in training.
        tolerance: Largest norm of the gradient of J_c, as a fraction of the mean norm of the gradients of the images.
            Influence is only defined at the optimum; infinity accepts any head.
        chunk: Rows processed at a time.

    Attributes:
        theta: float64 (C, D + 1): weight and bias of every class.
        space: The training rows, in the coordinates of the factors.
        factors: Lower Cholesky factor of H_c, float64 (R, R), of every class.
        curvature: float64 (n, C): weight times p (1 - p), the second derivative of the weighted loss by the logit.
        residual: float64 (n, C): probability - tag, the derivative of l_ic by its logit.
        gradient_norm: float64 (C,): norm of the gradient of J_c, zero at the optimum.
        optimality: float64 (C,): gradient_norm as a fraction of the mean norm of the gradients of the images.

    Raises:
        ValueError: Wrong shapes or values of arrays.
        IgcamError: l2 is not positive or too small for float64, or the head is not at the optimum.
    """

    def __init__(
        self,
        features: ArrayLike,
        tags: ArrayLike,
        weight: ArrayLike,
        bias: ArrayLike,
        l2: float,
        *,
        sample_weight: ArrayLike | None = None,
        tolerance: float = 1e-3,
        chunk: int = 4096,
    ) -> None:
        # The rows in float64 are the only copy: 1.6 GB for 100,000 images with 2048 features.
        features = checked_features("features", features, keep=True)
        tags = checked_tags("tags", tags, len(features))
        sample_weight = checked_weight("sample_weight", sample_weight, *tags.shape)
        self.l2 = checked_l2(l2)
        self.theta = checked_head(weight, bias, tags.shape[1], features.shape[1])
        self._chunk = _checked_chunk(chunk)
        self.space = row_space(features)
        logits = self.space.rows @ self.space.into(self.theta).T
        self.tags = tags
        self.residual = expit(logits) - tags
        self.sample_weight = sample_weight
        self.curvature = sample_weight * expit(logits) * expit(-logits)
        self._check_optimum(tolerance)
        self.factors = [self._factorise(curvature) for curvature in self.curvature.T]

    def _check_optimum(self, tolerance: float) -> None:
        rows = self.space.rows
        pulls = self.sample_weight * self.residual
        data_term = self.space.out_of(pulls.T @ rows / len(rows))
        self.gradient_norm = np.linalg.norm(data_term + self.l2 * self.theta, axis=1)
        typical = (np.abs(pulls) * np.linalg.norm(rows, axis=1)[:, None]).mean(0)
        self.optimality = self.gradient_norm / np.maximum(typical, np.finfo(np.float64).tiny)
        worst = int(self.optimality.argmax())
        if not self.optimality[worst] <= tolerance:
            raise IgcamError(
                f"head: not at the optimum of its loss with l2 = {self.l2:g}: gradient norm of class {worst} "
                f"is {self.optimality[worst]:.1e} of a typical image's, at most {tolerance:g} is allowed"
            )

    def _factorise(self, curvature: np.ndarray) -> np.ndarray:
        rows = self.space.rows
        hessian = np.zeros((rows.shape[1], rows.shape[1]))
        for start in range(0, len(rows), self._chunk):
            part = slice(start, start + self._chunk)
            scaled = rows[part] * np.sqrt(curvature[part, None] / len(rows))
            hessian += scaled.T @ scaled
        hessian[np.diag_indices_from(hessian)] += self.l2
        try:
            factor = scipy.linalg.cholesky(hessian, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            raise IgcamError(
                f"l2: {self.l2:g} is too small for features of this size: the Hessian is singular in float64"
            ) from None
        return np.asarray(factor)

    def loss_gradient(self, features: ArrayLike, tags: ArrayLike, sample_weight: ArrayLike | None = None) -> HeadVector:
        """Return the gradient of V = mean over images of (weight times) the sum over classes of the tag loss.

        Validation features are (m, D), tags (m, C), weights None, (m,) or (m, C); zero excludes a tag from V.
        """
        rows, pulls = self._validation(features, tags, sample_weight)
        gradient = pulls.T @ rows / len(rows)
        return HeadVector(gradient[:, :-1], gradient[:, -1])

    def solve(self, gradient: HeadVector) -> HeadVector:
        """Return H_c^-1 gradient for every class."""
        vectors = checked_head(gradient.weight, gradient.bias, *self._shape)
        coordinates = self.space.into(vectors)
        solved = self.space.out_of(self._solve(coordinates))
        if self.space.basis is not None:
            solved += (vectors - self.space.out_of(coordinates)) / self.l2
        return HeadVector(solved[:, :-1], solved[:, -1])

    def directions(self, features: ArrayLike, tags: ArrayLike, sample_weight: ArrayLike | None = None) -> HeadVector:
        """Return s_c = H_c^-1 grad_c V for the tag loss V of `loss_gradient`, as `spatial_influence` takes it."""
        return self.solve(self.loss_gradient(features, tags, sample_weight))

    def on_gradient(self, gradient: HeadVector) -> np.ndarray:
        """Return the influence, float64 (n, C), on any loss with this gradient; its sum over C is that of the image."""
        vectors = checked_head(gradient.weight, gradient.bias, *self._shape)
        return -self.residual * (self.space.rows @ self._solve(self.space.into(vectors)).T)

    def on_loss(self, features: ArrayLike, tags: ArrayLike, sample_weight: ArrayLike | None = None) -> np.ndarray:
        """Return the influence, float64 (n, C), on the tag loss V of `loss_gradient`."""
        return self.on_gradient(self.loss_gradient(features, tags, sample_weight))

    def on_each(self, features: ArrayLike, tags: ArrayLike, *, chunk: int = 256) -> np.ndarray:
        """Return the influence, float64 (m, n), of each training image on the tag loss of each validation image.

        Features are (m, D), tags (m, C); `chunk` validation images are processed at a time, in about chunk * n numbers.
        """
        rows, pulls = self._validation(features, tags, None)
        influence = np.zeros((len(rows), len(self.residual)))
        for start in range(0, len(rows), _checked_chunk(chunk)):
            part = slice(start, start + chunk)
            coordinates = self.space.into(rows[part]).T
            for c, factor in enumerate(self.factors):
                pulled = coordinates * pulls[part, c]
                solved = scipy.linalg.cho_solve((factor, True), pulled, check_finite=False)
                influence[part] -= solved.T @ self.space.rows.T * self.residual[:, c]
        return influence

    def self_influence(self) -> np.ndarray:
        """Return the influence, float64 (n, C), of each image on its own tag loss: never positive.

        Far below zero the head relies on this image alone for its tag, as it does for a wrong one.
        """
        return -(self.residual**2) * self._quadratic()

    def leverage(self) -> np.ndarray:
        """Return w_ic p (1 - p) x_i^T H_c^-1 x_i / n, float64 (n, C) in 0..1; near 1 an image is unlike all others."""
        return self.curvature * self._quadratic() / len(self.curvature)

    def leave_out_linear(self, influence: np.ndarray) -> np.ndarray:
        """Turn influence (n, C) on any loss into its change, float64 (n, C), when each image alone is left out.

        -w_ic I_c(i, V) / (n (1 - h_ic)): the Newton step without the image, with V linearised. For losses known only by
        their gradient; `HeadChanges` does not linearise a tag loss.

        Source: Pregibon, "Logistic Regression Diagnostics", Annals of Statistics 9 (1981), one-step estimate.
        """
        return -self.sample_weight * influence / (len(influence) * (1 - self.leverage()))

    def _quadratic(self) -> np.ndarray:
        """Return x_i^T H_c^-1 x_i, float64 (n, C)."""
        squares = np.empty_like(self.residual)
        for start in range(0, len(squares), self._chunk):
            part = slice(start, start + self._chunk)
            rows = self.space.rows[part].T
            for c, factor in enumerate(self.factors):
                half = scipy.linalg.solve_triangular(factor, rows, lower=True, check_finite=False)
                squares[part, c] = (half**2).sum(0)
        return squares

    @property
    def _shape(self) -> tuple[int, int]:
        return self.theta.shape[0], self.theta.shape[1] - 1

    def _solve(self, coordinates: np.ndarray) -> np.ndarray:
        pairs = zip(self.factors, coordinates, strict=True)
        return np.stack([scipy.linalg.cho_solve((factor, True), vector) for factor, vector in pairs])

    def _validation(
        self, features: ArrayLike, tags: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[np.ndarray, np.ndarray]:
        classes, width = self._shape
        rows = with_constant(checked_features("validation features", features, width))
        tags = checked_tags("validation tags", tags, len(rows), classes)
        weights = checked_weight("validation sample_weight", sample_weight, len(rows), classes)
        return rows, weights * (expit(rows @ self.theta.T) - tags)


def spatial_influence(feature_map: ArrayLike, residual: ArrayLike, directions: HeadVector) -> np.ndarray:
    """Split the influence of an image, for a head on average-pooled features, over its locations: float64 (C, h, w).

    I_c(u) = -1/(hw) (p_c - y_c) (f(u) . s_c + b_c), where (s_c, b_c) = H_c^-1 grad_c V. The bias contributes equally
    everywhere. The sum over locations is the influence I_c(i, V) of the image; positive locations raise V.

    Args:
        feature_map: (D, h, w), the features before pooling, scaled and centred like the pooled features.
        residual: (C,), probability - tag of the image: a row of `HeadInfluence.residual`.
        directions: `HeadInfluence.directions(...)`.

    Raises:
        ValueError: Shapes that do not match.
    """
    features = np.asarray(feature_map, dtype=np.float64)
    residual = np.asarray(residual, dtype=np.float64)
    classes, width = directions.weight.shape
    if features.ndim != 3 or features.shape[0] != width or 0 in features.shape:
        raise ValueError(f"feature_map: shape must be ({width}, h, w), got {features.shape}")
    if residual.shape != (classes,):
        raise ValueError(f"residual: shape must be ({classes},), got {residual.shape}")
    height, across = features.shape[1:]
    along = directions.weight @ features.reshape(width, -1) + directions.bias[:, None]
    return (-residual[:, None] * along / (height * across)).reshape(classes, height, across)


def _checked_chunk(chunk: int) -> int:
    if chunk < 1:
        raise ValueError(f"chunk: must be at least 1, got {chunk}")
    return chunk
