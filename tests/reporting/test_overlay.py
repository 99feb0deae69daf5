from __future__ import annotations

import numpy as np
import pytest

from igcam.reporting.overlay import (
    class_colours,
    heat_overlay,
    mask_overlay,
    overlay_sheet,
    probability_overlay,
    thumbnail,
)

GREY = np.full((60, 80, 3), 120, np.uint8)


def distance(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - colour.astype(int)).sum(axis=-1)


def test_colours_can_be_told_apart() -> None:
    colours = class_colours(80)
    assert colours.shape == (81, 3)
    assert colours.dtype == np.uint8
    assert len(np.unique(colours, axis=0)) == 81
    assert (class_colours(5) == colours[:6]).all()
    first = colours[1:11].astype(int)
    apart = np.abs(first[:, None] - first[None]).sum(axis=-1) + 999 * np.eye(10, dtype=int)
    assert apart.min() > 60


@pytest.mark.parametrize(
    ("shape", "expected"), [((300, 400), (90, 120)), ((600, 300), (160, 80)), ((30, 60), (60, 120))]
)
def test_thumbnails_keep_their_proportions(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert thumbnail(np.zeros((*shape, 3), np.uint8), 120).shape == (*expected, 3)


def test_heat_is_where_the_activation_is() -> None:
    activation = np.zeros((6, 8))
    activation[:, 4:] = 1
    picture = heat_overlay(GREY, activation).astype(int)
    assert picture.shape == GREY.shape
    hot, cold = picture[30, 75], picture[30, 5]
    assert hot[0] > hot[2] + 40
    assert hot.sum() > cold.sum() + 100


def test_targets_have_the_colour_of_their_class() -> None:
    probability = np.zeros((3, 6, 8), np.float32)
    probability[1, :, :4] = 1
    probability[2, :, 4:] = 1
    picture = probability_overlay(GREY, probability)
    colours = class_colours(2)
    assert distance(picture[30, 5], colours[1]) < distance(picture[30, 5], colours[2])
    assert distance(picture[30, 75], colours[2]) < distance(picture[30, 75], colours[1])


def test_background_stays_grey_and_only_distrusted_places_are_hatched() -> None:
    probability = np.zeros((3, 6, 8), np.float32)
    probability[0] = 1
    confidence = np.ones((6, 8), np.float32)
    confidence[:, 4:] = 0
    picture = probability_overlay(GREY, probability, confidence).astype(int)
    assert np.ptp(picture[:, :30]) == 0
    assert np.ptp(picture[:, 50:]) > 30


def test_masks_have_colours_outlines_and_white_where_unknown() -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[10:20, 10:20] = 2
    mask[:, 30:] = 255
    picture = mask_overlay(GREY, mask, 2)
    colour = class_colours(2)[2]
    assert np.ptp(picture[5, 5]) == 0
    assert 0 < distance(picture[30, 30], colour) < distance(picture[5, 5], colour)
    assert distance(picture[20, 30], colour) == 0
    assert picture[30, 75].min() > 200


def test_background_shows_the_photo() -> None:
    photo = GREY.copy()
    photo[:, :40], photo[:, 40:] = 0, 255
    picture = mask_overlay(photo, np.zeros((6, 8), np.uint8), 2).astype(int)
    assert (picture[30, 60] - picture[30, 20]).min() > 150


def test_sheets_have_a_place_for_every_picture() -> None:
    red = np.zeros((50, 100, 3), np.uint8)
    red[..., 0] = 255
    sheet = overlay_sheet([[red, None], [red, red]], ("a", "b"), ["one", "two"], ["cat", "dog"], width=100)
    # 8 + 22 above; twice 22 for the name, 50 for the picture, 8 below; 22 for the legend.
    assert sheet.shape == (8 + 22 + 2 * (22 + 50 + 8) + 22, 8 + 2 * 108, 3)
    assert (sheet[60, 50] == [255, 0, 0]).all()
    assert (sheet[60, 160] == 255).all()
    assert (sheet[150, 160] == [255, 0, 0]).all()
    assert (sheet == class_colours(2)[1]).all(axis=-1).any()


def test_long_legends_are_broken_into_lines() -> None:
    red = np.zeros((50, 100, 3), np.uint8)
    few, many = (overlay_sheet([[red]], ("a",), classes=["class"] * n, width=100) for n in (1, 5))
    assert many.shape[0] > few.shape[0] + 60
    assert many.shape[1] == few.shape[1]


def test_sheets_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="rows: must have 2 pictures"):
        overlay_sheet([[GREY]], ("a", "b"))
    with pytest.raises(ValueError, match="names: must be 1"):
        overlay_sheet([[GREY]], ("a",), ["x", "y"])
