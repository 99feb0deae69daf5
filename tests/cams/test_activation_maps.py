from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igcam.cams.cam import class_activation_maps, normalise

FEATURE = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])  # one image, two channels, one row of two cells
WEIGHT = torch.tensor([[1.0, 1.0], [0.0, -2.0], [1.0, 0.0]])

maps = hnp.arrays("float32", (2, 2, 3, 4), elements=st.floats(-50, 50, width=32)).map(torch.from_numpy)


def test_by_hand():
    assert class_activation_maps(FEATURE, WEIGHT).tolist() == [[[[4.0, 1.0]], [[0.0, 2.0]], [[1.0, 2.0]]]]
    raw = class_activation_maps(FEATURE, WEIGHT, torch.tensor([0.0, 1.0, 0.5]), relu=False)
    assert raw.tolist() == [[[[4.0, 1.0]], [[-5.0, 3.0]], [[1.5, 2.5]]]]


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"got \(1, 2, 1, 2\) and \(3, 5\)"):
        class_activation_maps(FEATURE, torch.zeros(3, 5))


def test_normalising_by_hand():
    result = normalise(torch.tensor([[[[-1.0, 0.5], [0.25, 2.0]], [[-1.0, -2.0], [0.0, -3.0]]]]))
    expected = torch.tensor([[[[0.0, 0.25], [0.125, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-6)
    assert result.max() < 1


@given(maps, st.floats(1, 1000))
def test_normalising_takes_scale_away(m, factor):
    m = m + m.sign()  # a maximum is at least 1, or there is none
    torch.testing.assert_close(normalise(m), normalise(m * factor), rtol=1e-4, atol=2e-5)
    assert ((normalise(m) >= 0) & (normalise(m) < 1)).all()


@given(maps)
def test_maps_follow_a_mirrored_image(image):
    # A kernel that is its own mirror image, so that features of the mirrored image are mirrored features.
    kernel = torch.tensor([[[[1.0, 2.0, 1.0], [0.0, 3.0, 0.0], [-1.0, 1.0, -1.0]]] * 2] * 2)
    weight = torch.tensor([[0.5, 1.0], [-1.0, 0.25]])
    upright = class_activation_maps(F.conv2d(image, kernel, padding=1), weight)
    mirrored = class_activation_maps(F.conv2d(image.flip(3), kernel, padding=1), weight)
    torch.testing.assert_close(mirrored.flip(3), upright, rtol=1e-4, atol=1e-3)
