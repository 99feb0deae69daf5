"""The permutohedral lattice on tensors, for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from igcam.refine.lattice import lattice_scale


class TensorLattice:
    """Do what `igcam.refine.lattice.PermutohedralLattice` does, where the tensors are.

    Vertices are found by sorting their numbers, so that every step is an operation on whole tensors.

    Args:
        features: float32 (N, d), points already divided by the width along each axis.
        normalise: Scale the kernel on both sides so that its rows sum to about one.

    Raises:
        ValueError: The features are not (N, d) with N and d at least 1, or span so many cells that vertices cannot
            be numbered in 62 bits.

    Source:
        Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010.
    """

    def __init__(self, features: Tensor, *, normalise: bool = False) -> None:
        if features.dim() != 2 or 0 in features.shape:
            raise ValueError(f"features: must be (N, d) with N and d at least 1, got {tuple(features.shape)}")
        corner, rank, offset = _enclosing_simplex(_elevate(features.float()))
        strides = _strides(corner)
        keys = _vertex_keys(corner, rank, strides)
        vertices, vertex_of = torch.unique(keys, return_inverse=True)
        self._vertex_of = vertex_of
        self._weights = _barycentric(offset, rank)
        # Along each direction one coordinate grows by d and the others shrink by one.
        steps = corner.shape[1] * strides - strides.sum()
        self._neighbours = [(_find(vertices, -step), _find(vertices, step)) for step in steps]
        self._count = len(vertices)
        if normalise:
            sums = self.filter(torch.ones(1, len(features), device=features.device))[0]
            self._weights = self._weights / torch.sqrt(sums + 1e-20)[:, None]

    def filter(self, values: Tensor) -> Tensor:
        """Filter float32 (L, N) into a tensor of the same shape."""
        size = self._vertex_of.shape[1]
        # One place more, which stays zero, stands for missing neighbours.
        at = torch.zeros(len(values), self._count + 1, device=values.device)
        for corner in range(size):
            at.index_add_(1, self._vertex_of[:, corner], values * self._weights[:, corner])
        for before, after in self._neighbours:
            at[:, :-1] = at[:, :-1] + 0.5 * (at[:, before] + at[:, after])
        return sum(
            (at[:, self._vertex_of[:, corner]] * self._weights[:, corner] for corner in range(size)),
            start=torch.zeros_like(values),
        )


def _elevate(points: Tensor) -> Tensor:
    """Embed (N, d) points in the plane of d + 1 coordinates that sum to 0, at the scale of the blur."""
    dimensions = points.shape[1]
    scaled = points * torch.from_numpy(lattice_scale(dimensions)).to(points.device)
    elevated = torch.zeros(len(points), dimensions + 1, device=points.device)
    elevated[:, :-1] = scaled.flip(1).cumsum(1).flip(1)
    elevated[:, 1:] -= torch.arange(1, dimensions + 1, device=points.device) * scaled
    return elevated


def _enclosing_simplex(elevated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return corner, rank and offset, (N, d + 1) each; corners and offsets in units of d + 1."""
    size = elevated.shape[1]
    scaled = elevated / size
    corner = scaled.round()
    offset = scaled - corner
    # Rank 0 is the largest offset; of equal ones the first counts as larger.
    below = offset[:, :, None] < offset[:, None, :]
    earlier = torch.ones(size, size, dtype=torch.bool, device=elevated.device).tril(-1)
    equal = (offset[:, :, None] == offset[:, None, :]) & earlier
    rank = (below | equal).sum(dim=2) + corner.sum(dim=1, keepdim=True).long()
    shift = (rank < 0).long() - (rank >= size).long()
    return (corner + shift).long(), rank + size * shift, offset - shift


def _strides(corner: Tensor) -> Tensor:
    """Return multipliers that number vertices by their first d coordinates, with room for neighbours."""
    size = corner.shape[1]
    spans = [(int(column.max() - column.min()) + 5) * size for column in corner[:, :-1].T]
    strides, product = [0], 1
    for span in reversed(spans):
        strides.insert(0, product)
        product *= span
    if product >= 1 << 62:
        raise ValueError(f"features: must span fewer lattice cells, got {spans} along the axes")
    return torch.tensor(strides, device=corner.device)


def _vertex_keys(corner: Tensor, rank: Tensor, strides: Tensor) -> Tensor:
    """Number the vertices of every simplex: k adds k to every coordinate, less d + 1 where the rank is last."""
    size = corner.shape[1]
    keys = [(corner * (strides * size)).sum(dim=1)]
    for vertex in range(1, size):
        keys.append(keys[-1] + strides.sum() - ((rank == size - vertex) * strides * size).sum(dim=1))
    return torch.stack(keys, dim=1)


def _barycentric(offset: Tensor, rank: Tensor) -> Tensor:
    """Return the weights of the vertices, (N, d + 1); they sum to one."""
    ordered = torch.zeros_like(offset).scatter_(1, rank, offset)
    first = 1 + ordered[:, -1:] - ordered[:, :1]
    return torch.cat([first, (ordered[:, :-1] - ordered[:, 1:]).flip(1)], dim=1)


def _find(vertices: Tensor, step: Tensor) -> Tensor:
    """Return the position of each vertex's neighbour, and the number of vertices where it has none."""
    wanted = vertices + step
    position = torch.searchsorted(vertices, wanted).clamp(max=len(vertices) - 1)
    return torch.where(vertices[position] == wanted, position, len(vertices))
