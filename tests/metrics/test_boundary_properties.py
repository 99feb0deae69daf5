"""What must hold for all three metrics of boundaries, whatever the masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igcam.metrics.boundary import (
    boundary_counts,
    boundary_iou,
    contour_counts,
    contour_scores,
    trimap_counts,
    trimap_iou,
)

CLASSES = 3
RELAXED = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 9999)


def trimap_tables(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Return the confusions of all bands with the classes first."""
    return np.stack([band.counts for band in trimap_counts(truth, prediction, classes, (1, 2, 5))], axis=-1)


METRICS = (boundary_counts, contour_counts, trimap_tables)
metric = pytest.mark.parametrize("count", METRICS)


def masks(seed: int, height: int = 0, width: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A truth of blocks and a prediction that differs from it here and there."""
    random = np.random.default_rng(seed)
    height, width = height or int(random.integers(1, 40)), width or int(random.integers(1, 40))
    block = int(random.integers(1, 9))
    shape = (-(-height // block), -(-width // block))
    truth, other = random.integers(0, CLASSES + 1, (2, *shape)).repeat(block, axis=1).repeat(block, axis=2)
    wrong = random.random(truth.shape) < 0.2
    return tuple(m[:height, :width].astype(np.uint8) for m in (truth, np.where(wrong, other, truth)))  # type: ignore[return-value]


@metric
@RELAXED
@given(seed=seeds)
def test_flipped_and_turned_masks_count_the_same(count, seed: int) -> None:
    truth, prediction = masks(seed)
    expected = count(truth, prediction, CLASSES)
    for turn in (np.fliplr, np.flipud, np.transpose):
        np.testing.assert_array_equal(count(turn(truth), turn(prediction), CLASSES), expected)


@metric
@RELAXED
@given(seed=seeds, order=st.permutations(range(CLASSES + 1)))
def test_permuted_classes_permute_the_counts(count, seed: int, order: list[int]) -> None:
    truth, prediction = masks(seed)
    table = np.array(order, np.uint8)
    expected, found = count(truth, prediction, CLASSES), count(table[truth], table[prediction], CLASSES)
    both = np.ix_(order, order) if count is trimap_tables else (order,)
    np.testing.assert_array_equal(found[both], expected)


@metric
@RELAXED
@given(seed=seeds)
def test_truth_and_prediction_may_be_exchanged(count, seed: int) -> None:
    truth, prediction = masks(seed)
    if count is boundary_counts:
        np.testing.assert_array_equal(count(truth, prediction, CLASSES), count(prediction, truth, CLASSES))
    if count is contour_counts:
        exchanged = count(prediction, truth, CLASSES)[:, [2, 3, 0, 1]]
        np.testing.assert_array_equal(count(truth, prediction, CLASSES), exchanged)


@RELAXED
@given(seed=seeds)
def test_the_truth_scores_one(seed: int) -> None:
    truth, _ = masks(seed, 23, 31)
    truth[0, 0] = (truth[0, 1] + 1) % (CLASSES + 1)  # at least one change of class
    assert boundary_iou(boundary_counts(truth, truth, CLASSES)).miou == 1
    assert contour_scores(contour_counts(truth, truth, CLASSES)).mean_f == 1
    np.testing.assert_array_equal(trimap_iou(trimap_counts(truth, truth, CLASSES)), 1)


@metric
def test_masks_without_any_pixel_or_with_one_pixel(count) -> None:
    for shape in ((0, 0), (0, 5), (5, 0)):
        assert not count(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), CLASSES).any()
    one = np.ones((1, 1), np.uint8)
    counts = count(one, one, CLASSES)
    if count is boundary_counts:
        assert counts[1].tolist() == [1, 1], "beyond the image is outside, so that the only pixel is a band"
    if count is contour_counts:
        assert not counts.any(), "the border of the image is no contour"
    if count is trimap_tables:
        assert not counts.any(), "without a change of class there is no band"


@metric
def test_wrong_masks_are_refused_in_one_line(count) -> None:
    good = np.zeros((6, 7), np.uint8)
    nothing = np.full((6, 7), np.nan)
    for truth, prediction in ((good, good[:5]), (good[0], good[0]), (good, good + CLASSES + 1), (good, nothing)):
        with pytest.raises(ValueError, match="must") as caught:
            count(truth, prediction, CLASSES)
        assert "\n" not in str(caught.value)
