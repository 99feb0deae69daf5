from __future__ import annotations

import numpy as np
from brush_reader import brush_region
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from igcam.data.formats.label_studio import brush_code

regions = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(bool, shape))


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
