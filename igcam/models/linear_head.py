"""Linear heads fitted to the optimum of a convex loss, their penalty, and their out-of-fold use."""

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
from igcam.influence.design import checked_features, checked_l2, checked_labels, checked_tags, checked_weight, row_space
from igcam.influence.head import HeadInfluence, HeadVector, spatial_influence

Array = NDArray[np.float64]
Floats = NDArray[np.floating]
MAX_NEWTON_STEPS = 100
MAX_CG_STEPS = 1000
MAX_HALVINGS = 50


@dataclass(frozen=True)
class LinearHead:
    """A fitted head: the logit of class c is weight[c] . f + bias[c], float64 (C, D) and (C,)."""

    weight: Array
    bias: Array
    l2: float
    gradient_norm: float
    """Largest norm of the gradient of J_c over the classes; theta_c is within gradient_norm / l2 of the optimum."""
    newton_steps: int

    def logits(self, features: ArrayLike) -> Array:
        """Return raw logits, float64 (n, C), of features (n, D)."""
        return checked_features("features", features, self.weight.shape[1]) @ self.weight.T + self.bias


def fit_linear_head(
    features: ArrayLike, tags: ArrayLike, l2: float, sample_weight: ArrayLike | None = None, tolerance: float = 1e-8
) -> LinearHead:
    """Fit a linear head to the unique optimum of its tag loss, each class separately.

    J_c(theta_c) = 1/n sum_i w_ic l_ic + l2/2 |theta_c|^2, with l the logistic loss of one tag and theta_c = (weight,
    bias). The penalty includes the bias, so that a class without positives has a finite optimum; the influence
    functions use the same J. Newton steps for all classes at once, solved by conjugate gradients preconditioned with
    the second moments of the features; in n dimensions where D >= n. Deterministic.

    Args:
        features: (n, D), any float type; computed in float64. Their scale sets the scale of l2.
        tags: (n, C) in 0..1; soft tags are allowed.
        l2: Penalty, positive.
        sample_weight: None, (n,) or (n, C), at least 0; not normalised, n stays the number of rows.
        tolerance: Largest allowed norm of the gradient of J_c.

    Raises:
        ValueError: Wrong shapes or values of arrays.
        IgcamError: l2 is not positive, or too small for the tolerance to be reached.
    """
    features, tags, sample_weight = _checked(features, tags, sample_weight)
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


def _checked(features: ArrayLike, tags: ArrayLike, sample_weight: ArrayLike | None) -> tuple[Array, Array, Array]:
    features = checked_features("features", features)
    tags = checked_tags("tags", tags, len(features))
    return features, tags, checked_weight("sample_weight", sample_weight, *tags.shape)


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
    """Solve H_c d_c = -gradient_c for all classes, (R, C), until the norm of each residual is below its gap (C,).

    Conjugate gradients; the preconditioner is the Hessian with the mean curvature for all rows, which is diagonal in
    the axes of the second moments.
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
    """Return the factor that gives features (n, D) the mean square norm of one hundred that penalties assume."""
    return 10 / max(float(np.sqrt((features**2).sum(axis=1).mean())), 1e-12)


def cross_fitted_heads(
    features: ArrayLike, tags: ArrayLike, l2: float, folds: int, seed: int, sample_weight: ArrayLike | None = None
) -> tuple[NDArray[np.int64], list[LinearHead]]:
    """Return the fold of every image, int64 (n,), and for each fold a head fitted to the images outside it.

    Folds are random and of equal size; other arguments and errors as for `fit_linear_head`.

    Raises:
        IgcamError: folds is below 2 or above n.
    """
    features, tags, sample_weight = _checked(features, tags, sample_weight)
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
    """int64 (n,): the fold that an image is held out in."""
    logits: Array
    """float64 (n, C): out-of-fold logits."""
    influence: Array
    """float64 (n, C): influence on the held-out tag loss, mean over the folds that the image was trained in."""
    residuals: Array
    """float64 (folds, n, C): probability - tag by the head of each fold; zero for its held-out images."""
    directions: tuple[HeadVector, ...]
    """H_c^-1 grad V_c of each fold."""
    heads: tuple[LinearHead, ...]
    """The head of each fold, fitted to the images outside it."""

    def spatial(self, index: int, feature_map: ArrayLike) -> Array:
        """Split influence[index] over the locations of its feature map (D, h, w): float64 (C, h, w).

        The mean of the map over locations must equal the fitted features.
        """
        pull = self.pull(index)
        return spatial_influence(feature_map, np.ones(len(pull.bias)), pull)

    def pull(self, index: int) -> HeadVector:
        """Return the mean over the folds of the image of (p_ic - y_ic) H_c^-1 grad V_c.

        influence[index] is minus its inner product with the features of the image and the constant one.
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
    """Fit a head without each fold, and compute the influence of its training images on the tag loss of the fold.

    Held-out images have equal weights; sample weights only enter the fits. Arguments and errors as for
    `cross_fitted_heads`.
    """
    features, tags, sample_weight = _checked(features, tags, sample_weight)
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

    Features (n, D) are scaled, tags (n, C) in 0..1; at most n folds are used, drawn by the seed.
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
    """Return features (n, D) with the same inner products in n columns if D > n, so that fits need no rotation."""
    if features.shape[1] <= len(features):
        return features
    _, triangle = np.linalg.qr(features.T)
    return np.ascontiguousarray(triangle.T)


def tag_loss(logits: Floats, tags: Floats) -> float:
    """Return the mean binary cross-entropy of raw logits (N, C) and tags (N, C)."""
    return float((np.logaddexp(0, logits) - tags * logits).mean())


class PowerNormalised(NamedTuple):
    """Power-normalised features, float64 (n, D): (signed square roots - mean (D,)) * scale, of mean square norm 100."""

    features: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: float


def power_normalised(features: ArrayLike) -> PowerNormalised:
    """Return the signed square roots of pooled features (n, D), centred and scaled: no strong feature dominates."""
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

    Labels are integers (n,), 0 to classes - 1, of at least two classes; other arguments and errors are those of
    `fit_linear_head`, as are the penalty on the bias and the solution in n dimensions where D >= n. Trust-region Newton
    method with conjugate gradients. Deterministic.
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
