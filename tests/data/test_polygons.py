from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from igcam.data.formats.yolo import SIDES
from igcam.data.polygons import outlines

regions = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda shape: arrays(bool, shape))


def drawn_by_coco(rings: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    if not rings:
        return np.zeros(shape, bool)
    return coco.decode(coco.merge(coco.frPyObjects([ring.ravel().tolist() for ring in rings], *shape))).astype(bool)


def drawn_with_lines(rings: list[np.ndarray], shape: tuple[int, int], whole: np.ufunc) -> np.ndarray:
    """Draw as most readers of YOLO do: whole pixels, the line included."""
    canvas = np.zeros(shape, np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [whole(ring).astype(np.int32)], 1)
    return canvas.astype(bool)


@settings(deadline=None, max_examples=60)
@given(regions)
def test_coco_draws_the_same_region(region: np.ndarray) -> None:
    np.testing.assert_array_equal(drawn_by_coco(outlines(region), region.shape), region)


@settings(deadline=None, max_examples=60)
@given(regions, st.sampled_from([np.floor, np.round]))
def test_readers_that_draw_the_line_draw_the_same_region(region: np.ndarray, whole: np.ufunc) -> None:
    np.testing.assert_array_equal(drawn_with_lines(outlines(region, SIDES), region.shape, whole), region)


def test_a_rectangle_has_four_corners_on_the_edges_of_its_pixels() -> None:
    region = np.zeros((6, 9), bool)
    region[1:4, 2:8] = True
    (ring,) = outlines(region)
    assert {tuple(corner) for corner in ring.tolist()} == {(2, 1), (8, 1), (8, 4), (2, 4)}
    assert len(ring) == 4


def test_a_hole_is_cut_in_from_the_left() -> None:
    region = np.ones((7, 8), bool)
    region[2:5, 3:6] = False
    (ring,) = outlines(region)
    # Four corners outside, four of the hole, and the way there and back.
    assert len(ring) == 11
    assert cv2.contourArea(ring.astype(np.float32)) == region.sum()


def test_diagonal_neighbours_are_one_part_and_others_two() -> None:
    assert len(outlines(np.eye(2, dtype=bool))) == 1
    assert len(outlines(np.array([[True, False, True]]))) == 2


def test_a_single_pixel_is_a_polygon() -> None:
    (ring,) = outlines(np.ones((1, 1), bool))
    assert len(ring) == 4
    (ring,) = outlines(np.ones((1, 1), bool), (0, 0))
    assert len(ring) == 3


def test_tolerance_buys_fewer_corners() -> None:
    rows, columns = np.mgrid[:120, :160]
    region = ((rows - 60) / 50) ** 2 + ((columns - 80) / 70) ** 2 < 1
    region &= ((rows - 50) / 20) ** 2 + ((columns - 90) / 25) ** 2 > 1
    corners, shares = [], []
    for tolerance in (0, 0.75, 2, 5):
        rings = outlines(region, tolerance=tolerance)
        drawn = drawn_by_coco(rings, region.shape)
        corners.append(sum(map(len, rings)))
        shares.append((drawn & region).sum() / (drawn | region).sum())
    assert shares[0] == 1
    assert shares[1] > 0.98
    assert shares[2] > 0.95
    assert corners == sorted(corners, reverse=True)
    assert corners[2] < corners[0] / 5


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((3, 4), bool)) == []
    with pytest.raises(ValueError, match="region must be bool"):
        outlines(np.zeros((3, 4)))
