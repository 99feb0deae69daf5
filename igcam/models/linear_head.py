"""A multi-label linear head fitted to the optimum of a convex loss, and its out-of-fold use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from torch import Tensor

from igcam.core.errors import IgcamError
from igcam.core.progress import Progress, no_progress
from igcam.influence.design import (
    checked_features,
    checked_l2,
    checked_labels,
    checked_tags,
    checked_weight,
    row_space,
)
from igcam.influence.head import HeadInfluence, HeadVector, spatial_influence

Array = NDArray[np.float64]
Floats = NDArray[np.floating]
MAX_NEWTON_STEPS = 100
MAX_CG_STEPS = 1000
MAX_HALVINGS = 50


@dataclass(frozen=True)
class LinearHead:
    """A fitted head: the logit of class c is weight[c] . f + bias[c]."""

    weight: Array
    """float64 (C, D)."""
    bias: Array
    """float64 (C,)."""
    l2: float
    """Penalty on weight and bias that it was fitted with."""
    gradient_norm: float
    """Largest norm of the gradient of J_c over the classes; the error of theta_c is at most gradient_norm / l2."""
    newton_steps: int
    """Newton steps taken."""

    def logits(self, features: ArrayLike) -> Array:
        """Return raw logits, float64 (n, C), of features (n, D)."""
        return checked_features("features", features, self.weight.shape[1]) @ self.weight.T + self.bias


def fit_linear_head(
    features: ArrayLike, tags: ArrayLike, l2: float, sample_weight: ArrayLike | None = None, tolerance: float = 1e-8
) -> LinearHead:
    """Fit a linear head to the unique optimum of its tag loss, each class separately.

    J_c(theta_c) = 1/n sum_i w_ic l_ic + l2/2 |theta_c|^2, where l is the logistic loss of one tag and theta_c holds the
    weight and the bias. The bias is penalised like a weight, so that a class without positives has a finite optimum
    too; the influence functions use the same J. Newton steps for all classes at once, solved by conjugate gradients
    preconditioned with the features' second moments; in n dimensions where D >= n. Deterministic.

    Args:
        features: (n, D), any float type; computed in float64. Their scale sets the scale of l2.
        tags: (n, C), 0 or 1, or soft tags in between.
        l2: Penalty, positive.
        sample_weight: None, (n,) or (n, C), at least 0; not normalised, n stays the number of rows.
        tolerance: Largest norm of the gradient of J_c at the end, for every class.

    Raises:
        ValueError: Wrong shapes or values of arrays.
        IgcamError: l2 is not positive, or too small for the tolerance to be reached.
    """
    features = checked_features("features", features)
    tags = checked_tags("tags", tags, len(features))
    sample_weight = checked_weight("sample_weight", sample_weight, *tags.shape)
    l2 = checked_l2(l2)
    space = row_space(features)
    coordinates, norm, steps = _minimise(space.rows, tags, sample_weight, l2, tolerance)
    if not norm <= tolerance:
        raise IgcamError(
            f"l2: {l2:g} is too small for these features: after {steps} Newton steps the gradient norm is "
            f"{norm:.1e}, wanted {tolerance:g}"
        )
    theta = space.out_of(coordinates.T)
    return LinearHead(theta[:, :-1].copy(), theta[:, -1].copy(), l2, norm, steps)


def _minimise(rows: Array, tags: Array, sample_weight: Array, l2: float, tolerance: float) -> tuple[Array, float, int]:
    """Return theta (R, C), the largest gradient norm and the number of Newton steps."""
    count = len(rows)

    def objective(theta: Array, logits: Array) -> Array:
        losses = sample_weight * (np.logaddexp(0, logits) - tags * logits)
        return np.asarray(losses.mean(0) + l2 / 2 * (theta**2).sum(0))

    moments, axes = np.linalg.eigh(rows.T @ rows / count)
    theta = np.zeros((rows.shape[1], tags.shape[1]))
    logits = rows @ theta
    value = objective(theta, logits)
    for step in range(MAX_NEWTON_STEPS + 1):
        probabilities = expit(logits)
        gradient = rows.T @ (sample_weight * (probabilities - tags)) / count + l2 * theta
        norms = np.linalg.norm(gradient, axis=0)
        if norms.max() <= tolerance or step == MAX_NEWTON_STEPS:
            break
        curvature = sample_weight * probabilities * (1 - probabilities)
        diagonal = np.maximum(moments, 0)[:, None] * curvature.mean(0) + l2
        gap = np.maximum(np.minimum(0.1, np.sqrt(norms)) * norms, tolerance / 3)
        direction = _newton_direction(rows, curvature, l2, axes, diagonal, gradient, gap)
        slope = (gradient * direction).sum(0)
        change = rows @ direction
        length = np.ones(tags.shape[1])
        for _ in range(MAX_HALVINGS):
            trial = objective(theta + length * direction, logits + length * change)
            # Armijo's rule per class; the slack accepts a last step whose gain is lost to rounding.
            high = trial > value + 1e-4 * length * slope + 1e-13 * np.abs(value)
            if not high.any():
                break
            length[high] /= 2
        theta = theta + length * direction
        logits = rows @ theta
        value = objective(theta, logits)
    return theta, float(norms.max()), step


def _newton_direction(
    rows: Array, curvature: Array, l2: float, axes: Array, diagonal: Array, gradient: Array, gap: Array
) -> Array:
    """Solve H_c d_c = -gradient_c for all classes, (R, C), until each residual's norm is below its gap (C,).

    Conjugate gradients; the preconditioner is the Hessian with the mean curvature for all rows, which is diagonal
    in the axes of the second moments.
    """
    solution = np.zeros_like(gradient)
    residual = -gradient
    direction = axes @ ((axes.T @ residual) / diagonal)
    inner = (residual * direction).sum(0)
    for _ in range(MAX_CG_STEPS):
        active = np.linalg.norm(residual, axis=0) > gap
        if not active.any():
            break
        image = rows.T @ (curvature * (rows @ direction)) / len(rows) + l2 * direction
        steepness = (direction * image).sum(0)
        length = np.divide(inner, steepness, out=np.zeros_like(inner), where=active & (steepness > 0))
        solution += length * direction
        residual = residual - length * image
        scaled = axes @ ((axes.T @ residual) / diagonal)
        following = (residual * scaled).sum(0)
        ratio = np.divide(following, inner, out=np.zeros_like(inner), where=active & (inner > 0))
        direction = np.where(active, scaled + ratio * direction, direction)
        inner = np.where(active, following, inner)
    return solution


def feature_scale(features: Array) -> float:
    """Return the factor that gives float64 features (n, D) a mean square norm of one hundred, as penalties expect."""
    return 10 / max(float(np.sqrt((features**2).sum(axis=1).mean())), 1e-12)


def cross_fitted_heads(
    features: ArrayLike, tags: ArrayLike, l2: float, folds: int, seed: int, sample_weight: ArrayLike | None = None
) -> tuple[NDArray[np.int64], list[LinearHead]]:
    """Return the fold of every image, int64 (n,), and for each fold a head fitted to the images outside it.

    Folds are random and of equal size; the other arguments are those of `fit_linear_head`.

    Raises:
        ValueError: Wrong shapes or values of arrays.
        IgcamError: folds is below 2 or above n, or as for `fit_linear_head`.
    """
    features = checked_features("features", features)
    tags = checked_tags("tags", tags, len(features))
    sample_weight = checked_weight("sample_weight", sample_weight, *tags.shape)
    count = len(features)
    if not 2 <= folds <= count:
        raise IgcamError(f"folds: must lie between 2 and the number of images, {count}, got {folds}")
    fold = np.empty(count, dtype=np.int64)
    fold[np.random.default_rng(seed).permutation(count)] = np.arange(count) % folds
    on = [fold != k for k in range(folds)]
    return fold, [fit_linear_head(features[rows], tags[rows], l2, sample_weight[rows]) for rows in on]


def cross_fitted_logits(features: ArrayLike, tags: ArrayLike, l2: float, folds: int = 5, seed: int = 0) -> Array:
    """Return the out-of-fold logits, float64 (n, C), of the heads of `cross_fitted_heads`."""
    return _out_of_fold(checked_features("features", features), *cross_fitted_heads(features, tags, l2, folds, seed))


def _out_of_fold(features: Array, fold: NDArray[np.int64], heads: list[LinearHead]) -> Array:
    logits = np.empty((len(features), len(heads[0].bias)))
    for k, head in enumerate(heads):
        logits[fold == k] = head.logits(features[fold == k])
    return logits


@dataclass(frozen=True)
class CrossFit:
    """Heads fitted without one fold each, and the influence of their training images on that fold."""

    fold: NDArray[np.int64]
    """int64 (n,): the fold in which an image is held out."""
    logits: Array
    """float64 (n, C): out-of-fold logits."""
    influence: Array
    """float64 (n, C): influence on the held-out tag loss, mean over the folds that trained on the image."""
    residuals: Array
    """float64 (folds, n, C): probability - tag by each fold's head; zero for the images that it held out."""
    directions: tuple[HeadVector, ...]
    """H_c^-1 grad V_c of each fold."""
    heads: tuple[LinearHead, ...]
    """The head of each fold, fitted to the images outside it."""

    def spatial(self, index: int, feature_map: ArrayLike) -> Array:
        """Split influence[index] over the locations of its feature map (D, h, w): float64 (C, h, w).

        The map's mean over locations must equal the features that were fitted.
        """
        pull = self.pull(index)
        return spatial_influence(feature_map, np.ones(len(pull.bias)), pull)

    def pull(self, index: int) -> HeadVector:
        """Return the mean over the image's folds of (p_ic - y_ic) H_c^-1 grad V_c.

        influence[index] is minus its inner product with the image's features and the constant one.
        """
        shares = self.residuals[:, index] / (len(self.directions) - 1)
        weight = sum(share[:, None] * d.weight for share, d in zip(shares, self.directions, strict=True))
        bias = sum(share * d.bias for share, d in zip(shares, self.directions, strict=True))
        return HeadVector(np.asarray(weight), np.asarray(bias))


