from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from refiner_suite import RefinerSuite, photo, stack

from igcam.core.errors import IgcamError
from igcam.refine import crf
from igcam.refine.crf import CRF_PRESETS, CRFParameters, dense_crf, dense_crf_from_unary

KEPT = ("irn", "deeplab", "toco", "afa")


def mean_field(
    image: np.ndarray, unary: np.ndarray, parameters: CRFParameters, costs: np.ndarray | None = None
) -> np.ndarray:
    """Mean field with exact kernels over all pairs, in float64."""
    classes, height, width = unary.shape
    y, x = np.mgrid[:height, :width]
    position = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    colour = image.reshape(-1, 3).astype(np.float64)
    message = np.zeros((height * width, height * width))
    for weight, features in [
        (parameters.gaussian_weight, position / parameters.gaussian_width),
        (
            parameters.bilateral_weight,
            np.hstack([position / parameters.bilateral_width, colour / parameters.bilateral_colour]),
        ),
    ]:
        square = (features**2).sum(axis=1)
        kernel = np.exp(-np.maximum(square[:, None] + square - 2 * features @ features.T, 0) / 2)
        norm = 1 / np.sqrt(kernel.sum(axis=1))
        message += weight * norm[:, None] * kernel * norm
    energy = -unary.reshape(classes, -1).T.astype(np.float64)

    def softmax(logits: np.ndarray) -> np.ndarray:
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    belief = softmax(energy)
    for _ in range(parameters.iterations):
        belief = softmax(energy + message @ belief if costs is None else energy - message @ belief @ costs)
    return belief.T.reshape(unary.shape)


def reference(image: np.ndarray, probability: np.ndarray, preset: CRFParameters) -> np.ndarray:
    """Return what pydensecrf2 answers."""
    import pydensecrf.densecrf as densecrf

    classes, height, width = probability.shape
    peer = densecrf.DenseCRF2D(width, height, classes)
    peer.setUnaryEnergy(np.ascontiguousarray(-np.log(probability).reshape(classes, -1)))
    peer.addPairwiseGaussian(sxy=preset.gaussian_width, compat=preset.gaussian_weight)
    peer.addPairwiseBilateral(
        sxy=preset.bilateral_width, srgb=preset.bilateral_colour, rgbim=image, compat=preset.bilateral_weight
    )
    return np.array(peer.inference(preset.iterations)).reshape(probability.shape)


def keep_reference() -> None:
    """Write pydensecrf2.npz anew, where pydensecrf2 is installed."""
    kept = {}
    for name in KEPT:
        for classes in (2, 5):
            answer = reference(photo(37, 52), stack(classes, 37, 52), CRF_PRESETS[name])
            kept[f"{name}-{classes}"] = np.rint(answer * 65535).astype(np.uint16)
    np.savez_compressed(Path(__file__).parent / "pydensecrf2.npz", **kept)


def hard_case() -> tuple[np.ndarray, np.ndarray]:
    """Four noisy regions of colour, and a unary that is right about half of the time."""
    generator = np.random.default_rng(5)
    y, x = np.mgrid[:30, :40]
    truth = (x + 0.4 * y > 26).astype(int) + 2 * ((x - 20) ** 2 + (y - 15) ** 2 < 90)
    colours = np.array([[60, 90, 140], [200, 120, 40], [90, 180, 90], [150, 60, 170]])[truth]
    image = np.clip(colours + generator.normal(0, 8, colours.shape), 0, 255).astype(np.uint8)
    logits = generator.normal(0, 1, (4, 30, 40)) + 0.9 * (truth == np.arange(4)[:, None, None])
    return image, -logits.astype(np.float32)


@pytest.mark.parametrize(
    "parameters",
    [
        CRFParameters(3, 3, 12, 20, 4),
        CRFParameters(2, 1, 8, 25, 3),
        CRFParameters(3, 3, 50, 13, 10, iterations=5),
    ],
)
def test_agrees_with_exact_mean_field(parameters: CRFParameters) -> None:
    image, unary = hard_case()
    expected = mean_field(image, unary, parameters)
    result = dense_crf_from_unary(image, unary, parameters)
    best = expected.argmax(axis=0)
    assert (unary.argmin(axis=0) == best).mean() < 0.6
    assert (result.argmax(axis=0) == best).mean() >= 0.93
    assert np.abs(result - expected).mean() <= 0.025


@pytest.mark.parametrize(
    "parameters",
    [
        CRFParameters(3, 5, bilateral_weight=0, iterations=1),
        CRFParameters(gaussian_weight=0, bilateral_width=6, bilateral_colour=20, bilateral_weight=5, iterations=1),
    ],
)
def test_each_kernel_has_its_width_and_weight(parameters: CRFParameters) -> None:
    image, unary = hard_case()
    expected = mean_field(image, unary, parameters)
    result = dense_crf_from_unary(image, unary, parameters)
    assert np.abs(result - expected).mean() < 0.02
    for other in (0.6, 1.7):
        weaker = dataclasses.replace(
            parameters,
            gaussian_weight=parameters.gaussian_weight * other,
            bilateral_weight=parameters.bilateral_weight * other,
        )
        for wrong in (weaker, parameters.scaled(other)):
            difference = np.abs(dense_crf_from_unary(image, unary, wrong) - expected).mean()
            assert difference > 1.5 * np.abs(result - expected).mean()


