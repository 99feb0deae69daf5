"""The dense CRF on tensors, for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from igcam.refine.crf import CRFParameters
from igcam.refine.lattice_tensors import TensorLattice


def dense_crf_tensors(
    image: Tensor,
    probability: Tensor,
    parameters: CRFParameters | None = None,
    *,
    floor: float = 1e-5,
    compatibility: Tensor | None = None,
) -> Tensor:
    """Do what `igcam.refine.dense_crf` does, with the same answer, where the tensors are.

    Args:
        image: uint8 (3, H, W), or a batch (N, 3, H, W), solved one after the other.
        probability: Float (K, H, W) in 0..1, on the same device, or (N, K, H, W) with a batch.
        parameters: Defaults to `CRFParameters()`, the parameters of IRN.
        floor: Smallest probability that is told from 0.
        compatibility: Float (K, K), the cost of label k beside label l, symmetric; None is that of Potts.

    Returns:
        float32, of the shape of `probability`, summing to one over the classes.

    Raises:
        ValueError: Shapes or values are out of these ranges.
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
    costs = None if compatibility is None else _checked_costs(compatibility, classes).to(log_unary)
    kernels = _kernels(image, parameters)
    belief = log_unary.softmax(dim=0)
    uniform = torch.full_like(belief[:1], 1 / classes)
    for _ in range(parameters.iterations):
        # As in dense_crf: deviations from uniform sum to zero over the labels.
        deviation = belief[1:] - 1 / classes
        others = sum((weight * lattice.filter(deviation) for weight, lattice in kernels), torch.zeros_like(deviation))
        message = torch.cat([-others.sum(dim=0, keepdim=True), others])
        if costs is not None:
            message = -costs @ (message + sum(weight * lattice.filter(uniform) for weight, lattice in kernels))
        before, belief = belief, (log_unary + message).softmax(dim=0)
        if parameters.converged > 0 and (belief - before).abs().max() <= parameters.converged:
            break
    return belief.reshape(probability.shape)


def _checked_costs(compatibility: Tensor, classes: int) -> Tensor:
    costs = compatibility.float()
    symmetric = costs.shape == (classes, classes) and torch.allclose(costs, costs.T)
    if not symmetric or not bool(torch.isfinite(costs).all()):
        raise ValueError(
            f"compatibility: must be finite, symmetric and ({classes}, {classes}), got {tuple(costs.shape)}"
        )
    return costs


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
