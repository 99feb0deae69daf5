from __future__ import annotations

from typing import Any

import numpy as np
from brush_reader import brush_region
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from igcam.data.run_lengths import brush_code, coco_code, run_lengths

regions = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(bool, shape))


def test_runs_are_off_and_on_in_turn() -> None:
    assert run_lengths(np.array([0, 0, 1, 1, 1, 0], bool)).tolist() == [2, 3, 1]
    assert run_lengths(np.array([1, 0], bool)).tolist() == [0, 1, 1]
    assert run_lengths(np.zeros(4, bool)).tolist() == [4]


@settings(deadline=None)
@given(regions)
def test_pycocotools_writes_the_same_code(region: np.ndarray) -> None:
    theirs: dict[str, Any] = coco.encode(np.asfortranarray(region.astype(np.uint8)))
    assert coco_code(region) == {"size": list(region.shape), "counts": theirs["counts"].decode()}


def test_lengths_that_grow_and_shrink_a_lot_are_coded_alike() -> None:
    region = np.zeros((5000, 7), bool)
    region[1:4900, 1] = region[17, 2] = region[40:, 4] = region[:, 5] = True
    theirs = coco.encode(np.asfortranarray(region.astype(np.uint8)))
    assert coco_code(region)["counts"] == theirs["counts"].decode()


@settings(deadline=None)
@given(regions)
def test_a_brush_reads_back(region: np.ndarray) -> None:
    values = brush_region(brush_code(region), *region.shape)
    np.testing.assert_array_equal(values, np.where(region, 255, 0)[..., None].repeat(4, -1))


def test_a_brush_may_have_runs_beyond_sixteen_bits() -> None:
    region = np.ones((150, 200), bool)
    region[:2] = False
    assert (brush_region(brush_code(region), 150, 200)[..., 3] == 255 * region).all()


def test_a_brush_has_the_bytes_that_label_studio_writes() -> None:
    # Written by label_studio_sdk 2.1.2, converter.brush.encode_rle, for 8 values of 0 and 8 of 255.
    theirs = [0, 0, 0, 16, 57, 27, 252, 224, 19, 255, 128]
    assert brush_code(np.array([[False, False, True, True]])) == theirs
