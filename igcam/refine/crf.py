"""The fully connected CRF, solved by mean field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from igcam.core.validation import Natural, NonNegative, Positive, options
from igcam.refine.lattice import PermutohedralLattice, from_blocks, to_blocks
from igcam.refine.stack import check_image

Array = NDArray[np.float32]
Kernel = tuple[float, PermutohedralLattice]


@options
class CRFParameters:
    """Weights and widths (standard deviations) of the two kernels.

    The position kernel removes specks; the position and colour kernel moves edges to those of the image.
    """

    gaussian_width: Positive = 3.0
    """Width of the position kernel, in pixels."""
    gaussian_weight: NonNegative = 3.0
    """Its weight; 0 leaves it out."""
    bilateral_width: Positive = 50.0
    """Spatial width of the position and colour kernel, in pixels."""
    bilateral_colour: Positive = 5.0
    """Its colour width, in units of 0..255."""
    bilateral_weight: NonNegative = 10.0
    """Its weight; 0 leaves it out."""
    iterations: Natural = 10
    """Mean-field updates."""
    converged: NonNegative = 0.0
    """Updates end early once no probability changes by more than this; 0 does all of them."""

    def scaled(self, factor: float) -> CRFParameters:
        """Return the parameters for an image resized by `factor`, which scales both widths in pixels."""
        values = asdict(self)
        for name in ("gaussian_width", "bilateral_width"):
            values[name] *= factor
        return CRFParameters(**values)


CRF_PRESETS: Mapping[str, CRFParameters] = MappingProxyType(
    {
        "irn": CRFParameters(3, 3, 50, 5, 10),
        "seam": CRFParameters(3, 3, 80, 13, 10),
        "deeplab": CRFParameters(1, 3, 67, 3, 4),
        "toco": CRFParameters(1, 1, 121, 5, 4),
        "afa": CRFParameters(3, 3, 64, 5, 4),
        "weaktr": CRFParameters(4, 3, 83, 5, 3),
        "hfpl": CRFParameters(3, 3, 32, 13, 10),
    }
)
"""Parameters of published code; PSA has those of seam, CLIP-ES of deeplab, WeCLIP of afa, DuPL, SeCo and PFSR of
toco."""


def dense_crf(
    image: NDArray[np.uint8],
    probability: NDArray[np.floating],
    parameters: CRFParameters | None = None,
    *,
    floor: float = 1e-5,
    compatibility: NDArray[np.floating] | None = None,
) -> Array:
    """Sharpen class probabilities along the edges of the image.

    Give only the classes that are present: the cost grows with their number.

    Args:
        image: uint8 (H, W, 3).
        probability: Float (K, H, W) in 0..1; need not sum to one.
        parameters: Defaults to `CRFParameters()`, the parameters of IRN.
        floor: Smaller probabilities are raised to this.
        compatibility: Float (K, K), symmetric, the cost of label k beside label l; None is the Potts model.

    Returns:
        float32 (K, H, W) in 0..1, summing to one over the classes.

    Raises:
        ValueError: A shape, a dtype or a value is out of these ranges.

    Source: Kraehenbuehl and Koltun, "Efficient inference in fully connected CRFs with Gaussian edge potentials", 2011;
    kernels normalised symmetrically as in the authors' later code.
    """
    _check_stack(image, probability, "probability")
    low, high = float(probability.min()), float(probability.max())
    if low < -1e-4 or high > 1 + 1e-4:
        raise ValueError(f"probability: must lie in 0..1, got {low:.6g}..{high:.6g}")
    unary = -np.log(np.clip(probability, floor, 1), dtype=np.float32)
    return dense_crf_from_unary(image, unary, parameters, compatibility=compatibility)


def dense_crf_from_unary(
    image: NDArray[np.uint8],
    unary: NDArray[np.floating],
    parameters: CRFParameters | None = None,
    *,
    compatibility: NDArray[np.floating] | None = None,
) -> Array:
    """As `dense_crf`, from unary energies, float (K, H, W): negative log probabilities up to a constant."""
    _check_stack(image, unary, "unary")
    parameters = parameters or CRFParameters()
    classes, height, width = unary.shape
    costs = None if compatibility is None else checked_costs(compatibility, classes)
    if classes == 1:
        return np.ones((1, height, width), np.float32)
    kernels = _kernels(image, parameters)
    log_unary = to_blocks(np.negative(unary, dtype=np.float32).reshape(classes, -1))
    marginal = _softmax(np.zeros_like(log_unary), log_unary, classes)
    for _ in range(parameters.iterations):
        energy = _messages(kernels, marginal)
        if costs is not None:
            energy = to_blocks(-costs @ from_blocks(energy, classes))
        before, marginal = marginal, _softmax(energy, log_unary, classes)
        if parameters.converged > 0 and np.abs(marginal - before).max() <= parameters.converged:
            break
    return from_blocks(marginal, classes).reshape(classes, height, width)


def _messages(kernels: list[Kernel], marginal: Array) -> Array:
    """Return the filtered probabilities of each label, in blocks: the messages of the Potts model."""
    message = np.zeros_like(marginal)
    for weight, lattice in kernels:
        lattice.add_filtered(marginal, weight, message)
    return message


def _kernels(image: NDArray[np.uint8], parameters: CRFParameters) -> list[Kernel]:
    """Return the kernels of positive weight, each with its weight."""
    height, width = image.shape[:2]
    kernels = []
    if parameters.gaussian_weight > 0:
        kernels.append((parameters.gaussian_weight, _position_lattice(height, width, parameters.gaussian_width)))
    if parameters.bilateral_weight > 0:
        position = _positions(height, width) / np.float32(parameters.bilateral_width)
        colour = image.reshape(-1, 3).astype(np.float32) / np.float32(parameters.bilateral_colour)
        lattice = PermutohedralLattice(np.hstack([position, colour]), normalise=True)
        kernels.append((parameters.bilateral_weight, lattice))
    return kernels


@lru_cache(maxsize=4)
def _position_lattice(height: int, width: int, deviation: float) -> PermutohedralLattice:
    """Return the lattice of the pixel grid, kept because images of a data set share few sizes."""
    return PermutohedralLattice(_positions(height, width) / np.float32(deviation), normalise=True)


def _positions(height: int, width: int) -> Array:
    """Return x and y of every pixel, float32 (H * W, 2)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _softmax(energy: Array, log_unary: Array, classes: int) -> Array:
    """Add blocks (B, N, W) and normalise over the classes, in place of the first."""
    from igcam.refine.kernels import add_and_shift, divide_by_sum

    add_and_shift(energy, log_unary, classes)
    np.exp(energy, out=energy)
    divide_by_sum(energy)
    return energy


def checked_costs(compatibility: NDArray[np.floating], classes: int) -> Array:
    """Return costs of labels as float32 (K, K); ValueError unless they are finite and symmetric."""
    costs = np.asarray(compatibility, np.float32)
    if costs.shape != (classes, classes) or not np.isfinite(costs).all() or not np.allclose(costs, costs.T):
        raise ValueError(f"compatibility: must be finite, symmetric and ({classes}, {classes}), got {costs.shape}")
    return costs


def _check_stack(image: NDArray[np.uint8], stack: NDArray[np.floating], name: str) -> None:
    check_image(image)
    if stack.ndim != 3 or stack.shape[1:] != image.shape[:2] or 0 in stack.shape:
        raise ValueError(f"{name}: must be (K, {image.shape[0]}, {image.shape[1]}), got {stack.shape}")
    if not np.issubdtype(stack.dtype, np.floating):
        raise ValueError(f"{name}: must be floats, got {stack.dtype}")
    if not np.isfinite(stack).all():
        raise ValueError(f"{name}: must be finite, got NaN or infinity")
