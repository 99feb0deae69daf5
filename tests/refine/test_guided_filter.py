from __future__ import annotations

import numpy as np
import pytest
from refiner_suite import RefinerSuite, photo, stack

from igcam.refine.filters import guided_filter


class TestGuidedFilter(RefinerSuite):
    refine = staticmethod(guided_filter)
    keeps_constant_maps = True


def naive(guide: np.ndarray, layer: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """The filter from its equations, windows cut at the border, in float64."""
    height, width = layer.shape
    slope, offset = np.zeros((height, width, 3)), np.zeros(layer.shape)

    def around(y: int, x: int) -> tuple[slice, slice]:
        return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)

    for y, x in np.ndindex(height, width):
        colours, values = guide[around(y, x)].reshape(-1, 3), layer[around(y, x)].ravel()
        spread = (colours - colours.mean(axis=0)).T @ (values - values.mean()) / len(values)
        slope[y, x] = np.linalg.solve(np.cov(colours.T, bias=True) + epsilon * np.eye(3), spread)
        offset[y, x] = values.mean() - slope[y, x] @ colours.mean(axis=0)
    result = np.zeros(layer.shape)
    for y, x in np.ndindex(height, width):
        mean = slope[around(y, x)].reshape(-1, 3).mean(axis=0)
        result[y, x] = mean @ guide[y, x] + offset[around(y, x)].mean()
    return result


def test_agrees_with_its_equations() -> None:
    image, probability = photo(18, 22), stack(2, 18, 22)
    expected = naive(image / 255.0, probability[0].astype(np.float64), 3, 0.05**2)
    np.testing.assert_allclose(guided_filter(image, probability, 3, 0.05)[0], expected, atol=1e-4)


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="radius, contrast: must be"):
        guided_filter(photo(4, 4), stack(2, 4, 4), 0)
