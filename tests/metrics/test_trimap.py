from __future__ import annotations

import numpy as np
import pytest

from igcam.metrics.boundary import TRIMAP_WIDTHS, trimap_counts, trimap_iou
from igcam.metrics.confusion_matrix import confusion, scores


def halves(column: int, width: int = 30) -> np.ndarray:
    mask = np.zeros((10, width), np.uint8)
    mask[:, column:] = 1
    return mask


def test_bands_by_hand() -> None:
    # The class changes between columns 14 and 15; the prediction changes two columns later.
    counts = trimap_counts(halves(15), halves(17), 1, (1, 2, 4))
    assert [band.counts.sum() for band in counts] == [20, 40, 80]
    assert counts[0].counts.tolist() == [[10, 0], [10, 0]]
    assert counts[1].counts.tolist() == [[20, 0], [20, 0]]
    assert counts[2].counts.tolist() == [[40, 0], [20, 20]]
    np.testing.assert_allclose(trimap_iou(counts), [0.25, 0.25, (4 / 6 + 2 / 4) / 2])


def test_a_wide_band_is_the_whole_image() -> None:
    random = np.random.default_rng(0)
    truth, prediction = random.integers(0, 3, (2, 20, 25)).astype(np.uint8)
    truth[3:6, 2:9] = 255
    widest = trimap_counts(truth, prediction, 2)[-1]
    np.testing.assert_array_equal(widest.counts, confusion(truth, prediction, 2).counts)
    assert trimap_iou([widest])[0] == pytest.approx(scores(widest).miou)


def test_widths_are_distances() -> None:
    truth = np.zeros((21, 21), np.uint8)
    truth[10, 10] = 1
    # Of the pixels beside the only one of its class, the nearest is at most w - 1 away.
    rows, columns = np.indices(truth.shape)
    beside = [(10, 10), (9, 10), (11, 10), (10, 9), (10, 11)]
    distance = np.min([np.hypot(rows - y, columns - x) for y, x in beside], axis=0)
    for width, band in zip((1, 2, 3, 5), trimap_counts(truth, truth, 1, (1, 2, 3, 5)), strict=True):
        assert band.counts.sum() == (distance <= width - 1).sum()


def test_in_an_unknown_ring_the_change_runs_along_the_middle() -> None:
    truth = halves(15)
    truth[:, 13:17] = 255
    narrow, wide = trimap_counts(truth, truth, 1, (2, 3))
    assert not narrow.counts.any(), "the two pixels on either side are unknown"
    assert wide.counts.tolist() == [[10, 0], [0, 10]]


def test_the_edge_of_the_image_is_no_boundary() -> None:
    bands = trimap_counts(np.ones((9, 9), np.uint8), np.ones((9, 9), np.uint8), 1)
    assert np.isnan(trimap_iou(bands)).all()
    assert len(bands) == len(TRIMAP_WIDTHS) == 40


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="widths: must grow"):
        trimap_counts(halves(3), halves(3), 1, (2, 2))
    with pytest.raises(ValueError, match=r"ids must be 0\.\.1 or 255"):
        trimap_counts(halves(15) * 3, halves(15), 1)
