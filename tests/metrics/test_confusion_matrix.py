from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from igcam.metrics.confusion_matrix import IGNORE, Confusion, confusion, scores

MASKS = hnp.arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 1, 2, 3, IGNORE]))


def test_hand_worked_counts() -> None:
    truth = np.array([[0, 0, 1, 1], [2, 2, 255, 255]], dtype=np.uint8)
    prediction = np.array([[0, 1, 1, 255], [2, 0, 1, 255]], dtype=np.uint8)

    result = confusion(truth, prediction, classes=3)

    expected = np.zeros((4, 4), dtype=np.int64)
    expected[0, 0] = expected[0, 1] = expected[1, 1] = expected[2, 2] = expected[2, 0] = 1
    expected[1, 0] = 1  # the true 1 predicted as 255 counts as background
    np.testing.assert_array_equal(result.counts, expected)
    assert result.counts.dtype == np.int64
    assert result.predicted_ignore == 1  # the one whose truth is 255 is not scored


def test_hand_worked_scores() -> None:
    truth = np.array([[0, 0, 1, 1], [2, 2, 255, 255]], dtype=np.uint8)
    prediction = np.array([[0, 1, 1, 255], [2, 0, 1, 255]], dtype=np.uint8)

    result = scores(confusion(truth, prediction, classes=3))

    np.testing.assert_allclose(result.iou, [1 / 4, 1 / 3, 1 / 2, np.nan])
    np.testing.assert_allclose(result.fpr, [2 / 4, 1 / 3, 0, np.nan])
    np.testing.assert_allclose(result.fnr, [1 / 4, 1 / 3, 1 / 2, np.nan])
    assert result.miou == pytest.approx((1 / 4 + 1 / 3 + 1 / 2) / 3)
    assert result.absent == (3,)
    assert result.pixel_accuracy == pytest.approx(3 / 6)
    assert result.foreground_iou == pytest.approx(2 / 5)


def test_foreground_iou_ignores_which_class() -> None:
    truth = np.array([[1, 1, 0, 0]], dtype=np.uint8)
    prediction = np.array([[2, 2, 2, 0]], dtype=np.uint8)

    result = scores(confusion(truth, prediction, classes=2))

    assert result.foreground_iou == pytest.approx(2 / 3)
    assert result.iou[1] == 0
    assert result.iou[2] == 0


def test_no_foreground_anywhere_is_not_a_score() -> None:
    empty = np.zeros((2, 2), dtype=np.uint8)
    result = scores(confusion(empty, empty, classes=2))
    assert np.isnan(result.foreground_iou)
    assert result.miou == 1
    assert result.absent == (1, 2)


def test_classes_absent_from_one_image_count_over_the_set() -> None:
    one, two = np.full((1, 4), 1, dtype=np.uint8), np.full((1, 4), 2, dtype=np.uint8)
    total = sum((confusion(m, m, 2) for m in (one, two)), start=Confusion.zeros(2))
    assert scores(total).absent == (0,)
    assert scores(total).miou == 1


@settings(max_examples=40, deadline=None)
@given(truth=MASKS, prediction=MASKS)
def test_agrees_with_torchmetrics(truth: np.ndarray, prediction: np.ndarray) -> None:
    answered = np.where(prediction == IGNORE, 0, prediction)
    oracle = MulticlassConfusionMatrix(num_classes=4, ignore_index=IGNORE)
    expected = oracle(torch.from_numpy(answered).long(), torch.from_numpy(truth).long()).numpy()
    np.testing.assert_array_equal(confusion(truth, prediction, 3).counts, expected)


def test_iou_agrees_with_torchmetrics() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 6, (40, 50)).astype(np.uint8)
    prediction = np.where(generator.random(truth.shape) < 0.6, truth, generator.integers(0, 6, truth.shape))
    truth[:5] = IGNORE
    oracle = MulticlassJaccardIndex(num_classes=6, ignore_index=IGNORE, average="none")
    expected = oracle(torch.from_numpy(prediction).long(), torch.from_numpy(truth).long()).numpy()
    np.testing.assert_allclose(scores(confusion(truth, prediction, 5)).iou, expected, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(truth=MASKS, prediction=MASKS, cut=st.integers(0, 7))
def test_parts_add_up_and_errors_fill_the_union(truth: np.ndarray, prediction: np.ndarray, cut: int) -> None:
    whole = confusion(truth, prediction, 3)
    parts = confusion(truth[:cut], prediction[:cut], 3) + confusion(truth[cut:], prediction[cut:], 3)
    np.testing.assert_array_equal(parts.counts, whole.counts)
    assert parts.predicted_ignore == whole.predicted_ignore
    assert whole.counts.sum() == np.count_nonzero(truth != IGNORE)
    if whole.counts.sum():
        result = scores(whole)
        np.testing.assert_allclose((result.iou + result.fpr + result.fnr)[~np.isnan(result.iou)], 1)


def test_any_integer_type_is_read() -> None:
    truth = np.array([[0, 1, 255]])
    assert confusion(truth.astype(np.int64), truth.astype(np.uint16), 1).counts.trace() == 2


@pytest.mark.parametrize(
    ("truth", "prediction", "classes", "message"),
    [
        (
            np.zeros((2, 2), np.uint8),
            np.zeros((2, 3), np.uint8),
            1,
            "prediction: must have the shape of truth",
        ),
        (
            np.full((1, 2), 2, np.uint8),
            np.zeros((1, 2), np.uint8),
            1,
            r"truth: ids must be 0..1 or 255, got \[2\]",
        ),
        (np.zeros((1, 2), np.uint8), np.full((1, 2), 9, np.uint8), 1, r"prediction: ids must .* got \[9\]"),
        (
            np.full((1, 2), 255, np.uint8),
            np.full((1, 2), 9, np.uint8),
            1,
            r"prediction: ids must .* got \[9\]",
        ),
        (np.full((1, 2), -1), np.zeros((1, 2), np.uint8), 1, "truth: ids must lie in 0..255"),
        (np.zeros((1, 2)), np.zeros((1, 2), np.uint8), 1, "truth: must be an array of integers"),
        (np.zeros((1, 2), np.uint8), np.zeros((1, 2), np.uint8), 255, "classes: must lie in 1..254"),
    ],
)
def test_bad_input_is_refused(truth: np.ndarray, prediction: np.ndarray, classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion(truth, prediction, classes)


def test_sets_that_cannot_be_scored_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one scored pixel"):
        scores(Confusion.zeros(2))
    with pytest.raises(ValueError, match="shapes must agree"):
        Confusion.zeros(2) + Confusion.zeros(3)
