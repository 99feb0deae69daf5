from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from igcam.data.cue import BoxCue, Cue, MaskCue, PointCue, ScribbleCue
from igcam.supervision.constraints import AnnotatedImage, constrain, replace_by_mask

RELAXED = settings(max_examples=30, deadline=None)


@dataclass(frozen=True)
class Mask:
    ids: np.ndarray

    def read(self) -> np.ndarray:
        return self.ids


def annotated(*cues: Cue, size: tuple[int, int] = (8, 12), classes: int = 2) -> AnnotatedImage:
    return AnnotatedImage(cues, *size, classes)


def whole(ids: np.ndarray, confidence: float = 1.0) -> AnnotatedImage:
    return annotated(MaskCue(source=Mask(ids), confidence=confidence), size=ids.shape)


def test_a_mask_becomes_shares_of_area() -> None:
    ids = np.array([[0, 0, 1, 1], [0, 0, 1, 2], [1, 255, 255, 255], [2, 255, 255, 255]], np.uint8)
    constraint = whole(ids).at(2, 2)
    assert constraint.whole
    np.testing.assert_allclose(constraint.confidence, [[1, 1], [0.5, 0]])
    np.testing.assert_allclose(constraint.probability[:, 0, 0], [1, 0, 0])
    np.testing.assert_allclose(constraint.probability[:, 0, 1], [0, 0.75, 0.25])
    np.testing.assert_allclose(constraint.probability[:, 1, 0], [0, 0.5, 0.5])
    assert not constraint.probability[:, 1, 1].any()
    prior = np.full((3, 2, 2), 1 / 3, np.float32)
    np.testing.assert_allclose(replace_by_mask(prior, constraint)[:, 1], [[0, 1 / 3], [0.5, 1 / 3], [0.5, 1 / 3]])


@RELAXED
@given(
    ids=arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.sampled_from([0, 1, 2, 255])),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    confidence=st.floats(0, 1),
)
def test_masks_of_any_size_give_evidence(ids: np.ndarray, rows: int, columns: int, confidence: float) -> None:
    constraint = whole(ids, confidence).at(min(rows, ids.shape[0]), min(columns, ids.shape[1]))
    assert constraint.probability.dtype == constraint.confidence.dtype == constraint.allowed.dtype == np.float32
    sums = constraint.probability.sum(axis=0)
    np.testing.assert_allclose(sums[constraint.confidence > 0], 1, atol=1e-5)
    assert constraint.confidence.min() >= 0
    assert constraint.confidence.max() <= confidence + 1e-6
    for label in {0, 1, 2} - set(np.unique(ids)):
        assert not constraint.probability[label].any()


def test_points_are_certain_of_the_place_that_they_are_in() -> None:
    cues = (PointCue(label=2, x=6.2, y=1.9), PointCue(label=0, x=0, y=7.5, confidence=0.5))
    constraint = annotated(*cues).at(4, 6)
    assert np.argwhere(constraint.confidence).tolist() == [[0, 3], [3, 0]]
    assert (constraint.confidence[0, 3], constraint.confidence[3, 0]) == (1, 0.5)
    np.testing.assert_array_equal(constraint.probability[:, 0, 3], [0, 0, 1])
    np.testing.assert_array_equal(constraint.probability[:, 3, 0], [1, 0, 0])
    assert [mark.label for mark in constraint.marks] == [2, 0]
    assert (constraint.allowed == 1).all()


def test_scribbles_mark_every_place_that_they_cross() -> None:
    constraint = annotated(ScribbleCue(label=1, points=((0.5, 0.5), (11.5, 0.5)), width=1)).at(2, 3)
    np.testing.assert_array_equal(constraint.confidence, [[1, 1, 1], [0, 0, 0]])


def test_two_classes_in_one_place_share_it() -> None:
    constraint = annotated(PointCue(label=1, x=0, y=0), PointCue(label=2, x=1, y=1)).at(2, 3)
    np.testing.assert_allclose(constraint.probability[:, 0, 0], [0, 0.5, 0.5])


def test_the_mask_of_an_object_says_nothing_of_the_rest() -> None:
    ids = np.zeros((8, 12), np.uint8)
    ids[:4, :6] = 7
    constraint = annotated(MaskCue(source=Mask(ids), label=2, value=7)).at(2, 3)
    assert not constraint.whole
    np.testing.assert_allclose(constraint.confidence, [[1, 0.5, 0], [0, 0, 0]])
    np.testing.assert_allclose(constraint.probability[2], [[1, 1, 0], [0, 0, 0]])


def test_a_class_is_allowed_within_its_boxes_only() -> None:
    cues = (
        BoxCue(label=1, left=0, top=0, right=4, bottom=4),
        BoxCue(label=1, left=8, top=4, right=11, bottom=8),
    )
    constraint = annotated(*cues).at(2, 3)
    np.testing.assert_allclose(constraint.allowed[1], [[1, 0, 0], [0, 0, 0.75]])
    assert (constraint.allowed[[0, 2]] == 1).all()
    assert [(box.rows, box.columns) for box in constraint.boxes] == [
        (slice(0, 1), slice(0, 1)),
        (slice(1, 2), slice(2, 3)),
    ]
    assert not constraint.confidence.any()


@pytest.mark.parametrize(("left", "right", "columns"), [(3.9, 8, (1, 2)), (3, 8.3, (0, 2)), (1.1, 1.2, (0, 1))])
def test_a_box_touches_places_by_a_tenth_of_them(left: float, right: float, columns: tuple[int, int]) -> None:
    constraint = annotated(BoxCue(label=1, left=left, top=0, right=right, bottom=8)).at(1, 3)
    assert constraint.boxes[0].columns == slice(*columns)


def test_constraining_keeps_what_is_certain_and_takes_out_what_cannot_be() -> None:
    cues = (BoxCue(label=1, left=0, top=0, right=4, bottom=8), PointCue(label=2, x=11, y=0))
    constraint = annotated(*cues).at(1, 3)
    prior = np.array([[0.2, 0.1, 0.5], [0.6, 0.6, 0.4], [0.2, 0.3, 0.1]], np.float32)[:, None]
    kept = constrain(prior, constraint)
    np.testing.assert_allclose(kept[:, 0, 0], [0.2, 0.6, 0.2], atol=1e-6)
    np.testing.assert_allclose(kept[:, 0, 1], [0.25, 0, 0.75], atol=1e-6)
    np.testing.assert_allclose(kept[:, 0, 2], [0, 0, 1], atol=1e-6)
    only = np.array([0, 1, 0], np.float32)[:, None, None].repeat(3, axis=2)
    np.testing.assert_allclose(constrain(only, constraint)[:, 0, 1], [1, 0, 0])


def test_some_classes_alone() -> None:
    cues = (PointCue(label=2, x=11, y=0), PointCue(label=1, x=0, y=0))
    constraint = annotated(*cues).at(1, 3).of(np.array([0, 2]))
    np.testing.assert_array_equal(constraint.confidence, [[0, 0, 1]])
    np.testing.assert_array_equal(constraint.probability[:, 0, 2], [0, 1])
    assert constraint.allowed.shape == (2, 1, 3)