def cross_fit(
    features: ArrayLike,
    tags: ArrayLike,
    l2: float,
    folds: int = 5,
    seed: int = 0,
    sample_weight: ArrayLike | None = None,
) -> CrossFit:
    """Fit a head without each fold, and compute the influence of its training images on the fold's tag loss.

    Needs no masks. Images of the held-out fold have equal weights; sample weights only enter the fits. Arguments and
    errors as for `cross_fitted_heads`.
    """
    features = checked_features("features", features)
    tags = checked_tags("tags", tags, len(features))
    sample_weight = checked_weight("sample_weight", sample_weight, *tags.shape)
    fold, heads = cross_fitted_heads(features, tags, l2, folds, seed, sample_weight)
    influence, residuals = np.zeros(tags.shape), np.zeros((folds, *tags.shape))
    directions = []
    for k, head in enumerate(heads):
        out, on = fold == k, fold != k
        trained = HeadInfluence(features[on], tags[on], head.weight, head.bias, l2, sample_weight=sample_weight[on])
        gradient = trained.loss_gradient(features[out], tags[out])
        influence[on] += trained.on_gradient(gradient) / (folds - 1)
        residuals[k, on] = trained.residual
        directions.append(trained.solve(gradient))
    return CrossFit(fold, _out_of_fold(features, fold, heads), influence, residuals, tuple(directions), tuple(heads))


