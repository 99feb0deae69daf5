from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from refiner_suite import RefinerSuite, photo, stack

from igcam.core.errors import IgcamError
from igcam.refine.affinity import AffinityOptions, DenseAffinityOptions, local_affinity
from igcam.refine.crf import CRF_PRESETS, dense_crf
from igcam.refine.filters import guided_filter
from igcam.refine.pyramid import DenseLevelOptions, PyramidOptions, dense_level, sharpen

LINEAR = PyramidOptions(competition=1.0, dense=DenseLevelOptions(competition=1.0))
LOCAL = PyramidOptions(dense=DenseLevelOptions(side=0))


def disk_on_two_colours() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image, the mask of its coloured shape, and the shape's coarse and shifted map at stride 16."""
    y, x = np.mgrid[:160, :224]
    mask = ((x - 110) ** 2 / 4900 + (y - 80) ** 2 / 2500 < 1) & ~((abs(x - 110) < 12) & (y < 60))
    colours = np.where(mask[..., None], [180, 120, 70], [70, 110, 150])
    image = np.clip(colours + np.random.default_rng(0).normal(0, 8, colours.shape), 0, 255).astype(np.uint8)
    blob = cv2.resize(mask.astype(np.float32), (14, 10), interpolation=cv2.INTER_AREA)
    blob = 0.1 + 0.8 * cv2.GaussianBlur(blob, (0, 0), 0.8)
    return image, mask, np.stack([1 - blob, blob])


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    return float((prediction & truth).sum() / (prediction | truth).sum())


def test_moves_boundaries_to_those_of_the_image() -> None:
    image, mask, coarse = disk_on_two_colours()
    upsampled = cv2.resize(coarse[1], (224, 160)) > 0.5
    refined = sharpen(image, coarse)[-1].probability.argmax(axis=0) == 1
    assert iou(upsampled, mask) < 0.9
    assert iou(refined, mask) > 0.96


def test_features_lead_where_colours_are_alike() -> None:
    image, mask, coarse = disk_on_two_colours()
    grey = np.full_like(image, 128)
    features = {s: np.stack([mask, ~mask]).astype(np.float32)[:, ::s, ::s] for s in (8, 4, 2, 1)}
    without = sharpen(grey, coarse, options=LOCAL)[-1].probability.argmax(axis=0) == 1
    led = sharpen(grey, coarse, features, LOCAL)[-1].probability.argmax(axis=0) == 1
    assert iou(led, mask) > iou(without, mask) + 0.03
    assert iou(led, mask) > 0.95
    deep = sharpen(grey, coarse, deep=features[8])[-1].probability.argmax(axis=0) == 1
    assert iou(deep, mask) > iou(without, mask) + 0.01


def test_levels_have_their_sizes_and_contents() -> None:
    levels = sharpen(photo(75, 101), stack(3, 5, 7), options=LOCAL)
    assert [level.stride for level in levels] == [8, 4, 2, 1]
    assert [level.probability.shape for level in levels] == [
        (3, 10, 13),
        (3, 19, 26),
        (3, 38, 51),
        (3, 75, 101),
    ]
    for level in levels:
        top = np.sort(level.probability, axis=0)
        np.testing.assert_allclose(level.uncertainty, 1 - (top[-1] - top[-2]), atol=1e-5)
        assert level.solved.shape == level.uncertainty.shape


def test_the_dense_level_comes_first_and_coarser_ones_are_skipped() -> None:
    levels = sharpen(photo(75, 101), stack(3, 5, 7))
    assert [level.stride for level in levels] == [8, 4, 2, 1]
    assert levels[0].probability.shape == (3, 10, 14)
    assert levels[0].solved.all()
    levels = sharpen(photo(75, 101), stack(3, 30, 30))
    assert [level.stride for level in levels] == [3, 1]
    assert levels[0].probability.shape == (3, 48, 48)
    fine = sharpen(photo(75, 101), stack(3, 49, 49))
    assert [level.stride for level in fine] == [1]


def test_the_dense_level_by_hand() -> None:
    # Four places in a row: the first two and the last two have the same feature; the second is uncertain.
    feature = np.array([[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]])
    probability = np.array([[[1.0, 0.4, 0.0, 0.0]], [[0.0, 0.6, 1.0, 1.0]]], np.float32)
    image = np.full((1, 4, 3), 99, np.uint8)
    options = DenseLevelOptions(
        affinity=DenseAffinityOptions(power=1, colour=0, radius=1e6), steps=1, restart=0.5, competition=1.0
    )
    result = dense_level(image, probability, feature, options)
    share = 0.5 + 0.5 * 0.2
    np.testing.assert_allclose(result[0, 0, 1], (1 - share) * 1.0 + share * 0.4, rtol=1e-5)
    np.testing.assert_allclose(result[:, 0, [0, 2, 3]], probability[:, 0, [0, 2, 3]], atol=1e-6)


