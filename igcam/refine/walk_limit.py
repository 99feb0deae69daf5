"""Where a random walk with restart ends: the closed form."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

Array = NDArray[np.float32]


def walk_limit(
    transition: scipy.sparse.csr_array | NDArray[np.floating], seeds: NDArray[np.floating], restart: float
) -> Array:
    """Return what `walk` with restart tends to: `restart (I - (1 - restart) T)^-1 seeds`.

    Dense transitions are solved directly. Sparse ones are factorised, which is exact and fast for neighbourhoods
    of one pixel and small images; with far neighbours `walk` needs less memory.

    Args:
        transition: (n, n), dense or sparse, with rows that sum to one or less.
        seeds: Float (K, n).
        restart: Share of the seeds in every step, above 0 and at most 1.

    Returns:
        float32 (K, n).

    Raises:
        ValueError: A shape does not fit, a value is not finite, or `restart` is out of its range.

    Source:
        Zhou et al., "Ranking on data manifolds", 2003, where 1 - restart is called alpha.
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
