from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from igcam.methods.refinements import DenseCrf, Sharpen
from igcam.refine.crf import CRF_PRESETS, CRFParameters
from igcam.refine.pyramid import PyramidOptions
from igcam.refine.stack import best_class
from igcam.runs.refined_masks import final_mask, soft_masks

ALL = (Sharpen(PyramidOptions()), DenseCrf(CRFParameters(bilateral_colour=20)))


def render(*arguments: Any) -> Iterator[tuple[str, np.ndarray]]:
    for name, labels, probability in soft_masks(*arguments):
        yield name, labels[best_class(probability)]


def scene(height: int = 45, width: int = 62) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a photo of a red object on green, coarse scores of three classes for it, and its pixels."""
    rows, columns = np.indices((height, width))
    inside = (rows - 20) ** 2 + (columns - 30) ** 2 < 15**2
    image = np.where(inside[..., None], [200, 40, 40], [40, 160, 60]).astype(np.uint8)
    small = inside[:: height // 6, :: width // 6][:6, :6].astype(np.float32)
    scores = np.zeros((4, 6, 6), np.float32)
    scores[2] = 0.1 + 0.8 * small
    scores[0] = 1 - scores[2]
    return image, scores, inside


def test_masks_after_each_step_have_the_size_of_the_photo() -> None:
    image, scores, inside = scene()
    masks = dict(render(image, scores, ALL))
    assert list(masks) == ["", "sharpen", "crf"]
    for mask in masks.values():
        assert mask.shape == image.shape[:2]
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 2}
    wrong = [float(((mask == 2) != inside).mean()) for mask in masks.values()]
    assert wrong[1] < wrong[0]
    assert wrong[2] < wrong[0]
    assert wrong[2] < 0.02


def test_the_scale_of_the_scores_does_not_matter() -> None:
    image, scores, _ = scene()
    for (name, mask), (_, other) in zip(render(image, scores, ALL), render(image, 0.5 * scores, ALL), strict=True):
        assert (mask == other).mean() > 0.999, name


@pytest.mark.parametrize("steps", [(), ("sharpen",), ("crf",), ("sharpen", "crf")])
def test_only_what_is_asked_for_is_drawn(steps: tuple[str, ...]) -> None:
    image, scores, _ = scene()
    options = [step for step in ALL if step.name in steps]
    annotated = list(render(image, scores, options))
    assert [name for name, _ in annotated] == ["", *steps]
    np.testing.assert_array_equal(final_mask(image, scores, options), annotated[-1][1])


def test_weak_classes_are_left_out_but_background_never_is() -> None:
    image, scores, _ = scene()
    scores[3] = 0.05
    scores[0] = 0
    masks = dict(render(image, scores, ()))
    assert set(np.unique(masks[""])) <= {0, 2}
    weak = np.zeros((3, 6, 6), np.float32)
    weak[1] = 0.01
    assert (final_mask(image, weak, ALL) == 1).all()
    assert (final_mask(image, np.zeros((3, 6, 6), np.float32), ALL) == 0).all()


@pytest.mark.parametrize("size", [(5, 5), (40, 4), (3, 50), (6, 6), (1, 1)])
def test_photos_may_be_smaller_than_their_map(size: tuple[int, int]) -> None:
    _, scores, _ = scene()
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    for name, mask in render(image, scores, ALL):
        assert mask.shape == size, name
        assert set(np.unique(mask)) <= {0, 2}


def test_widths_of_the_crf_follow_the_size_of_the_photo_where_asked() -> None:
    image, scores, _ = scene()  # 62 pixels wide
    noise = np.random.default_rng(0).integers(0, 40, image.shape).astype(np.uint8)
    image += noise
    asked = [DenseCrf("irn", 500)]
    by_hand = [DenseCrf(CRF_PRESETS["irn"].scaled(62 / 500))]
    np.testing.assert_array_equal(final_mask(image, scores, asked), final_mask(image, scores, by_hand))
    assert (final_mask(image, scores, asked) != final_mask(image, scores, [DenseCrf("irn")])).any()
    assert asked[0].facts["widths_for_longer_side"] == 500
