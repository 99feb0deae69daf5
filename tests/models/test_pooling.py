from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igcam.core.errors import IgcamError
from igcam.models.pooling import POOLINGS, average, get_pooling, log_sum_exp, maximum, top_share

maps = hnp.arrays("float32", (2, 3, 3, 4), elements=st.floats(-20, 20, width=32)).map(torch.from_numpy)


def test_by_hand():
    z = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]])
    assert average(z).tolist() == [[2.0]]
    assert maximum(z).tolist() == [[5.0]]
    assert top_share(z, 0.5).tolist() == [[3.5]]
    assert top_share(z, 0.01).tolist() == [[5.0]]
    expected = torch.tensor((1 + torch.e + torch.e**2 + torch.e**5) / 4).log()
    torch.testing.assert_close(log_sum_exp(z, 1.0), expected.view(1, 1))


@given(maps)
def test_generalised_means_lie_between_average_and_maximum(z):
    low, high = average(z), maximum(z)
    for pool in (partial(log_sum_exp, sharpness=0.5), log_sum_exp, top_share, partial(top_share, share=0.5)):
        assert (pool(z) >= low - 1e-4).all()
        assert (pool(z) <= high + 1e-4).all()
    torch.testing.assert_close(top_share(z, 1.0), low, rtol=1e-4, atol=1e-4)


@given(maps, st.floats(-5, 5), st.sampled_from(sorted(POOLINGS)))
def test_every_pooling_ignores_places_and_follows_a_shift(z, shift, name):
    pool = get_pooling(name)
    pooled = pool(z)
    assert pooled.shape == (2, 3)
    torch.testing.assert_close(pool(z.flip(3).mT), pooled, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pool(z + shift), pooled + shift, rtol=1e-4, atol=1e-4)


def test_names_and_functions():
    assert get_pooling("average") is average
    assert get_pooling(maximum) is maximum
    with pytest.raises(IgcamError, match="pooling must be one of average, max, log-sum-exp, top, got 'mean'"):
        get_pooling("mean")
    with pytest.raises(ValueError, match="share"):
        top_share(torch.zeros(1, 1, 2, 2), 0.0)
    with pytest.raises(ValueError, match="sharpness"):
        log_sum_exp(torch.zeros(1, 1, 2, 2), 0.0)
