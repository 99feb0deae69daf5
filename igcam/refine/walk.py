"""A random walk that spreads seeds along affinities."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray


def walk(
    transition: scipy.sparse.csr_array | NDArray[np.floating],
    seeds: NDArray[np.floating],
    steps: int,
    *,
    restart: float | NDArray[np.floating] = 0.0,
    clamped: NDArray[np.bool_] | None = None,
    competition: float = 1.0,
) -> NDArray[np.float32]:
    """Replace the scores of every node by the mean over its neighbours, `steps` times.

    Every step is `p <- (1 - restart) T p + restart * seeds` on the nodes that are not clamped. With rows of T
    that sum to one, scores stay within the range of the seeds and constant maps stay constant. Competition
    raises the scores of a node to that power after each step and scales them back to their sum over the K
    rows, so that the best gains.

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
        spread = np.asarray(transition @ scores, np.float32)
        if restarts.any():
            spread = keep * spread + pull
        scores[free] = _compete(spread, competition) if competition > 1 else spread
    return np.ascontiguousarray(scores.T)


def _compete(scores: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """Sharpen (n, K) scores over K, keeping their sum."""
    raised = scores**power
    ones = np.ones(scores.shape[1], dtype=np.float32)  # a product sums over a short axis faster than `sum`
    scale = scores @ ones / np.maximum(raised @ ones, np.float32(1e-30))
    return np.asarray(raised * scale[:, None], dtype=np.float32)


def _check(seeds: NDArray[np.floating], steps: int, restarts: NDArray[np.float32], competition: float) -> None:
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
