from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from igcam.core.errors import IgcamError
from igcam.proposals.promptable import GateOptions, concept_segments, contrast, gated, prompted_segments

IMAGE = np.zeros((20, 40, 3), np.uint8)


def region(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((20, 40), bool)
    mask[rows, columns] = True
    return mask


LEFT, RIGHT = region(slice(4, 16), slice(2, 16)), region(slice(4, 16), slice(24, 38))


def activation() -> np.ndarray:
    """A map of 10 x 20 places that is active on a part of LEFT only."""
    found = np.zeros((10, 20), np.float32)
    found[3:7, 2:6] = 0.45
    found[5, 3] = 1.0
    return found


class StandIn:
    """Answers a prompt with what it lies in, and remembers the prompts."""

    def __init__(self) -> None:
        self.points, self.boxes = np.zeros((0, 2)), np.zeros((0, 4))

    def __call__(self, image: np.ndarray, points: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.points, self.boxes = points, boxes
        masks = [LEFT if x < 20 else RIGHT for x, _ in points] + [region(slice(0, 20), slice(0, 40)) for _ in boxes]
        return np.array(masks, bool).reshape(-1, 20, 40), np.full(len(masks), 0.9, np.float32)


def test_a_peak_becomes_a_whole_object() -> None:
    segmenter = StandIn()
    found = prompted_segments(IMAGE, activation(), segmenter)
    np.testing.assert_allclose(segmenter.points, [[7, 11]])  # the middle of column 3 of 20, row 5 of 10
    np.testing.assert_allclose(segmenter.boxes, [[4, 6, 12, 14]])
    # The answer to the box is everything, and no object.
    np.testing.assert_array_equal(found.masks, LEFT[None])
    inside, outside = (activation().repeat(2, 0).repeat(2, 1)[part].mean() for part in (LEFT, ~LEFT))
    assert found.scores[0] == pytest.approx(0.9 * min((inside - outside) / 0.4, 1), abs=0.05)


def test_without_a_peak_nothing_is_asked() -> None:
    def never(image: np.ndarray, points: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("was asked")

    found = prompted_segments(IMAGE, np.full((10, 20), 0.1), never)
    assert found.masks.shape == (0, 20, 40)


def answers(*masks: np.ndarray) -> Callable[[np.ndarray, str], tuple[np.ndarray, np.ndarray]]:
    def segmenter(image: np.ndarray, concept: str) -> tuple[np.ndarray, np.ndarray]:
        assert concept == "polar bear"
        return np.array(masks, bool).reshape(-1, 20, 40), np.full(len(masks), 0.8, np.float32)

    return segmenter


def test_a_name_is_asked_for_and_answers_elsewhere_are_dropped() -> None:
    found = concept_segments(IMAGE, activation(), "polar_bear", answers(RIGHT, LEFT))
    np.testing.assert_array_equal(found.masks, LEFT[None])
    assert 0 < found.scores[0] <= 0.8
    assert len(concept_segments(IMAGE, activation(), "polar bear", answers(RIGHT))) == 0
    assert len(concept_segments(IMAGE, activation(), "polar bear", answers())) == 0


def test_of_two_alike_answers_the_more_trusted_stays() -> None:
    smaller = LEFT.copy()
    smaller[:, 15] = False
    found = gated(np.stack([LEFT, smaller]), np.array([0.5, 0.9], np.float32), LEFT.astype(float))
    np.testing.assert_array_equal(found.masks, smaller[None])
    apart = GateOptions(full_contrast=0.2)
    np.testing.assert_allclose(gated(LEFT[None], np.array([2.0], np.float32), LEFT.astype(float), apart).scores, [1])


def test_contrast_by_hand() -> None:
    masks = np.array([[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[1, 1, 1, 1]]], bool)
    np.testing.assert_allclose(contrast(masks, np.array([[0.8, 0.4, 0.2, 0.0]])), [0.5, -1, -1], rtol=1e-6)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(IgcamError, match="full_contrast must be"):
        GateOptions(full_contrast=0)
