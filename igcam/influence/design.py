"""Checked inputs of linear heads, and their training rows in few dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from igcam.core.errors import IgcamError


def checked_features(name: str, features: ArrayLike, width: int | None = None, keep: bool = False) -> np.ndarray:
    """Return features as float64 (n, D), or as they are where `keep` is set and they are float.

    ValueError unless they are finite, not empty and of this width.
    """
    array = np.asarray(features)
    array = array if keep and array.dtype.kind == "f" else array.astype(np.float64, copy=False)
    if array.ndim != 2 or 0 in array.shape or (width is not None and array.shape[1] != width):
        rule = "(n, D)" if width is None else f"(n, {width})"
        raise ValueError(f"{name}: shape must be {rule} with n and D at least 1, got {array.shape}")
    if not np.isfinite(array).all():
        count = np.count_nonzero(~np.isfinite(array))
        raise ValueError(f"{name}: all values must be finite, got {count} that are NaN or infinite")
    return array


def checked_tags(name: str, tags: ArrayLike, count: int, classes: int | None = None) -> np.ndarray:
    """Return tags as float64 (count, C); ValueError for another shape or values outside [0, 1]."""
    array = np.asarray(tags, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != count or array.shape[1] != (classes or array.shape[1]):
        raise ValueError(f"{name}: shape must be ({count}, {classes or 'C'}), got {array.shape}")
    if array.shape[1] == 0:
        raise ValueError(f"{name}: at least one class is needed, got shape {array.shape}")
    bad = ~((array >= 0) & (array <= 1))
    if bad.any():
        raise ValueError(f"{name}: values must lie in [0, 1], got {array[bad][0]}")
    return array


def checked_labels(name: str, labels: ArrayLike, count: int, classes: int) -> NDArray[np.int64]:
    """Return labels as int64 (count,); ValueError unless they are integers in 0..classes - 1."""
    array = np.asarray(labels)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise ValueError(f"{name}: must be integers ({count},), got {array.dtype} {array.shape}")
    if array.min() < 0 or array.max() >= classes:
        raise ValueError(f"{name}: must lie in 0..C - 1 with C = {classes}, got {array.min()}..{array.max()}")
    return array.astype(np.int64)


def checked_weight(name: str, weight: ArrayLike | None, count: int, classes: int) -> np.ndarray:
    """Return sample weights as float64 (count, C): ones for None, (count,) repeated over the classes.

    ValueError for another shape, or a value that is negative or not finite.
    """
    array = np.asarray(1.0 if weight is None else weight, dtype=np.float64)
    if weight is not None and array.shape not in {(count,), (count, classes)}:
        raise ValueError(f"{name}: shape must be ({count},) or ({count}, {classes}), got {array.shape}")
    bad = ~((array >= 0) & (array < np.inf))
    if bad.any():
        raise ValueError(f"{name}: values must be finite and at least 0, got {array[bad].flat[0]}")
    column = array[:, None] if array.ndim == 1 else array
    return np.broadcast_to(column, (count, classes))


def checked_l2(l2: float) -> float:
    """Return l2 as a float; IgcamError unless positive and finite, as there would be no unique optimum."""
    if not 0 < l2 < np.inf:
        raise IgcamError(f"l2: must be positive and finite, got {l2}")
    return float(l2)


def checked_head(weight: ArrayLike, bias: ArrayLike, classes: int, width: int) -> np.ndarray:
    """Return weight (C, D) and bias (C,) of a head, or of a gradient, as float64 (C, D + 1).

    ValueError for other shapes, or values that are not finite.
    """
    weight, bias = np.asarray(weight, dtype=np.float64), np.asarray(bias, dtype=np.float64)
    for name, array, shape in (("weight", weight, (classes, width)), ("bias", bias, (classes,))):
        if array.shape != shape:
            raise ValueError(f"{name}: shape must be {shape}, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: all values must be finite")
    return np.hstack([weight, bias[:, None]])


def with_constant(features: np.ndarray) -> np.ndarray:
    """Append a column of ones for the bias: (n, D) -> float64 (n, D + 1)."""
    rows = np.ones((len(features), features.shape[1] + 1))
    rows[:, :-1] = features
    return rows


@dataclass(frozen=True)
class RowSpace:
    """The training rows in coordinates of the space that they span.

    With P = D + 1 > n, gradients of the training losses span at most n directions; all others only see the l2 term.
    Rotating to those n directions (QR) is exact and leaves n x n problems: the dual form, without the cancellation of
    Woodbury's identity.
    """

    rows: np.ndarray
    """float64 (n, R): features and constant; R = min(n, P)."""
    basis: np.ndarray | None
    """float64 (P, R) with orthonormal columns, or None for R = P without rotation."""

    def into(self, vectors: np.ndarray) -> np.ndarray:
        """Project vectors (..., P) to coordinates (..., R)."""
        return vectors if self.basis is None else vectors @ self.basis

    def out_of(self, coordinates: np.ndarray) -> np.ndarray:
        """Return coordinates (..., R) as vectors (..., P)."""
        return coordinates if self.basis is None else coordinates @ self.basis.T


def row_space(features: np.ndarray) -> RowSpace:
    """Append the constant to features (n, D), and rotate them to n columns if D + 1 > n."""
    rows = with_constant(features)
    if rows.shape[1] <= rows.shape[0]:
        return RowSpace(rows, None)
    basis, triangle = np.linalg.qr(rows.T)
    return RowSpace(np.ascontiguousarray(triangle.T), basis)