def best_penalty(
    features: Array, tags: Floats, penalties: Sequence[float], folds: int, seed: int, progress: Progress = no_progress
) -> float:
    """Return the penalty with the lowest out-of-fold tag loss; the first one if there is only one, or only one image.

    Args:
        features: (n, D), scaled.
        tags: (n, C), 0 or 1, or soft tags in between.
        penalties: To choose from.
        folds: Number of folds, reduced to n where it is larger.
        seed: Of the folds.
        progress: Called with what is being done, the number done and the number to do.
    """
    folds = min(folds, len(features))
    if len(penalties) < 2 or folds < 2:
        return penalties[0]
    features = rotated(features)
    losses = []
    for step, penalty in enumerate(penalties):
        losses.append(tag_loss(cross_fitted_logits(features, tags, penalty, folds, seed), tags))
        progress("choose the penalty", step + 1, len(penalties))
    return penalties[int(np.argmin(losses))]


def rotated(features: Array) -> Array:
    """Return features (n, D) with the same inner products in n columns if D > n, so that no fit has to rotate them."""
    if features.shape[1] <= len(features):
        return features
    _, triangle = np.linalg.qr(features.T)
    return np.ascontiguousarray(triangle.T)


def tag_loss(logits: Floats, tags: Floats) -> float:
    """Return the mean binary cross-entropy of raw logits (N, C) and tags (N, C)."""
    return float((np.logaddexp(0, logits) - tags * logits).mean())


class PowerNormalised(NamedTuple):
    """Power-normalised features, and what maps other features to them."""

    features: NDArray[np.float64]
    """float64 (n, D): (root - mean) * scale, with a mean square norm of one hundred."""
    mean: NDArray[np.float64]
    """float64 (D,): mean of the roots."""
    scale: float
    """Factor of the centred roots."""


def power_normalised(features: ArrayLike) -> PowerNormalised:
    """Return the signed square roots of pooled features (n, D), centred and scaled."""
    roots = signed_sqrt(torch.as_tensor(np.asarray(features, np.float64))).numpy()
    mean = roots.mean(axis=0)
    centred = roots - mean
    scale = feature_scale(centred)
    return PowerNormalised(centred * scale, mean, scale)


def signed_sqrt(features: Tensor) -> Tensor:
    """Return sign(f) sqrt(|f|).

    Source: Perronnin et al., ECCV 2010.
    """
    return features.sign() * features.abs().sqrt()


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
