"""Random walks that propagate scores along affinities."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

Array = NDArray[np.float32]
Affinity = TypeVar("Affinity", Array, scipy.sparse.csr_array)


def by_rows(affinity: Affinity, *, in_place: bool = False) -> Affinity:
    """Divide every row by its sum: a walk with it takes means. A row of zeros stays.

    The affinity, (n, n), is at least 0, dense or sparse; `in_place` overwrites a dense one.
    """
    total = np.asarray(affinity.sum(axis=1), np.float32).ravel()
    # Smaller sums would have an infinite inverse: such a row counts as empty.
    factor = np.divide(1, total, out=np.zeros_like(total), where=total >= np.finfo(np.float32).tiny)
    if isinstance(affinity, np.ndarray):
        return np.multiply(affinity, factor[:, None], out=affinity if in_place else None)
    return scipy.sparse.csr_array(scipy.sparse.diags_array(factor) @ affinity)


def walk(
    transition: scipy.sparse.csr_array | NDArray[np.floating],
    seeds: NDArray[np.floating],
    steps: int,
    *,
    restart: float | NDArray[np.floating] = 0.0,
    clamped: NDArray[np.bool_] | None = None,
    competition: float = 1.0,
) -> Array:
    """Replace the scores of every node by the mean over its neighbours, `steps` times.

    Every step is `p <- (1 - restart) T p + restart * seeds` on the nodes that are not clamped. With rows of T that sum
    to one, scores stay within the range of the seeds. Competition raises the scores of a node to that power after each
    step and rescales them to their sum over the K rows, so that the best gains.

    Args:
        transition: (n, n), sparse or dense, or (m, n) with the rows of the m nodes that are not clamped, in order.
        seeds: Float (K, n).
        steps: At least 0.
        restart: Share of the seeds in every step, in 0..1: one number, or (n,) with one for each node.
        clamped: Bool (n,), nodes that keep their seeds; None for none.
        competition: At least 1; 1 is none. Above 1 the seeds must not be negative.

    Returns:
        float32 (K, n).

    Raises:
        ValueError: A shape does not fit, a value is not finite, or a number is out of its range.
    """
    restarts = np.asarray(restart, dtype=np.float32)
    _check(seeds, steps, restarts, competition)
    nodes = seeds.shape[1]
    if clamped is not None and (clamped.shape != (nodes,) or clamped.dtype != bool):
        raise ValueError(f"clamped: must be bool ({nodes},), got {clamped.dtype} {clamped.shape}")
    free = np.arange(nodes) if clamped is None else np.flatnonzero(~clamped)
    if transition.shape == (nodes, nodes) and len(free) < nodes:
        transition = transition[free]
    if transition.shape != (len(free), nodes):
        raise ValueError(f"transition: must have {len(free)} or {nodes} rows of {nodes}, got {transition.shape}")
    scores = np.array(seeds.T, dtype=np.float32, order="C")
    share = np.broadcast_to(restarts, (nodes,))[free, None]
    pull, keep = share * scores[free], 1 - share
    for _ in range(steps):
        moved = np.asarray(transition @ scores, np.float32)
        if restarts.any():
            moved = keep * moved + pull
        scores[free] = _compete(moved, competition) if competition > 1 else moved
    return np.ascontiguousarray(scores.T)


def _compete(scores: Array, power: float) -> Array:
    """Sharpen (n, K) scores over K, keeping their sum."""
    raised = scores**power
    ones = np.ones(scores.shape[1], dtype=np.float32)  # a product sums over a short axis faster than `sum`
    scale = scores @ ones / np.maximum(raised @ ones, np.float32(1e-30))
    return np.asarray(raised * scale[:, None], dtype=np.float32)


def _check(seeds: NDArray[np.floating], steps: int, restarts: Array, competition: float) -> None:
    if seeds.ndim != 2 or not np.isfinite(seeds).all():
        raise ValueError(f"seeds: must be finite (K, n), got {seeds.dtype} {seeds.shape}")
    if steps < 0:
        raise ValueError(f"steps: must be at least 0, got {steps}")
    if restarts.shape not in ((), (seeds.shape[1],)) or not ((restarts >= 0) & (restarts <= 1)).all():
        raise ValueError(f"restart: must be one number or ({seeds.shape[1]},) in 0..1, got {restarts}")
    if not competition >= 1:
        raise ValueError(f"competition: must be at least 1, got {competition}")
    if competition > 1 and seeds.min(initial=0) < 0:
        raise ValueError(f"seeds: must be at least 0 with competition, got {seeds.min():.6g}")


def walk_limit(
    transition: scipy.sparse.csr_array | NDArray[np.floating], seeds: NDArray[np.floating], restart: float
) -> Array:
    """Return the limit of `walk` with restart, float32 (K, n): `restart (I - (1 - restart) T)^-1 seeds`.

    The transition (n, n), dense or sparse, has rows that sum to one or less; seeds are float (K, n), the restart is
    above 0 and at most 1. Dense transitions are solved directly, sparse ones factorised: exact, and fast for
    neighbourhoods of one pixel and small images; with far neighbours `walk` needs less memory.

    Raises:
        ValueError: A shape does not fit, a value is not finite, or `restart` is out of its range.

    Source: Zhou et al., "Ranking on data manifolds", 2003, where 1 - restart is called alpha.
    """
    nodes = seeds.shape[-1]
    if seeds.ndim != 2 or not np.isfinite(seeds).all():
        raise ValueError(f"seeds: must be finite (K, n), got {seeds.dtype} {seeds.shape}")
    if transition.shape != (nodes, nodes):
        raise ValueError(f"transition: must be ({nodes}, {nodes}), got {transition.shape}")
    if not 0 < restart <= 1:
        raise ValueError(f"restart: must be above 0 and at most 1, got {restart}")
    pull = restart * np.asarray(seeds, np.float64).T
    if isinstance(transition, np.ndarray):
        return np.linalg.solve(np.eye(nodes) - (1 - restart) * transition, pull).T.astype(np.float32)
    system = scipy.sparse.eye_array(nodes, format="csc") - (1 - restart) * scipy.sparse.csc_array(transition)
    solved = scipy.sparse.linalg.splu(scipy.sparse.csc_matrix(system)).solve(np.ascontiguousarray(pull))
    return np.ascontiguousarray(solved.T, dtype=np.float32)


def propagate(affinity: Array, maps: NDArray[np.floating]) -> Array:
    """Return maps (K, h, w) averaged along a symmetric affinity (h * w, h * w), float32 of the same shape."""
    flat = np.asarray(maps, np.float32).reshape(len(maps), -1)
    mean: Array = (flat @ affinity) / affinity.sum(axis=1)
    return mean.reshape(maps.shape)
