"""The random walk on tensors, on a GPU where they are on one."""

from __future__ import annotations

import torch
from torch import Tensor


def walk_tensors(
    transition: Tensor,
    seeds: Tensor,
    steps: int,
    *,
    restart: float | Tensor = 0.0,
    clamped: Tensor | None = None,
    competition: float = 1.0,
) -> Tensor:
    """Do what `igcam.refine.walk` does, with the same answer, where the tensors are; gradients flow.

    Args:
        transition: (n, n), dense or sparse.
        seeds: Float (K, n), or (N, K, n) with dense transitions (N, n, n).
        steps: At least 0.
        restart: One number, or (n,).
        clamped: Bool (n,), nodes that keep their seeds.
        competition: At least 1.

    Returns:
        The scores, of the shape, type and device of the seeds.

    Raises:
        ValueError: A shape does not fit, a seed is not finite, or a number is out of its range.
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
        spread = (1 - share) * (transition @ scores) + share * start
        if competition > 1:
            raised = spread**competition
            total = raised.sum(dim=-1, keepdim=True).clamp(min=1e-30)
            spread = raised * (spread.sum(dim=-1, keepdim=True) / total)
        scores = spread if clamped is None else torch.where(clamped.unsqueeze(-1), start, spread)
    return scores.transpose(-1, -2)
