from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from igcam.core.files import read_tensors, write_tensors
from igcam.models.reduction import Reduction, fit_reduction

RELAXED = settings(max_examples=15, deadline=None)


def locations(count: int, depth: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(depth, depth)) * np.geomspace(5, 0.1, depth)
    return (random.normal(size=(count, depth)) @ mixing + random.normal(size=depth)).astype(np.float32)


def as_maps(sample: np.ndarray, height: int, width: int) -> torch.Tensor:
    """Lay out (n, D) places as (n / (h * w), D, h, w) maps."""
    grid = torch.from_numpy(sample).reshape(-1, height, width, sample.shape[1])
    return grid.permute(0, 3, 1, 2)


@RELAXED
@given(seed=st.integers(0, 100), depth=st.integers(2, 9), keep=st.integers(1, 9))
def test_components_are_those_of_the_singular_value_decomposition(seed: int, depth: int, keep: int) -> None:
    sample = locations(60, depth, seed)
    keep = min(keep, depth)
    reduction = fit_reduction([sample], [keep])
    reduced = reduction([as_maps(sample, 5, 12)])
    assert reduced.shape == (1, keep, 5, 12)
    flat = reduced[0].flatten(1).T.numpy().astype(np.float64)
    centred = sample.astype(np.float64) - sample.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :keep] * values[:keep]
    expected *= np.sqrt(expected.size / (expected**2).sum())
    signs = np.sign((flat * expected).sum(axis=0))
    np.testing.assert_allclose(flat * signs, expected, atol=5e-3 * np.abs(expected).max())


def test_values_have_a_mean_square_of_one_in_each_level() -> None:
    samples = [locations(200, 6), 100 * locations(200, 8, 1)]
    reduction = fit_reduction(samples, [3, 5])
    assert reduction.channels == 8
    reduced = reduction([as_maps(samples[0], 10, 20), as_maps(samples[1], 10, 20)])
    assert reduced.dtype == torch.float32
    assert float((reduced[:, :3] ** 2).mean()) == pytest.approx(1, rel=1e-4)
    assert float((reduced[:, 3:] ** 2).mean()) == pytest.approx(1, rel=1e-4)
    assert reduced.mean(dim=(0, 2, 3)).abs().max() < 1e-4


def test_levels_are_joined_at_the_finest() -> None:
    fine, coarse = locations(64, 4), locations(16, 6, 1)
    reduction = fit_reduction([fine, coarse], [2, 3])
    joined = reduction([as_maps(fine, 8, 8), as_maps(coarse, 4, 4)])
    assert joined.shape == (1, 5, 8, 8)
    assert joined.is_contiguous()
    alone = fit_reduction([coarse], [3])([as_maps(coarse, 4, 4)])
    torch.testing.assert_close(joined[:, 2:], F.interpolate(alone, (8, 8), mode="bilinear", align_corners=False))


def test_no_more_components_than_channels() -> None:
    reduction = fit_reduction([locations(50, 3)], [128])
    assert reduction.channels == 3


def test_channels_that_never_change_give_zero() -> None:
    reduction = fit_reduction([np.full((10, 4), 7.0)], [2])
    reduced = reduction([torch.full((1, 4, 2, 2), 7.0)])
    assert torch.equal(reduced, torch.zeros(1, 2, 2, 2))


def test_half_precision_samples_and_the_same_again() -> None:
    sample = locations(80, 5).astype(np.float16)
    one, other = fit_reduction([sample], [4]), fit_reduction([sample], [4])
    assert torch.equal(one.projections[0], other.projections[0])
    assert one.projections[0].dtype == torch.float32


def test_images_are_reduced_one_by_one_as_together() -> None:
    sample = locations(72, 5)
    reduction = fit_reduction([sample], [3])
    maps = as_maps(sample, 4, 6)
    together = reduction([maps])
    torch.testing.assert_close(torch.cat([reduction([one[None]]) for one in maps]), together)


def test_the_state_is_read_back(tmp_path) -> None:
    reduction = fit_reduction([locations(40, 4), locations(40, 5)], [2, 3])
    write_tensors(tmp_path / "r.safetensors", reduction.tensors())
    read = Reduction.from_tensors(read_tensors(tmp_path / "r.safetensors"))
    for name in ("means", "projections"):
        pairs = zip(getattr(read, name), getattr(reduction, name), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