def test_costs_of_labels_beside_each_other() -> None:
    image, unary = hard_case()
    parameters = CRFParameters(2, 1, 8, 25, 3)
    costs = np.array([[0, 1, 2, 1], [1, 0, 0.3, 1], [2, 0.3, 0, 0.1], [1, 1, 0.1, -0.5]])
    expected = mean_field(image, unary, parameters, costs)
    result = dense_crf_from_unary(image, unary, parameters, compatibility=costs)
    potts = dense_crf_from_unary(image, unary, parameters)
    assert np.abs(result - expected).mean() <= 0.025
    assert np.abs(potts - expected).mean() > 4 * np.abs(result - expected).mean()
    same = dense_crf_from_unary(image, unary, parameters, compatibility=1 - np.eye(4))
    np.testing.assert_allclose(same, potts, atol=1e-4)
    with pytest.raises(ValueError, match=r"compatibility: must be finite, symmetric and \(4, 4\), got \(3, 3\)"):
        dense_crf_from_unary(image, unary, parameters, compatibility=np.eye(3))


def test_it_stops_when_beliefs_have_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    image, unary = hard_case()
    updates = []
    messages = crf._messages
    monkeypatch.setattr(crf, "_messages", lambda *rest: updates.append(1) or messages(*rest))
    many = dense_crf_from_unary(image, unary, CRFParameters(3, 3, 12, 20, 4, iterations=100))
    assert len(updates) == 100
    updates.clear()
    early = dense_crf_from_unary(image, unary, CRFParameters(3, 3, 12, 20, 4, iterations=100, converged=1e-3))
    assert 3 < len(updates) < 60
    np.testing.assert_allclose(early, many, atol=0.02)


def close_to_the_reference(result: np.ndarray, expected: np.ndarray) -> None:
    difference = np.abs(result - expected)
    assert difference.mean() < 1e-4
    assert difference.max() < 0.02  # where rounding decides which lattice vertices exist


@pytest.mark.parametrize("name", CRF_PRESETS)
@pytest.mark.parametrize("classes", [2, 5])
def test_agrees_with_the_reference_code(name: str, classes: int) -> None:
    pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 is not installed")
    image, probability = photo(37, 52), stack(classes, 37, 52)
    result = dense_crf_from_unary(image, -np.log(probability), CRF_PRESETS[name])
    close_to_the_reference(result, reference(image, probability, CRF_PRESETS[name]))


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("classes", [2, 5])
def test_agrees_with_answers_kept_from_the_reference_code(name: str, classes: int) -> None:
    with np.load(Path(__file__).parent / "pydensecrf2.npz", allow_pickle=False) as kept:
        expected = kept[f"{name}-{classes}"].astype(np.float64) / 65535
    image, probability = photo(37, 52), stack(classes, 37, 52)
    close_to_the_reference(dense_crf_from_unary(image, -np.log(probability), CRF_PRESETS[name]), expected)


def test_without_kernels_or_updates_it_is_a_softmax() -> None:
    image, probability = photo(8, 9), stack(3, 8, 9)
    for parameters in [CRFParameters(gaussian_weight=0, bilateral_weight=0), CRFParameters(iterations=0)]:
        np.testing.assert_allclose(dense_crf(image, probability, parameters), probability, atol=1e-5)


def test_probabilities_need_not_be_normalised() -> None:
    image, probability = photo(8, 9), stack(3, 8, 9)
    np.testing.assert_allclose(dense_crf(image, probability * 0.5), dense_crf(image, probability), atol=1e-3)


def test_the_kept_grid_does_not_leak_between_images() -> None:
    first, second, probability = photo(16, 20, 1), photo(16, 20, 2)[::-1], stack(2, 16, 20)
    fresh = dense_crf(second, probability)
    dense_crf(first, probability, CRFParameters(gaussian_weight=7))
    np.testing.assert_array_equal(dense_crf(second, probability), fresh)


def test_parameters() -> None:
    assert CRFParameters() == CRF_PRESETS["irn"]
    half = CRFParameters().scaled(0.5)
    assert (half.gaussian_width, half.bilateral_width, half.bilateral_colour) == (1.5, 25, 5)
    assert half.iterations == 10
    with pytest.raises(IgcamError, match="bilateral_width must be above 0, got 0"):
        CRFParameters(bilateral_width=0)
    with pytest.raises(IgcamError, match="gaussian_weight must be at least 0, got -1"):
        CRFParameters(gaussian_weight=-1)


class TestDenseCRF(RefinerSuite):
    refine = staticmethod(lambda image, probability: dense_crf(image, probability, CRFParameters(3, 3, 20, 20, 4)))


class TestPublishedCRF(RefinerSuite):
    refine = staticmethod(lambda image, probability: dense_crf(image, probability, CRF_PRESETS["seam"]))
