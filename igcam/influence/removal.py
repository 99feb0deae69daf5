"""The change of a loss when images are left out or tags flipped, without retraining.

Sources: Beirami et al., "On Optimal Generalizability in Parametric Learning", NeurIPS 2017, and Rad and Maleki, "A
Scalable Estimate of the Out-of-sample Prediction Error via Approximate Leave-one-out Cross-validation", JRSS B 2020:
one Newton step of the changed objective, with the loss evaluated at its end. The line search of the step is ours: full
steps overshoot for groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from igcam.influence.design import checked_features, checked_tags, checked_weight, with_constant
from igcam.influence.head import HeadInfluence

LENGTH_STEPS = 12
Array = NDArray[np.float64]
Integers = NDArray[np.int64]


class HeadChanges:
    """Changes of a loss V when the head is trained on other images or tags.

    The changed objective of class c is J'_c(theta) = 1/n sum_i w'_ic l(y'_ic) + l2/2 |theta|^2: images left out have
    weight zero, n stays. Its Hessian at the old optimum is H_c minus the lost weight of the changed images S, a change
    of rank |S|, so by Woodbury's identity

        d_c = -H'_c^-1 grad J'_c(theta_c),    H'_c^-1 = H_c^-1 + H_c^-1 X^T (A^-1 - K)^-1 X H_c^-1,

    with X the rows of S, K = X H_c^-1 X^T and A the diagonal of lost weight times p (1 - p) / n. The new parameters are
    theta_c + t d_c, t the minimiser of J'_c along d_c, and V is evaluated there, not linearised. More `steps` repeat
    this with the same Hessian and converge to retraining. One step has a correlation of 0.996 or more with retraining,
    see docs/influence.md.

    Args:
        influence: Of the trained head.
        features: (m, D), validation images: V is the mean over them.
        tags: (m, C).
        sample_weight: None, (m,) or (m, C); zero excludes a tag from V.
        steps: Newton steps, at least 1.
        chunk: Changes processed at a time; the work space is about 5 * n * chunk numbers.
    """

    def __init__(
        self,
        influence: HeadInfluence,
        features: ArrayLike,
        tags: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        steps: int = 1,
        chunk: int = 128,
    ) -> None:
        if steps < 1 or chunk < 1:
            raise ValueError(f"steps, chunk: must be at least 1, got {steps}, {chunk}")
        classes, width = influence.theta.shape[0], influence.theta.shape[1] - 1
        rows = with_constant(checked_features("validation features", features, width))
        self._head = influence
        self._tags = checked_tags("validation tags", tags, len(rows), classes)
        self._weight = checked_weight("validation sample_weight", sample_weight, len(rows), classes)
        self._logits = rows @ influence.theta.T
        self._rows = influence.space.into(rows)
        self._steps, self._chunk = steps, chunk

    def leave_out(self, images: ArrayLike | None = None) -> Array:
        """Return the change of V, float64 (k, C), when each of the images alone is left out; all by default."""
        chosen = np.arange(len(self._head.tags)) if images is None else np.asarray(images)
        return self.leave_out_groups([np.array([image]) for image in chosen])

    def leave_out_groups(self, groups: Sequence[ArrayLike]) -> Array:
        """Return the change of V, float64 (G, C), when each group of distinct training images is left out together."""
        checked = [self._checked_group(group) for group in groups]
        changes = np.empty((len(checked), self._head.tags.shape[1]))
        for c in range(changes.shape[1]):
            tags = [self._head.tags[group, c] for group in checked]
            weights = [np.zeros(len(group)) for group in checked]
            changes[:, c] = self._changes(c, checked, weights, tags)
        return changes

    def flip_tags(self, pairs: ArrayLike | None = None) -> Array:
        """Return the change of V when one tag alone is flipped to 1 - y: a wrong one removed, a missing one added.

        Pairs are integers (k, 2) of image and class, which give float64 (k,); None flips every tag, each alone, which
        gives (n, C).
        """
        count, classes = self._head.tags.shape
        every = np.argwhere(np.ones((count, classes), bool))
        chosen = every if pairs is None else np.asarray(pairs)
        if chosen.ndim != 2 or chosen.shape[1] != 2 or chosen.dtype.kind not in "iu":
            raise ValueError(f"pairs: must be integers (k, 2), got {chosen.dtype} {chosen.shape}")
        if len(chosen) and not ((chosen >= 0) & (chosen < (count, classes))).all():
            raise ValueError(f"pairs: images must lie in 0..{count - 1}, classes in 0..{classes - 1}")
        changes = np.empty(len(chosen))
        for c in range(classes):
            own = np.flatnonzero(chosen[:, 1] == c)
            images = [chosen[[k], 0] for k in own]
            weights = [self._head.sample_weight[image, c] for image in images]
            tags = [1 - self._head.tags[image, c] for image in images]
            changes[own] = self._changes(c, images, weights, tags)
        return changes.reshape(count, classes) if pairs is None else changes

    def _checked_group(self, group: ArrayLike) -> Integers:
        images, count = np.asarray(group), len(self._head.tags)
        if images.ndim != 1 or images.dtype.kind not in "iu" or len(set(images.tolist())) != len(images):
            raise ValueError(f"groups: each must be indices without repetition, got {images}")
        if len(images) and not 0 <= images.min() <= images.max() < count:
            raise ValueError(f"groups: indices must lie in 0..{count - 1}, got {images.min()}..{images.max()}")
        return images.astype(np.int64)

    def _changes(self, c: int, groups: list[Integers], weights: list[Array], tags: list[Array]) -> Array:
        """Return the change of the loss of class c for each group of images with these new weights and tags."""
        before = self._loss(c, self._logits[:, [c]])
        changes = np.empty(len(groups))
        for start in range(0, len(groups), self._chunk):
            part = slice(start, start + self._chunk)
            logits = self._retrained(c, groups[part], weights[part], tags[part])
            changes[part] = self._loss(c, logits) - before
        return changes

    def _loss(self, c: int, logits: Array) -> Array:
        losses = self._weight[:, [c]] * (np.logaddexp(0, logits) - self._tags[:, [c]] * logits)
        return np.asarray(losses.mean(axis=0))

    def _retrained(self, c: int, groups: list[Integers], new_weights: list[Array], new_tags: list[Array]) -> Array:
        """Return the logits of the validation images, (m, b), by the heads of b changed objectives."""
        head = self._head
        weight = np.repeat(head.sample_weight[:, [c]], len(groups), axis=1)
        tags = np.repeat(head.tags[:, [c]], len(groups), axis=1)
        for k, group in enumerate(groups):
            weight[group, k], tags[group, k] = new_weights[k], new_tags[k]
        theta = np.repeat(head.space.into(head.theta[[c]]).T, len(groups), axis=1)
        logits = head.space.rows @ theta
        validation = np.repeat(self._logits[:, [c]], len(groups), axis=1)
        for _ in range(self._steps):
            gradient = head.space.rows.T @ (weight * (expit(logits) - tags)) / len(tags) + head.l2 * theta
            direction = -self._solve(c, gradient, groups, new_weights)
            moved = head.space.rows @ direction
            length = _best_length(logits, moved, weight, tags, theta, direction, head.l2)
            theta = theta + length * direction
            logits = logits + length * moved
            validation = validation + length * (self._rows @ direction)
        return validation

    def _solve(self, c: int, vectors: Array, groups: list[Integers], new_weights: list[Array]) -> Array:
        """Return H'_c^-1 times each column of vectors (R, b), with H' the Hessian of the column's group."""
        head = self._head
        factor, count = head.factors[c], len(head.tags)
        solved = scipy.linalg.cho_solve((factor, True), vectors, check_finite=False)
        for k, (group, new) in enumerate(zip(groups, new_weights, strict=True)):
            old = head.sample_weight[group, c]
            lost = head.curvature[group, c] * np.divide(old - new, old, out=np.zeros_like(old), where=old > 0) / count
            changed = group[lost != 0]
            if len(changed):
                rows, lost = head.space.rows[changed], lost[lost != 0]
                half = scipy.linalg.solve_triangular(factor, rows.T, lower=True, check_finite=False)
                inner = np.diag(1 / lost) - half.T @ half
                share = np.linalg.solve(inner, rows @ solved[:, k])
                solved[:, k] += scipy.linalg.solve_triangular(factor, half @ share, lower=True, trans="T")
        return np.asarray(solved)


def _best_length(
    logits: Array, moved: Array, weight: Array, tags: Array, theta: Array, direction: Array, l2: float
) -> Array:
    """Return for each column the t >= 0 that minimises its objective at theta + t direction, (b,).

    Newton's method on the slope, which increases with t, safeguarded by a bracket of its root.
    """
    count = len(logits)
    linear, square = l2 * (theta * direction).sum(axis=0), l2 * (direction**2).sum(axis=0)
    low, high = np.zeros(logits.shape[1]), np.full(logits.shape[1], np.inf)
    length = np.ones(logits.shape[1])
    for _ in range(LENGTH_STEPS):
        probability = expit(logits + length * moved)
        slope = (weight * (probability - tags) * moved).sum(axis=0) / count + linear + length * square
        bend = (weight * probability * (1 - probability) * moved**2).sum(axis=0) / count + square
        low, high = np.where(slope < 0, length, low), np.where(slope < 0, high, length)
        newton = length - np.divide(slope, bend, out=np.zeros_like(slope), where=bend > 0)
        inside = (low <= newton) & (newton <= high)
        length = np.where(inside, newton, np.where(np.isinf(high), 2 * length, (low + high) / 2))
    return length
