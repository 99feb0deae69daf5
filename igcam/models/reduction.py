"""Principal components of the levels of a backbone: the features of heads in the frozen regime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.files import floats
from igcam.models.localiser import stack_levels


@dataclass(frozen=True)
class Reduction:
    """An affine map of the channels of every level, fitted without labels: means (D,), projections (D, k), float32.

    The projected values of a level have a mean square of one.
    """

    means: tuple[Tensor, ...]
    projections: tuple[Tensor, ...]

    def __call__(self, levels: Sequence[Tensor]) -> Tensor:
        """Reduce levels, float (N, D, h, w) each, and concatenate them on the finest: float32 (N, sum of k, h, w)."""
        reduced = []
        for level, mean, projection in zip(levels, self.means, self.projections, strict=True):
            # The mean is subtracted after the product, without a copy of the level.
            projected = projection.T @ level.flatten(2) - (mean @ projection)[:, None]
            reduced.append(projected.unflatten(2, level.shape[2:]))
        return stack_levels(reduced).contiguous()

    def to(self, device: torch.device) -> Reduction:
        """Return the same on a device."""
        return Reduction(*(tuple(part.to(device) for part in parts) for parts in (self.means, self.projections)))

    @property
    def depth(self) -> int:
        """Channels of the last level, which come last."""
        return self.projections[-1].shape[1]

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return sum(projection.shape[1] for projection in self.projections)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state, for a safetensors file."""
        named = {f"mean{index}": mean for index, mean in enumerate(self.means)}
        return named | {f"projection{index}": matrix for index, matrix in enumerate(self.projections)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Reduction:
        """Undo `tensors`; KeyError or ValueError if tensors are missing or do not fit each other."""
        count = len(tensors) // 2
        if not count:
            raise ValueError("it has no level")
        means = tuple(floats(tensors, f"mean{index}", 1) for index in range(count))
        projections = tuple(floats(tensors, f"projection{index}", 2) for index in range(count))
        for index, (mean, projection) in enumerate(zip(means, projections, strict=True)):
            if len(mean) != len(projection):
                raise ValueError(f"mean{index} has {len(mean)} channels, projection{index} others")
        return cls(means, projections)


def sample_locations(level: NDArray[np.floating], maximum: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return the channels of random locations of a map (D, h, w), float32 (m, D), m at most `maximum`."""
    flat = level.reshape(len(level), -1)
    chosen = np.sort(random.choice(flat.shape[1], min(maximum, flat.shape[1]), replace=False))
    return flat[:, chosen].T.astype(np.float32)


def fit_reduction(locations: Sequence[NDArray[np.floating]], components: Sequence[int]) -> Reduction:
    """Fit at most `components` principal components per level to samples of locations, float (n, D) per level."""
    means, projections = [], []
    for sample, maximum in zip(locations, components, strict=True):
        values = torch.from_numpy(np.asarray(sample, np.float32))
        mean = values.mean(dim=0)
        centred = values - mean
        covariance = (centred.T @ centred).double() / len(values)
        spectrum, vectors = torch.linalg.eigh(covariance)
        keep = min(maximum, covariance.shape[0])
        spectrum, vectors = spectrum.flip(0)[:keep], vectors.flip(1)[:, :keep]
        scale = spectrum.clamp(min=0).mean().sqrt().clamp(min=1e-6)
        means.append(mean)
        projections.append((vectors / scale).float())
    return Reduction(tuple(means), tuple(projections))
