"""Random walk, permutohedral lattice and dense CRF on tensors, for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from igcam.refine.crf import CRFParameters, checked_costs
from igcam.refine.lattice import lattice_scale


def walk_tensors(
    transition: Tensor,
    seeds: Tensor,
    steps: int,
    *,
    restart: float | Tensor = 0.0,
    clamped: Tensor | None = None,
    competition: float = 1.0,
) -> Tensor:
    """Do what `igcam.refine.walk` does, with the same answer, on any device; gradients flow.

    The transition is (n, n), dense or sparse, for seeds (K, n), or dense (N, n, n) for a batch (N, K, n). Other
    arguments and errors are those of `walk`; scores have the shape, type and device of the seeds.
    """
    nodes = seeds.shape[-1]
    if transition.shape[-2:] != (nodes, nodes) or transition.dim() != seeds.dim():
        raise ValueError(f"transition: must be (..., {nodes}, {nodes}), got {tuple(transition.shape)}")
    if not bool(torch.isfinite(seeds).all()):
        raise ValueError("seeds: must be finite, got NaN or infinity")
    share = torch.as_tensor(restart, dtype=seeds.dtype, device=seeds.device)
    if steps < 0 or not competition >= 1 or not bool(((share >= 0) & (share <= 1)).all()):
        raise ValueError(f"steps, restart, competition: out of range, got {steps}, {restart}, {competition}")
    share = share.expand(nodes).unsqueeze(-1)
    start = seeds.transpose(-1, -2)
    scores = start
    for _ in range(steps):
        moved = (1 - share) * (transition @ scores) + share * start
        if competition > 1:
            raised = moved**competition
            total = raised.sum(dim=-1, keepdim=True).clamp(min=1e-30)
            moved = raised * (moved.sum(dim=-1, keepdim=True) / total)
        scores = moved if clamped is None else torch.where(clamped.unsqueeze(-1), start, moved)
    return scores.transpose(-1, -2)


class TensorLattice:
    """`igcam.refine.lattice.PermutohedralLattice` on any device, from operations on whole tensors.

    Vertices are found by sorting their keys. Arguments, errors and source are the same, but for float32 features.
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
        # The last column stays zero and stands for missing neighbours.
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
    """Return the index of the neighbour of each vertex; the number of vertices where it has none."""
    wanted = vertices + step
    position = torch.searchsorted(vertices, wanted).clamp(max=len(vertices) - 1)
    return torch.where(vertices[position] == wanted, position, len(vertices))


def dense_crf_tensors(
    image: Tensor,
    probability: Tensor,
    parameters: CRFParameters | None = None,
    *,
    floor: float = 1e-5,
    compatibility: Tensor | None = None,
) -> Tensor:
    """Do what `igcam.refine.dense_crf` does, with the same answer, on any device.

    The image is uint8 (3, H, W) and the probability float (K, H, W), or both are batches (N, ...), solved one after the
    other. Other arguments and errors are those of `dense_crf`; the result has the shape of `probability`, float32.
    """
    if image.dim() == 4 and probability.dim() == 4 and len(image) == len(probability) > 0:
        pairs = zip(image, probability, strict=True)
        options = {"floor": floor, "compatibility": compatibility}
        return torch.stack([dense_crf_tensors(*pair, parameters, **options) for pair in pairs])  # type: ignore[arg-type]
    if image.dim() != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise ValueError(f"image: must be uint8 (3, H, W), got {image.dtype} {tuple(image.shape)}")
    if probability.dim() != 3 or probability.shape[1:] != image.shape[1:] or 0 in probability.shape:
        raise ValueError(
            f"probability: must be (K, {image.shape[1]}, {image.shape[2]}), got {tuple(probability.shape)}"
        )
    if not bool(torch.isfinite(probability).all()) or probability.min() < -1e-4 or probability.max() > 1 + 1e-4:
        raise ValueError("probability: must be finite and lie in 0..1")
    parameters = parameters or CRFParameters()
    classes = len(probability)
    log_unary = probability.float().clamp(floor, 1).log().reshape(classes, -1)
    costs = None
    if compatibility is not None:
        costs = torch.from_numpy(checked_costs(compatibility.detach().cpu().numpy(), classes)).to(log_unary)
    kernels = _kernels(image, parameters)
    marginal = log_unary.softmax(dim=0)
    uniform = torch.full_like(marginal[:1], 1 / classes)
    for _ in range(parameters.iterations):
        # As in dense_crf: deviations from uniform sum to zero over the labels.
        deviation = marginal[1:] - 1 / classes
        others = sum((weight * lattice.filter(deviation) for weight, lattice in kernels), torch.zeros_like(deviation))
        message = torch.cat([-others.sum(dim=0, keepdim=True), others])
        if costs is not None:
            message = -costs @ (message + sum(weight * lattice.filter(uniform) for weight, lattice in kernels))
        before, marginal = marginal, (log_unary + message).softmax(dim=0)
        if parameters.converged > 0 and (marginal - before).abs().max() <= parameters.converged:
            break
    return marginal.reshape(probability.shape)


def _kernels(image: Tensor, parameters: CRFParameters) -> list[tuple[float, TensorLattice]]:
    height, width = image.shape[1:]
    rows, columns = torch.meshgrid(
        *(torch.arange(side, dtype=torch.float32, device=image.device) for side in (height, width)), indexing="ij"
    )
    position = torch.stack([columns.flatten(), rows.flatten()], dim=1)
    kernels = []
    if parameters.gaussian_weight > 0:
        lattice = TensorLattice(position / parameters.gaussian_width, normalise=True)
        kernels.append((parameters.gaussian_weight, lattice))
    if parameters.bilateral_weight > 0:
        colour = image.float().reshape(3, -1).T / parameters.bilateral_colour
        features = torch.cat([position / parameters.bilateral_width, colour], dim=1)
        kernels.append((parameters.bilateral_weight, TensorLattice(features, normalise=True)))
    return kernels