def test_certain_pixels_keep_their_upsampled_values() -> None:
    image, _, coarse = disk_on_two_colours()
    level = sharpen(image, coarse, options=dataclasses.replace(LOCAL, strides=(4,)))[0]
    upsampled = np.stack([cv2.resize(layer, (56, 40)) for layer in coarse])
    assert 0.05 < level.solved.mean() < 0.9
    np.testing.assert_allclose(level.probability[:, ~level.solved], upsampled[:, ~level.solved], atol=1e-5)
    assert np.abs(level.probability - upsampled)[:, level.solved].max() > 0.05


def test_the_less_certain_the_more_a_pixel_moves() -> None:
    image, _, coarse = disk_on_two_colours()
    options = dataclasses.replace(LOCAL, strides=(16,), steps=1, restart=0.2, competition=1.0, certain=1.0)
    level = sharpen(image, coarse, options=options)[0]
    small = cv2.resize(image.astype(np.float32), (14, 10), interpolation=cv2.INTER_AREA)
    spread = (local_affinity(small, None, options.affinity) @ coarse.reshape(2, -1).T).T.reshape(coarse.shape)
    share = 0.2 + 0.8 * np.abs(coarse[0] - coarse[1])
    np.testing.assert_allclose(level.probability, (1 - share) * spread + share * coarse, atol=1e-5)


def test_pixels_near_a_change_are_solved_however_certain() -> None:
    hard = np.zeros((2, 16, 16), dtype=np.float32)
    hard[0, :, :8], hard[1, :, 8:] = 1, 1
    options = dataclasses.replace(LOCAL, strides=(1,), band=2)
    solved = sharpen(photo(16, 16), hard, options=options)[0].solved
    np.testing.assert_array_equal(np.flatnonzero(solved[5]), [6, 7, 8, 9])
    without = dataclasses.replace(options, band=0)
    assert not sharpen(photo(16, 16), hard, options=without)[0].solved.any()


def test_levels_coarser_than_the_map_are_skipped() -> None:
    levels = sharpen(photo(32, 32), stack(2, 16, 16), options=LOCAL)
    assert [level.stride for level in levels] == [2, 1]


def test_one_class_is_certain() -> None:
    level = sharpen(photo(16, 16), np.ones((1, 1, 1), dtype=np.float32))[-1]
    np.testing.assert_array_equal(level.probability, 1)
    np.testing.assert_array_equal(level.uncertainty, 0)


def test_bad_options_and_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"features: strides must be among .* got 3"):
        sharpen(photo(16, 16), stack(2, 1, 1), {3: np.zeros((1, 4, 4))})
    with pytest.raises(ValueError, match="features: must be finite"):
        sharpen(photo(16, 16), stack(2, 1, 1), {4: np.full((1, 4, 4), np.nan)})
    with pytest.raises(IgcamError, match="strides: must fall"):
        PyramidOptions(strides=(1, 4))
    with pytest.raises(IgcamError, match="band must be at least 0"):
        PyramidOptions(band=-1)
    with pytest.raises(ValueError, match="must not be larger than the image"):
        sharpen(photo(4, 4), stack(2, 5, 4))


@pytest.mark.parametrize("last", ["guided", "crf"])
def test_the_last_step_can_be_another(last: str) -> None:
    image, mask, coarse = disk_on_two_colours()
    levels = sharpen(image, coarse, options=dataclasses.replace(LOCAL, last=last))
    usual = sharpen(image, coarse, options=LOCAL)
    np.testing.assert_array_equal(levels[-2].probability, usual[-2].probability)
    before = cv2.resize(levels[-2].probability[1], (224, 160)).astype(np.float32)
    by_hand = {
        "guided": guided_filter(image, np.stack([1 - before, before])),
        "crf": dense_crf(image, np.stack([1 - before, before]), CRF_PRESETS["afa"]),
    }
    np.testing.assert_allclose(levels[-1].probability, by_hand[last], atol=1e-3)
    assert iou(levels[-1].probability.argmax(axis=0) == 1, mask) > 0.95
    with pytest.raises(IgcamError, match="last must be one of walk, guided, crf, got 'magic'"):
        PyramidOptions(last="magic")


class TestPyramid(RefinerSuite):
    refine = staticmethod(lambda image, probability: sharpen(image, probability)[-1].probability)
    stride = 8


class TestPyramidWithoutCompetition(RefinerSuite):
    refine = staticmethod(lambda image, probability: sharpen(image, probability, options=LINEAR)[-1].probability)
    stride = 4
    keeps_constant_maps = True


class TestOneLevel(RefinerSuite):
    refine = staticmethod(
        lambda image, probability: (
            sharpen(
                image,
                probability,
                options=dataclasses.replace(LOCAL, strides=(1,), certain=1.0, affinity=AffinityOptions(), restart=0.0),
            )[-1].probability
        )
    )
