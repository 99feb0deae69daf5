from __future__ import annotations

import numpy as np
import pytest

from igcam.core.errors import IgcamError
from igcam.proposals.promptable import PromptOptions, active_boxes, peak_points


def two_hills() -> np.ndarray:
    """A map of 10 x 20 places: a high hill, a lower one far away, and a shoulder beside the high one."""
    activation = np.zeros((10, 20), np.float32)
    activation[2:5, 2:6] = 0.6
    activation[3, 4] = 1.0
    activation[3, 2] = 0.7
    activation[6:9, 14:18] = 0.6
    activation[7, 15] = 0.8
    return activation


def test_peaks_are_the_highest_places_far_from_higher_ones() -> None:
    points = peak_points(two_hills())
    assert points.dtype == np.float32
    # Columns 4 and 15 of 20, rows 3 and 7 of 10; the shoulder in column 2 is a tenth of the width away.
    np.testing.assert_allclose(points, [[4.5 / 20, 3.5 / 10], [15.5 / 20, 7.5 / 10]])
    nearer = peak_points(two_hills(), PromptOptions(peak_distance=0.05))
    np.testing.assert_allclose(nearer[:3, 0] * 20, [4.5, 15.5, 2.5])


def test_the_number_of_points_and_their_height_are_limited() -> None:
    assert len(peak_points(two_hills(), PromptOptions(max_points=1))) == 1
    assert len(peak_points(two_hills(), PromptOptions(min_peak=0.9))) == 1
    assert peak_points(two_hills(), PromptOptions(max_points=0)).shape == (0, 2)


def test_an_even_map_has_peaks_apart_from_each_other() -> None:
    points = peak_points(np.ones((6, 6)), PromptOptions(max_points=50))
    gaps = np.linalg.norm(points[:, None] - points, axis=2)[~np.eye(len(points), dtype=bool)]
    assert gaps.min() >= 0.15 - 1e-6


def test_boxes_go_around_connected_places_largest_first() -> None:
    activation = two_hills()
    activation[0, 19] = 1.0  # too small for a box
    boxes = active_boxes(activation)
    np.testing.assert_allclose(boxes, np.array([[2, 2, 6, 5], [14, 6, 18, 9]]) / [20, 10, 20, 10], rtol=1e-6)
    assert len(active_boxes(activation, PromptOptions(max_boxes=1))) == 1
    assert len(active_boxes(activation, PromptOptions(min_box=0.0))) == 3
    tight = active_boxes(two_hills(), PromptOptions(box_level=0.9, min_box=0.0))
    np.testing.assert_allclose(tight, [[4 / 20, 3 / 10, 5 / 20, 4 / 10]], rtol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.2])
def test_a_map_without_a_peak_has_no_prompts(level: float) -> None:
    activation = np.full((8, 8), level)
    assert peak_points(activation).shape == (0, 2)
    assert active_boxes(activation).shape == (0, 4)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(IgcamError, match="min_peak must be 0 to 1, got 2"):
        PromptOptions(min_peak=2)
