from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from igcam.data.cue import BoxCue, Cue, MaskCue, PointCue
from igcam.data.objects import MaskObject, split_objects

ROW = np.array([[0, 1, 1, 1, 1, 1, 1, 0, 2, 2, 255]], np.uint8)


@dataclass(frozen=True, eq=False)
class Given:
    mask: np.ndarray

    def read(self) -> np.ndarray:
        return self.mask


def box(left: int, right: int, label: int = 1, instance: str | int | None = None, bottom: int = 1) -> BoxCue:
    return BoxCue(label=label, instance=instance, left=left, top=0, right=right, bottom=bottom)


def numbers(mask: np.ndarray, *cues: Cue) -> list[int]:
    """Return the number of the object of each pixel, in the order of the objects."""
    canvas = np.zeros(mask.shape, np.uint8)
    for number, thing in enumerate(split_objects(mask, cues), start=1):
        assert thing.area == thing.region.sum() > 0
        thing.paint(canvas, number)
    return canvas.ravel().tolist()


def test_connected_pixels_of_a_class_are_an_object() -> None:
    mask = np.array([[1, 0, 1, 2], [0, 1, 0, 2], [0, 0, 0, 0], [1, 0, 0, 255]], np.uint8)
    found = split_objects(mask)
    assert [(thing.label, thing.box, thing.area) for thing in found] == [
        (1, (0, 0, 3, 2), 3),
        (1, (0, 3, 1, 1), 1),
        (2, (3, 0, 1, 2), 2),
    ]


def test_boxes_part_what_touches() -> None:
    assert numbers(ROW) == [0, 1, 1, 1, 1, 1, 1, 0, 2, 2, 0]
    assert numbers(ROW, box(1, 4), box(4, 7)) == [0, 1, 1, 1, 2, 2, 2, 0, 3, 3, 0]


def test_of_two_boxes_the_smaller_has_the_pixel() -> None:
    assert numbers(ROW, box(1, 7), box(3, 5)) == [0, 1, 1, 2, 2, 1, 1, 0, 3, 3, 0]


def test_masks_go_before_boxes() -> None:
    drawn = MaskCue(label=1, source=Given(np.array([[0, 0, 0, 0, 9, 9, 9, 9, 9, 0, 0]], np.uint8)), value=9)
    assert numbers(ROW, drawn, box(3, 5)) == [0, 1, 1, 1, 2, 2, 2, 0, 3, 3, 0]


def test_the_rest_of_a_part_goes_to_the_nearest() -> None:
    assert numbers(ROW, box(1, 2), box(5, 7)) == [0, 1, 1, 1, 2, 2, 2, 0, 3, 3, 0]
    # A part without any cue of its own is an object.
    apart = np.array([[1, 1, 0, 1, 1]], np.uint8)
    assert numbers(apart, box(0, 1)) == [1, 1, 0, 2, 2]


def test_one_instance_may_have_several_cues_and_parts() -> None:
    apart = np.array([[1, 1, 0, 1, 1]], np.uint8)
    assert numbers(apart, box(0, 2, instance="a"), box(3, 5, instance="a")) == [1, 1, 0, 1, 1]
    assert numbers(apart, box(0, 2, instance=1), box(3, 5, instance="1")) == [1, 1, 0, 2, 2]
    assert numbers(apart, box(0, 5)) == [1, 1, 0, 1, 1]


def test_cues_of_other_classes_and_kinds_say_nothing() -> None:
    point = PointCue(label=1, x=1, y=0)
    whole = MaskCue(source=Given(ROW))
    assert numbers(ROW, point, whole, box(1, 4, label=2)) == numbers(ROW)


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255]))
    ),
    st.lists(st.tuples(st.integers(0, 8), st.integers(1, 5), st.sampled_from([1, 2])), max_size=3),
)
def test_objects_are_the_mask_again(mask: np.ndarray, boxes: list[tuple[int, int, int]]) -> None:
    height, width = mask.shape
    cues = [box(left, min(left + size, width), label, bottom=height) for left, size, label in boxes if left < width]
    canvas = np.where(mask == 255, 255, 0).astype(np.uint8)
    covered = np.zeros(mask.shape, int)
    for thing in split_objects(mask, cues):
        thing.paint(canvas, thing.label)
        once = np.zeros(mask.shape, int)
        thing.paint(once, 1)
        covered += once
    np.testing.assert_array_equal(canvas, mask)
    assert covered.max(initial=0) <= 1


def test_a_wrong_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="mask must be uint8"):
        split_objects(np.zeros((2, 2), int))


def test_an_object_is_cut_out_of_an_image() -> None:
    region = np.zeros((4, 6), bool)
    region[1:3, 4] = True
    thing = MaskObject.cut(3, region)
    assert (thing.box, thing.area) == ((4, 1, 1, 2), 2)
    assert thing.to_image(np.array([[0.0, 0.5]])).tolist() == [[4, 1.5]]
