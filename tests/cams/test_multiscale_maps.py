from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igcam.cams.cam import SCALES, multiscale_maps, normalise

images = hnp.arrays("float32", (1, 3, 8, 12), elements=st.floats(0, 1, width=32)).map(torch.from_numpy)
KERNEL = torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0))


def convolution(x: torch.Tensor) -> torch.Tensor:
    """Maps that depend on left and right."""
    return F.conv2d(x, KERNEL, padding=1).relu()


def test_one_scale_without_mirroring_is_the_map_itself():
    x = torch.rand(2, 3, 8, 12)
    result = multiscale_maps(x, convolution, (8, 12), scales=(1.0,), flip=False)
    assert torch.equal(result, normalise(convolution(x)))


def test_every_scale_and_its_mirror_image_take_part():
    seen = []

    def note(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x[:, :1]

    x = torch.rand(1, 3, 8, 12)
    result = multiscale_maps(x, note, (20, 30))
    assert result.shape == (1, 1, 20, 30)
    assert [tuple(each.shape[2:]) for each in seen[::2]] == [(round(8 * s), round(12 * s)) for s in SCALES]
    assert torch.equal(seen[0], x)
    for plain, mirrored in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(mirrored, plain.flip(3))
    upright = [F.interpolate(each[:, :1], (20, 30), mode="bilinear") for each in seen[::2]]
    torch.testing.assert_close(result, normalise(2 * sum(upright)), rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(images)
def test_with_mirroring_the_result_follows_a_mirrored_image(x):
    one = multiscale_maps(x, convolution, (8, 12), scales=(1.0, 0.5))
    other = multiscale_maps(x.flip(3), convolution, (8, 12), scales=(1.0, 0.5))
    torch.testing.assert_close(other.flip(3), one, rtol=1e-3, atol=1e-4)
    assert ((one >= 0) & (one < 1)).all()


def test_scales_must_be_positive():
    for scales in ((), (1.0, 0.0)):
        with pytest.raises(ValueError, match="scales must be positive and at least one"):
            multiscale_maps(torch.rand(1, 3, 4, 4), convolution, (4, 4), scales=scales)
