"""Tests that every refiner gets for free: subclass, set `refine`, and name the class Test..."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RELAXED = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.differing_executors])


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Two regions of noisy colour with a slanted edge between them."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    right = (x + 0.3 * y > 0.6 * width)[..., None]
    colours = np.where(right, [200.0, 120.0, 40.0], [60.0, 90.0, 140.0])
    return np.clip(colours + generator.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def stack(classes: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random probabilities, float32 (classes, height, width)."""
    weights = np.random.default_rng(seed).random((classes, height, width)).astype(np.float32) ** 3 + 1e-3
    return weights / weights.sum(axis=0)


class RefinerSuite:
    """`refine` takes an image uint8 (H, W, 3) and probabilities (K, H / stride, W / stride), rounded up."""

    refine: Callable[[np.ndarray, np.ndarray], np.ndarray]
    stride = 1
    keeps_constant_maps = False
    """Whether probabilities that are the same everywhere stay as they are, or just keep their best class."""

    def inputs(self, classes: int, height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        coarse = stack(classes, -(-height // self.stride), -(-width // self.stride), seed)
        return photo(height, width, seed), coarse

    def noisy_regions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a photo, a map that follows its two regions with noise, and the regions."""
        y, x = np.mgrid[:48, :64]
        truth = (x + 0.3 * y > 0.6 * 64).astype(int)
        sharp = truth[self.stride // 2 :: self.stride, self.stride // 2 :: self.stride]
        noise = np.random.default_rng(1).normal(0, 0.25, sharp.shape)
        right = np.clip(0.15 + 0.7 * sharp + noise, 0.01, 0.99).astype(np.float32)
        return photo(48, 64), np.stack([1 - right, right]), truth

    @RELAXED
    @given(
        classes=st.integers(1, 4),
        height=st.integers(1, 24),
        width=st.integers(1, 24),
        seed=st.integers(0, 99),
    )
    def test_returns_probabilities_of_the_size_of_the_image(
        self, classes: int, height: int, width: int, seed: int
    ) -> None:
        image, probability = self.inputs(classes, height, width, seed)
        kept = image.copy(), probability.copy()
        refined = self.refine(image, probability)
        assert refined.shape == (classes, height, width)
        assert refined.dtype == np.float32
        assert refined.min() >= 0
        assert refined.max() <= 1 + 1e-5
        np.testing.assert_allclose(refined.sum(axis=0), 1, atol=1e-5)
        np.testing.assert_array_equal(image, kept[0])
        np.testing.assert_array_equal(probability, kept[1])

    def test_a_uniform_map_stays(self) -> None:
        image, probability = self.inputs(3, 17, 22)
        refined = self.refine(image, np.full_like(probability, 1 / 3))
        np.testing.assert_allclose(refined, 1 / 3, atol=1e-5)

    @pytest.mark.parametrize("best", [0.4, 0.7, 0.99])
    def test_a_constant_map_stays(self, best: float) -> None:
        image, probability = self.inputs(3, 17, 22)
        shares = np.array([(1 - best) / 3, best, (1 - best) * 2 / 3], dtype=np.float32)[:, None, None]
        refined = self.refine(image, np.broadcast_to(shares, probability.shape))
        assert (refined.argmax(axis=0) == 1).all()
        if self.keeps_constant_maps:
            np.testing.assert_allclose(refined, np.broadcast_to(shares, refined.shape), atol=1e-5)

    @RELAXED
    @given(order=st.permutations(range(4)), seed=st.integers(0, 99))
    def test_permuted_classes_permute_the_answer(self, order: list[int], seed: int) -> None:
        image, probability = self.inputs(4, 18, 21, seed)
        refined = self.refine(image, probability)
        np.testing.assert_allclose(self.refine(image, probability[order]), refined[order], atol=1e-3)

    @pytest.mark.parametrize("axis", [1, 2])
    def test_a_mirrored_image_gives_a_mirrored_answer(self, axis: int) -> None:
        image, probability, _ = self.noisy_regions()
        refined = self.refine(image, probability)
        mirrored = np.flip(self.refine(np.flip(image, axis - 1), np.flip(probability, axis)), axis)
        assert np.abs(refined - mirrored).mean() < 0.01
        assert (refined.argmax(axis=0) == mirrored.argmax(axis=0)).mean() > 0.98

    def test_double_precision_gives_the_same(self) -> None:
        image, probability, _ = self.noisy_regions()
        refined = self.refine(image, probability.astype(np.float64))
        assert refined.dtype == np.float32
        np.testing.assert_allclose(refined, self.refine(image, probability), atol=1e-3)

    def test_answers_the_same_twice(self) -> None:
        image, probability = self.inputs(3, 20, 30)
        np.testing.assert_array_equal(self.refine(image, probability), self.refine(image, probability))

    def test_a_single_pixel_keeps_its_best_class(self) -> None:
        image = np.full((1, 1, 3), 9, dtype=np.uint8)
        refined = self.refine(image, np.array([0.2, 0.7, 0.1], dtype=np.float32)[:, None, None])
        assert refined.shape == (3, 1, 1)
        assert refined[:, 0, 0].argmax() == 1

    @pytest.mark.parametrize("shape", [(1, 40), (40, 1), (2, 3)])
    def test_thin_images(self, shape: tuple[int, int]) -> None:
        image, probability = self.inputs(2, *shape)
        assert np.isfinite(self.refine(image, probability)).all()

    def test_a_noisy_map_moves_towards_the_regions_of_the_image(self) -> None:
        image, probability, truth = self.noisy_regions()
        repeated = probability.repeat(self.stride, axis=1).repeat(self.stride, axis=2)
        before = (repeated.argmax(axis=0) == truth).mean()
        assert (self.refine(image, probability).argmax(axis=0) == truth).mean() > before + 0.02

    def test_bad_input_is_refused_in_one_line(self) -> None:
        image, probability = self.inputs(2, 16, 16)
        broken, endless = probability.copy(), probability.copy()
        broken[0, 0, 0] = np.nan
        endless[0, 0, 0] = np.inf
        for bad_image, bad_probability in [
            (image, broken),
            (image, endless),
            (image[:0], probability[:, :0]),
            (image[:, :0], probability[:, :, :0]),
            (image, probability[0]),
            (image, probability[:0]),
            (image, (probability * 255).astype(np.uint8)),
            (image, probability * 3),
            (image, probability - 1),
            (image, np.concatenate([probability] * 32, axis=2) / 1),
            (image[..., 0], probability),
            (image[..., :2], probability),
            (image.astype(np.float32), probability),
        ]:
            with pytest.raises(ValueError, match="must") as caught:
                self.refine(bad_image, bad_probability)
            assert "\n" not in str(caught.value)
