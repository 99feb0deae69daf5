from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igcam.commands.predicting.tiles import Mosaic, cut, rise, window
from igcam.refine.stack import resized


def tiled(soft: object, height: int, width: int, tile: int, overlap: int) -> np.ndarray:
    """Blend what `soft(rows, columns)` gives for each tile; classes that are nowhere in a tile are left out of it."""
    rows, columns = cut(height, tile, overlap), cut(width, tile, overlap)
    mosaic = Mosaic(rows, columns)
    result = np.full((3, height, width), np.nan, np.float32)
    for row, down in enumerate(rows):
        for column, across in enumerate(columns):
            part = soft(down, across)
            ids = np.flatnonzero(part.reshape(3, -1).any(axis=1)).astype(np.uint8)
            region = mosaic.add(row, column, ids, part[ids])
            target = result[:, region.rows, region.columns]
            assert np.isnan(target).all(), "nothing is finished twice"
            target[:] = 0
            target[region.ids] = region.probability
    return result


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 400), st.integers(2, 90), st.data())
def test_parts_cover_a_side_and_overlap_exactly(side: int, tile: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, tile // 3))
    parts = cut(side, tile, overlap)
    assert (parts[0].start, parts[-1].stop) == (0, side)
    assert all(0 < part.stop - part.start <= tile for part in parts)
    assert all(first.stop - second.start == overlap for first, second in pairwise(parts))
    assert all(third.start >= first.stop for first, third in zip(parts, parts[2:], strict=False))


def test_a_side_that_fits_is_not_cut() -> None:
    assert cut(64, 64, 16) == [slice(0, 64)]
    assert cut(100, 64, 16) == [slice(0, 58), slice(42, 100)]


def test_neighbours_share_by_a_smooth_wave_that_leaves_out_the_edges() -> None:
    assert rise(4).tolist() == pytest.approx([0, np.sin(np.pi / 8) ** 2, np.cos(np.pi / 8) ** 2, 1])
    assert np.allclose(rise(33) + rise(33)[::-1], 1)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(4, 40), st.data())
def test_tiles_of_one_map_become_that_map(height: int, width: int, tile: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, tile // 3))
    random = np.random.default_rng(height * 91 + width)
    # Blocks in which one class is alone, so that tiles differ in their classes.
    blocks = resized(random.random((3, 4, 4)), height, width, cv2.INTER_NEAREST)
    whole = blocks * (blocks == blocks.max(axis=0))
    found = tiled(lambda rows, columns: whole[:, rows, columns], height, width, tile, overlap)
    np.testing.assert_allclose(found, whole, atol=1e-6)


def test_a_predictor_that_looks_around_has_no_seams() -> None:
    random = np.random.default_rng(0)
    image = random.random((3, 90, 130)).astype(np.float32)

    def blurred(rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        # Covariant to translation but at the edges, where three pixels of context are missing.
        return np.stack([cv2.blur(plane, (7, 7), borderType=cv2.BORDER_CONSTANT) for plane in image[:, rows, columns]])

    found, whole = tiled(blurred, 90, 130, 40, 13), blurred()
    np.testing.assert_allclose(found, whole, atol=1e-6)
    # An overlap that is too small for the context shows.
    assert np.abs(tiled(blurred, 90, 130, 40, 4) - whole).max() > 0.05


def test_one_tile_at_a_time_is_in_memory() -> None:
    rows = columns = cut(3000, 64, 16)
    mosaic = Mosaic(rows, columns)
    for column, part in enumerate(columns):
        plane = np.ones((2, rows[0].stop, part.stop - part.start), np.float32)
        mosaic.add(0, column, np.array([0, 7], np.uint8), plane)
    held = [plane for planes in (mosaic._below, mosaic._left, mosaic._above) for plane in planes.values()]
    assert sum(plane.size for plane in held) <= 2 * 16 * 3000


def test_a_window_is_the_part_of_the_map_that_lies_there() -> None:
    slope = np.tile(np.arange(10, dtype=np.float32), (1, 10, 1))
    # Place i of the map lies at pixel 10 i + 5 of an image of 100.
    part = window(slope, slice(20, 60), slice(30, 70), 100, 100, minimum=4)
    np.testing.assert_allclose(part[0, 0], [3, 4, 5, 6], atol=1e-4)
    assert window(slope, slice(0, 100), slice(0, 100), 100, 100, minimum=1) == pytest.approx(slope)
    assert window(slope, slice(0, 3), slice(0, 50), 100, 100, minimum=8).shape == (1, 3, 8)
