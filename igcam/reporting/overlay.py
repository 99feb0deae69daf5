"""Overlays: activation maps, targets and masks drawn over their photo."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from igcam.data.masks import IGNORE

Picture = NDArray[np.uint8]

_COLOURS = (
    "f2545b",
    "2ec4b6",
    "ffb627",
    "7c6cf2",
    "8ac926",
    "3a86ff",
    "f77fbe",
    "c8743a",
    "5fc2f0",
    "b79ced",
    "4caf6e",
    "e4e04b",
)


@cache
def class_colours(classes: int) -> Picture:
    """Return colours that can be told apart on photos, uint8 (classes + 1, 3), by mask id; 0 is grey."""
    colours = [(128, 128, 128)]
    for index in range(classes):
        if index < len(_COLOURS):
            red, green, blue = bytes.fromhex(_COLOURS[index])
        else:
            # Steps by the golden ratio never fall on a hue that was used before.
            hue, light = (0.05 + index * 0.618034) % 1, (0.45, 0.6, 0.72)[index % 3]
            red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, light, 0.65))
        colours.append((red, green, blue))
    table = np.array(colours, np.uint8)
    table.flags.writeable = False
    return table


def thumbnail(photo: Picture, width: int) -> Picture:
    """Resize a photo to a width; one taller than 4/3 of that becomes narrower instead."""
    height, columns = photo.shape[:2]
    scale = width / max(columns, 0.75 * height)
    size = (max(1, round(columns * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(photo, size, interpolation=method), np.uint8)


def heat_overlay(photo: Picture, activation: NDArray[np.floating]) -> Picture:
    """Lay an activation map over its photo: violet where it is weak, yellow where it is strong.

    Args:
        photo: uint8 (H, W, 3), RGB.
        activation: Floats (h, w) in 0..1 that cover the whole photo.
    """
    strength = _resize(activation, photo).clip(0, 1)
    heat = cv2.applyColorMap(np.rint(255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return _blend(_faded(photo), heat, 0.35 + 0.45 * strength)


def signed_overlay(photo: Picture, values: NDArray[np.floating]) -> Picture:
    """Lay values of two signs over their photo: red above zero, blue below, the stronger the denser.

    Args:
        photo: uint8 (H, W, 3), RGB.
        values: Floats (h, w) in -1..1 that cover the whole photo.
    """
    signed = _resize(values, photo).clip(-1, 1)
    colours = np.where(signed[..., None] > 0, np.array((214, 48, 39)), np.array((33, 102, 222)))
    return _blend(_light(photo), colours, 0.85 * np.abs(signed))


def probability_overlay(
    photo: Picture, probability: NDArray[np.floating], confidence: NDArray[np.floating] | None = None
) -> Picture:
    """Lay class probabilities over their photo in the classes' colours; distrusted places are hatched.

    Args:
        photo: uint8 (H, W, 3), RGB.
        probability: Floats (K, h, w) in 0..1, background first, that cover the whole photo.
        trust: Floats (h, w) in 0..1; None = everything is trusted.
    """
    shares = np.stack([_resize(plane, photo) for plane in probability[1:]], axis=-1).clip(0, 1)
    total = shares.sum(axis=-1)
    colours = class_colours(len(probability) - 1)[1:].astype(np.float32)
    mixed = shares @ colours / np.maximum(total, 1e-6)[..., None]
    overlaid = _blend(_light(photo), mixed, 0.7 * total.clip(0, 1))
    if confidence is None:
        return overlaid
    rows, columns = np.indices(photo.shape[:2])
    period = max(6, photo.shape[1] // 36)
    hatch = (rows + columns) % period < period / 3
    return _blend(overlaid, np.float32(235), 0.6 * hatch * (1 - _resize(confidence, photo).clip(0, 1)))


def mask_overlay(photo: Picture, mask: NDArray[np.uint8], classes: int) -> Picture:
    """Lay a mask over its photo: classes in their colours with an outline, unknown pixels in white.

    Args:
        photo: uint8 (H, W, 3), RGB.
        mask: uint8 (h, w), 0..classes and 255, of any size; it is stretched over the photo.
        classes: Number of classes.
    """
    height, width = photo.shape[:2]
    ids = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))
    table = np.full((256, 3), 255, np.uint8)
    table[: classes + 1] = class_colours(classes)
    outline = cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
    opacity = np.where(ids == 0, 0.0, np.where(outline, 1.0, 0.6))
    opacity[ids == IGNORE] = 0.75
    return _blend(_light(photo), table[ids], opacity)


def overlay_sheet(
    rows: Sequence[Sequence[Picture | None]],
    columns: Sequence[str],
    names: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    width: int = 220,
) -> Picture:
    """Arrange pictures in a sheet with headings, to look at or to write with `igcam.data.images.save_png`.

    Args:
        rows: Pictures, uint8 (H, W, 3) of any size, one for each column; None leaves a place empty.
        columns: Headings, ("photo", "map", "mask", "truth").
        names: One for each row, written above it.
        classes: Names of the classes for a legend at the bottom, in the order of their mask ids.
        width: Columns of pixels of a picture.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: A row has not as many pictures as there are columns, or names do not fit the rows.
    """
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"rows: must have {len(columns)} pictures, got {[len(row) for row in rows]}")
    if names is not None and len(names) != len(rows):
        raise ValueError(f"names: must be {len(rows)} as the rows, got {len(names)}")
    gap, line = 8, 22
    small = [[None if item is None else thumbnail(item, width) for item in row] for row in rows]
    heights = [max((item.shape[0] for item in row if item is not None), default=0) for row in small]
    caption = line if names is not None else 0
    sheet_width = gap + len(columns) * (width + gap)
    legend = _legend_places(classes, sheet_width, gap)
    legend_lines = legend[-1][1] + 1 if legend else 0
    sheet_height = gap + line + sum(height + gap + caption for height in heights) + legend_lines * line
    sheet = Image.new("RGB", (sheet_width, sheet_height), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for position, title in enumerate(columns):
        pen.text((gap + position * (width + gap), gap), title, "black", font)
    top = gap + line
    for index, row in enumerate(small):
        if names is not None:
            pen.text((gap, top), names[index], "#555555", font)
            top += caption
        for position, item in enumerate(row):
            if item is not None:
                sheet.paste(Image.fromarray(item), (gap + position * (width + gap), top))
        top += heights[index] + gap
    for (left, row_number), colour, name in zip(legend, class_colours(len(classes))[1:], classes, strict=True):
        upper = top + row_number * line
        pen.rectangle((left, upper + 2, left + 12, upper + 14), fill=tuple(colour.tolist()))
        pen.text((left + 18, upper), name, "black", font)
    return np.array(sheet)


def _legend_places(classes: Sequence[str], width: int, gap: int) -> list[tuple[int, int]]:
    """Return the left edge and the number of the line of every class of a legend."""
    font = ImageFont.load_default(14)
    locations, left, line = [], gap, 0
    for name in classes:
        needed = 18 + round(font.getlength(name)) + 2 * gap
        if left > gap and left + needed > width:
            left, line = gap, line + 1
        locations.append((left, line))
        left += needed
    return locations


def _resize(plane: NDArray[np.floating], photo: Picture) -> NDArray[np.float32]:
    height, width = photo.shape[:2]
    values = np.asarray(plane, np.float32)
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _faded(photo: Picture) -> Picture:
    """Return the photo with less colour, so that the overlay has its own."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None]
    return _blend(photo, grey, np.float32(0.7))


def _light(photo: Picture) -> Picture:
    """Return the faded photo without its darkest tones, on which colours look muddy."""
    return _blend(_faded(photo), np.float32(200), np.float32(0.35))


def _blend(
    below: Picture,
    above: NDArray[np.generic] | np.float32,
    opacity: NDArray[np.floating] | np.float32,
) -> Picture:
    """Return a mixture of 0..255 of two pictures or colours, opacity in 0..1 a pixel or everywhere."""
    share = np.asarray(opacity, np.float32)[..., None]
    mixed = below * (1 - share) + np.asarray(above, np.float32) * share
    return (mixed + np.float32(0.5)).astype(np.uint8)
