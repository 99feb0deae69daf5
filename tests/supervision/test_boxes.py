from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from igcam.data.cue import BoxCue, PointCue
from igcam.refine.affinity import DenseAffinityOptions
from igcam.supervision.conditioning import (
    MarkOptions,
    constrain_activation,
    constrain_prediction,
    touch_sides,
    within_boxes,
)
from igcam.supervision.constraints import AnnotatedImage, BoxRegion

RELAXED = settings(max_examples=30, deadline=None)


def test_every_box_has_a_maximum_of_one() -> None:
    activation = np.zeros((2, 2, 6), np.float32)
    activation[0, 0] = [0.2, 0.1, 0.9, 0.4, 0.1, 0]
    activation[1] = 0.3
    boxes = (BoxRegion(1, slice(0, 1), slice(0, 2)), BoxRegion(1, slice(0, 1), slice(3, 5)))
    found = within_boxes(activation, boxes)
    np.testing.assert_allclose(found[0, 0], [1, 0.5, 0, 1, 0.25, 0])
    assert not found[0, 1].any()
    np.testing.assert_array_equal(found[1], activation[1])


def test_a_box_without_activation_is_an_object_all_over() -> None:
    found = within_boxes(np.zeros((1, 3, 3), np.float32), (BoxRegion(1, slice(1, 3), slice(0, 2)),))
    np.testing.assert_array_equal(found[0], [[0, 0, 0], [1, 1, 0], [1, 1, 0]])


def test_rows_and_columns_of_a_box_are_touched() -> None:
    object_here = np.array([[0.9, 0.2, 0.1], [0.3, 0.1, 0.1], [0.1, 0.2, 0.1]], np.float32)
    probability = np.stack([1 - object_here, object_here])
    found = touch_sides(probability, (BoxRegion(1, slice(0, 2), slice(0, 2)),), 0.6)[1]
    np.testing.assert_allclose(found[0, 0], 0.9, atol=1e-6)
    np.testing.assert_allclose(found[1, 0], 0.6, atol=1e-5)
    np.testing.assert_allclose(found[0, 1], 0.6, atol=1e-5)
    assert found[1, 1] < 0.6
    np.testing.assert_allclose(found[2], object_here[2], atol=1e-6)
    np.testing.assert_allclose(found[:, 2], object_here[:, 2], atol=1e-6)


@RELAXED
@given(seed=st.integers(0, 99), top=st.integers(0, 4), left=st.integers(0, 4), label=st.integers(1, 2))
def test_the_sides_are_touched_whatever_the_map(seed: int, top: int, left: int, label: int) -> None:
    random = np.random.default_rng(seed)
    probability = random.dirichlet([1, 0.2, 0.2], (6, 6)).transpose(2, 0, 1).astype(np.float32)
    box = BoxRegion(label, slice(top, 6), slice(left, 5))
    found = touch_sides(probability, (box,), 0.7)
    inside = found[label, box.rows, box.columns]
    assert inside.max(axis=0).min() > 0.69
    assert inside.max(axis=1).min() > 0.69
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-4)
    assert (inside >= probability[label, box.rows, box.columns] - 1e-4).all()


def test_the_affinity_is_asked_for_where_there_are_marks_only() -> None:
    annotated = AnnotatedImage((BoxCue(label=1, left=0, top=0, right=2, bottom=3),), 3, 3, 1)
    asked: list[DenseAffinityOptions] = []

    def affinity(options: DenseAffinityOptions) -> np.ndarray:
        asked.append(options)
        return np.eye(9, dtype=np.float32)

    flat, even, marks = np.full((1, 3, 3), 0.5, np.float32), np.full((2, 3, 3), 0.5, np.float32), MarkOptions()
    boxed = constrain_activation(flat, annotated.at(3, 3), affinity, marks)
    np.testing.assert_array_equal(boxed[0], [[1, 1, 0]] * 3)
    assert (constrain_prediction(even, annotated.at(3, 3), affinity, marks)[1, :, 2] == 0).all()
    assert not asked
    pointed = replace(annotated, cues=(*annotated.cues, PointCue(label=1, x=2.5, y=0.5)))
    assert constrain_activation(flat, pointed.at(3, 3), affinity, marks)[0, 0, 2] == 1
    assert constrain_prediction(even, pointed.at(3, 3), affinity, marks)[1, 0, 2] == 1
    assert asked == [marks.affinity] * 2
