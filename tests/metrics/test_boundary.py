from __future__ import annotations

import numpy as np
import pytest

from igcam.metrics.boundary import boundary_counts, boundary_iou, inner_band
from igcam.metrics.confusion_matrix import IGNORE


def naive_band(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels of the mask from which some pixel outside is at most `width` rows and columns away."""
    padded = np.pad(mask, width)
    band = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        band[y, x] = not padded[y : y + 2 * width + 1, x : x + 2 * width + 1].all()
    return band


def test_band_of_a_square_by_hand() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[2:7, 2:7] = True
    band = inner_band(mask, 1)
    assert band.sum() == 16
    assert not band[3:6, 3:6].any()
    assert inner_band(mask, 2).sum() == 24
    assert inner_band(mask, 3).sum() == 25


def test_beyond_the_image_is_outside() -> None:
    band = inner_band(np.ones((5, 7), dtype=bool), 1)
    assert band.sum() == 2 * 7 + 2 * 3
    assert not band[1:-1, 1:-1].any()


@pytest.mark.parametrize("width", [1, 2, 4])
def test_band_agrees_with_its_definition(width: int) -> None:
    mask = np.random.default_rng(width).random((13, 21)) < 0.97
    np.testing.assert_array_equal(inner_band(mask, width), naive_band(mask, width))
    np.testing.assert_array_equal(inner_band(mask.T, width), naive_band(mask.T, width))


def test_counts_of_a_shifted_square_by_hand() -> None:
    truth, prediction = np.zeros((12, 12), dtype=np.uint8), np.zeros((12, 12), dtype=np.uint8)
    truth[2:7, 2:7] = 1
    prediction[2:7, 3:8] = 1
    counts = boundary_counts(truth, prediction, classes=2)  # d = round(0.02 * 17) = 0, raised to 1
    # The rings share 4 pixels in the top and bottom rows each; side columns 3 and 6 cross no others.
    assert counts[1].tolist() == [8, 24]
    assert counts[2].tolist() == [0, 0]
    assert boundary_iou(counts).iou[1] == pytest.approx(8 / 24)
    assert boundary_iou(counts).absent == (2,)


def test_distance_is_a_share_of_the_diagonal() -> None:
    truth = np.zeros((300, 400), dtype=np.uint8)
    truth[100:200, 100:200] = 1
    assert boundary_counts(truth, truth, 1)[1].tolist() == [100**2 - 80**2] * 2
    assert boundary_counts(truth, truth, 1, dilation_ratio=0.005)[1].tolist() == [100**2 - 96**2] * 2


def test_counts_add_up_over_images() -> None:
    generator = np.random.default_rng(0)
    truth = [(generator.random((30, 40)) < 0.5).astype(np.uint8) for _ in range(2)]
    counts = [boundary_counts(t, np.roll(t, 1), 1) for t in truth]
    intersection, union = (sum(c[1, column] for c in counts) for column in (0, 1))
    assert boundary_iou(counts[0] + counts[1]).iou[1] == pytest.approx(intersection / union)


def test_ignored_pixels_are_taken_out_of_both_masks() -> None:
    truth = np.zeros((60, 60), dtype=np.uint8)
    truth[20:40, 20:40] = 1
    truth[18:20, 18:42] = truth[40:42, 18:42] = truth[18:42, 18:20] = truth[18:42, 40:42] = IGNORE
    reaching_into_it = np.zeros_like(truth)
    reaching_into_it[19:41, 19:41] = 1
    scores = boundary_iou(boundary_counts(truth, reaching_into_it, 1))
    assert scores.miou == 1


def test_a_predicted_255_is_background() -> None:
    truth = np.zeros((20, 20), dtype=np.uint8)
    truth[5:15, 5:15] = 1
    unanswered = np.where(truth == 1, 1, IGNORE).astype(np.uint8)
    assert boundary_iou(boundary_counts(truth, unanswered, 1)).miou == 1


def test_blurs_the_boundary_more_than_the_inside() -> None:
    truth, prediction = np.zeros((200, 200), dtype=np.uint8), np.zeros((200, 200), dtype=np.uint8)
    truth[50:150, 50:150] = 1
    prediction[53:153, 50:150] = 1
    mask_iou = 9700 / 10300
    assert boundary_iou(boundary_counts(truth, prediction, 1)).iou[1] < mask_iou - 0.3


def test_bad_input_is_refused() -> None:
    mask = np.zeros((4, 4), dtype=np.uint8)
    with pytest.raises(ValueError, match="like truth"):
        boundary_counts(mask, mask[:3], 1)
    with pytest.raises(ValueError, match=r"ids must be 0..1 or 255, got 2"):
        boundary_counts(mask, mask + 2, 1)
    with pytest.raises(ValueError, match="dilation_ratio"):
        boundary_counts(mask, mask, 1, dilation_ratio=0)
    with pytest.raises(ValueError, match="at least one boundary"):
        boundary_iou(boundary_counts(mask + 255, mask, 1))
