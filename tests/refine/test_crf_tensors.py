from __future__ import annotations

import numpy as np
import pytest
import torch
from refiner_suite import RefinerSuite, photo, stack

from igcam.refine.crf import CRF_PRESETS, CRFParameters, dense_crf
from igcam.refine.lattice import PermutohedralLattice
from igcam.refine.tensors import TensorLattice, dense_crf_tensors


def on_tensors(image: np.ndarray, probability: np.ndarray, parameters: CRFParameters | None = None) -> np.ndarray:
    pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0) if image.ndim == 3 else image))
    return dense_crf_tensors(pixels, torch.from_numpy(np.ascontiguousarray(probability)), parameters).numpy()


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
@pytest.mark.parametrize("normalise", [False, True])
def test_the_lattice_filters_like_the_compiled_one(dimensions: int, normalise: bool) -> None:
    random = np.random.default_rng(dimensions)
    features, values = random.normal(0, 2, (300, dimensions)).astype(np.float32), random.random((3, 300), np.float32)
    expected = PermutohedralLattice(features, normalise=normalise).filter(values)
    found = TensorLattice(torch.from_numpy(features), normalise=normalise).filter(torch.from_numpy(values))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", CRF_PRESETS)
def test_gives_the_answer_of_the_compiled_one(name: str) -> None:
    image, probability = photo(37, 52), stack(4, 37, 52)
    difference = np.abs(
        on_tensors(image, probability, CRF_PRESETS[name]) - dense_crf(image, probability, CRF_PRESETS[name])
    )
    assert difference.mean() < 1e-4
    assert difference.max() < 0.02  # where rounding decides which lattice vertices exist


def test_it_stops_when_beliefs_have_settled() -> None:
    image, probability = photo(20, 24), stack(3, 20, 24)
    many = on_tensors(image, probability, CRFParameters(iterations=60))
    early = on_tensors(image, probability, CRFParameters(iterations=60, converged=1e-3))
    np.testing.assert_allclose(early, many, atol=0.02)


def test_costs_of_labels_and_batches() -> None:
    images, stacks = [photo(20, 24, seed) for seed in range(2)], [stack(3, 20, 24, seed) for seed in range(2)]
    costs = np.array([[0, 1, 3], [1, 0, 0.2], [3, 0.2, -0.5]], np.float32)
    pixels = torch.from_numpy(np.moveaxis(np.stack(images), -1, 1).copy())
    together = dense_crf_tensors(pixels, torch.from_numpy(np.stack(stacks)), compatibility=torch.from_numpy(costs))
    for image, probability, result in zip(images, stacks, together.numpy(), strict=True):
        expected = dense_crf(image, probability, compatibility=costs)
        assert np.abs(expected - dense_crf(image, probability)).max() > 0.05
        np.testing.assert_allclose(result, expected, atol=0.02)
    with pytest.raises(ValueError, match=r"compatibility: must be finite, symmetric and \(3, 3\), got \(2, 2\)"):
        dense_crf_tensors(pixels[0], torch.from_numpy(stacks[0]), compatibility=torch.eye(2))
    with pytest.raises(ValueError, match="image: must be uint8"):
        dense_crf_tensors(pixels, torch.from_numpy(stacks[0]))


class TestOnTensors(RefinerSuite):
    refine = staticmethod(on_tensors)
