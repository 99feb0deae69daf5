"""From affinities to the transitions of a walk."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

Affinity = TypeVar("Affinity", NDArray[np.float32], scipy.sparse.csr_array)


def by_rows(affinity: Affinity, *, in_place: bool = False) -> Affinity:
    """Divide every row by its sum; a row of zeros stays.

    A walk with it takes means, so that constant maps stay constant.

    Args:
        affinity: (n, n), at least 0, dense or sparse.
        in_place: Write over a dense one, which saves as much memory again.
    """
    factor = _inverse(affinity.sum(axis=1))
    if isinstance(affinity, np.ndarray):
        return np.multiply(affinity, factor[:, None], out=affinity if in_place else None)
    return scipy.sparse.csr_array(scipy.sparse.diags_array(factor) @ affinity)


def symmetrically(affinity: Affinity) -> Affinity:
    """Divide by the roots of the sums of row and column: `D^(-1/2) W D^(-1/2)`, as manifold ranking does.

    A symmetric affinity stays so, and its largest eigenvalue is one.

    Args:
        affinity: (n, n), at least 0, dense or sparse.

    Source:
        Zhou et al., "Ranking on data manifolds", 2003.
    """
    return _scaled(affinity, np.sqrt(_inverse(affinity.sum(axis=1))), np.sqrt(_inverse(affinity.sum(axis=0))))


def _inverse(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    total = np.asarray(sums, np.float32).ravel()
    # The inverse of what is smaller is infinite: such a row counts as empty.
    return np.divide(1, total, out=np.zeros_like(total), where=total >= np.finfo(np.float32).tiny)


def _scaled(affinity: Affinity, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Affinity:
    if isinstance(affinity, np.ndarray):
        return affinity * rows[:, None] * columns
    return scipy.sparse.csr_array(scipy.sparse.diags_array(rows) @ affinity @ scipy.sparse.diags_array(columns))
