from __future__ import annotations

import numpy as np
import pytest

from igcam.metrics.boundary import contour_counts, contour_scores


def square(top: int, left: int, side: int, size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def naive(truth: np.ndarray, prediction: np.ndarray, index: int, reach: float) -> tuple[int, int]:
    """Matched and all contour pixels of a prediction, from the definition."""

    def contour(mask: np.ndarray) -> list[tuple[int, int]]:
        found = []
        for y, x in np.argwhere(mask == index):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            values = [mask[a, b] for a, b in around if 0 <= a < mask.shape[0] and 0 <= b < mask.shape[1]]
            if any(value != index for value in values):
                found.append((y, x))
        return found

    true, predicted = contour(truth), contour(prediction)
    near = [any(np.hypot(y - b, x - a) <= reach for b, a in true) for y, x in predicted]
    return sum(near), len(predicted)


def test_a_shifted_square_by_hand() -> None:
    # The tolerance is ceil(0.008 * 56.6) = 1 pixel. Each contour has 36 pixels.
    truth, prediction = square(10, 10, 10), square(10, 12, 10)
    counts = contour_counts(truth, prediction, 1)
    # Of the top and bottom rows, nine pixels of ten are matched. Of the prediction's left side the two ends lie
    # one pixel from the true rows, the rest is two pixels from any; of its right side nothing is near.
    assert counts[1].tolist() == [20, 36, 20, 36]
    assert contour_scores(counts).f[1] == pytest.approx(20 / 36)
    assert contour_scores(contour_counts(truth, square(10, 11, 10), 1)).mean_f == 1


def test_agrees_with_its_definition() -> None:
    random = np.random.default_rng(0)
    truth, prediction = (np.kron(random.integers(0, 3, (5, 6)), np.ones((4, 4), int)) for _ in range(2))
    truth, prediction = truth.astype(np.uint8), prediction.astype(np.uint8)
    for tolerance, reach in ((0.008, 1), (0.06, 2), (0.1, 4)):
        counts = contour_counts(truth, prediction, 2, tolerance)
        for index in range(3):
            assert tuple(counts[index, :2]) == naive(truth, prediction, index, reach)


def test_one_side_alone_scores_zero_and_none_is_absent() -> None:
    counts = contour_counts(square(5, 5, 9), np.zeros((40, 40), np.uint8), 2)
    result = contour_scores(counts)
    assert result.f[1] == 0
    assert result.recall[1] == 0
    assert np.isnan(result.precision[1])
    assert np.isnan(result.f[2])
    assert result.mean_f == 0
    with pytest.raises(ValueError, match="counts: must hold at least one contour pixel"):
        contour_scores(contour_counts(np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8), 1))


def test_the_border_of_the_image_is_no_contour() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[:, :8] = 1
    assert contour_counts(truth, truth, 1)[1].tolist() == [20] * 4, "one column, not the three other sides"


def test_in_an_unknown_ring_the_contour_runs_along_the_middle() -> None:
    truth = np.zeros((20, 200), np.uint8)  # the reach is 2 pixels
    truth[:, :100] = 1
    truth[:, 98:102] = 255
    for column in range(95, 106):
        prediction = np.zeros_like(truth)
        prediction[:, :column] = 1
        counts = contour_counts(truth, prediction, 1)
        assert counts[1, [1, 3]].tolist() == [20, 20]
        assert (counts[1, 0] == 20) == (98 <= column <= 102), column


def test_contours_deep_in_the_unknown_do_not_count() -> None:
    truth = np.zeros((20, 200), np.uint8)
    truth[:, :60] = 1
    truth[:, 60:140] = 255
    prediction = np.zeros_like(truth)
    prediction[:, :100] = 1
    prediction[5:9, 90:95] = 0
    assert not contour_counts(truth, prediction, 1).any()
    nothing = np.full_like(truth, 255)
    assert not contour_counts(nothing, prediction, 1).any()


def test_a_prediction_of_255_is_background() -> None:
    truth, prediction = square(10, 10, 10), square(10, 10, 10)
    prediction[prediction == 0] = 255
    assert contour_scores(contour_counts(truth, prediction, 1)).mean_f == 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="prediction: must be"):
        contour_counts(np.zeros((3, 3), np.uint8), np.zeros((3, 4), np.uint8), 1)
    with pytest.raises(ValueError, match=r"ids must be 0\.\.1 or 255, got 2"):
        contour_counts(np.full((3, 3), 2, np.uint8), np.zeros((3, 3), np.uint8), 1)
    with pytest.raises(ValueError, match="tolerance: must lie between 0 and 1"):
        contour_counts(np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.uint8), 1, 0)
