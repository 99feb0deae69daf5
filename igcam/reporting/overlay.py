"""Overlays of activation maps, class probabilities and masks on their photo, and contact sheets of them."""

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

_COLOURS = bytes.fromhex("f2545b 2ec4b6 ffb627 7c6cf2 8ac926 3a86ff f77fbe c8743a 5fc2f0 b79ced 4caf6e e4e04b")


@cache
def class_colours(classes: int) -> Picture:
    """Return distinct colours by mask id, uint8 (classes + 1, 3), read-only; 0 is grey."""
    colours = [(128, 128, 128)]
    for index in range(classes):
        if 3 * index < len(_COLOURS):
            red, green, blue = _COLOURS[3 * index : 3 * index + 3]
        else:
            # Steps of the golden ratio never repeat a hue.
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
    """Overlay an activation map, floats (h, w) in 0..1, on its photo: violet where it is weak, yellow where strong."""
    strength = _resize(activation, photo).clip(0, 1)
    heat = cv2.applyColorMap(np.rint(255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return _blend(_faded(photo), heat, 0.35 + 0.45 * strength)


def signed_overlay(photo: Picture, values: NDArray[np.floating]) -> Picture:
    """Overlay signed values, floats (h, w) in -1..1, on their photo: red above zero, blue below, opaque if large."""
    signed = _resize(values, photo).clip(-1, 1)
    colours = np.where(signed[..., None] > 0, np.array((214, 48, 39)), np.array((33, 102, 222)))
    return _blend(_light(photo), colours, 0.85 * np.abs(signed))


def probability_overlay(
    photo: Picture, probability: NDArray[np.floating], confidence: NDArray[np.floating] | None = None
) -> Picture:
    """Overlay class probabilities on their photo in the colours of the classes; low confidence is hatched.

    Probabilities are floats (K, h, w) in 0..1, background first, and cover the whole photo, uint8 (H, W, 3) in RGB;
    confidence is floats (h, w) in 0..1, None = 1 everywhere.
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
    """Overlay a mask on its photo: classes in their colours with an outline, ignored pixels in white.

    The mask, uint8 (h, w), 0..classes and 255, of any size, is resized to the photo.
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
    """Arrange pictures in a contact sheet with headings, uint8 (H, W, 3); `igcam.data.images.save_png` writes it.

    Args:
        rows: Pictures, uint8 (H, W, 3) of any size, one for each column; None leaves a cell empty.
        columns: Headings, ("photo", "map", "mask", "truth").
        names: One for each row, written above it.
        classes: Names of the classes, in the order of their mask ids, for a legend at the bottom.
        width: Width of a picture in pixels.

    Raises:
        ValueError: The number of pictures of a row is not that of the columns, or that of names not that of rows.
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
    legend = _legend_positions(classes, sheet_width, gap)
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


def _legend_positions(classes: Sequence[str], width: int, gap: int) -> list[tuple[int, int]]:
    """Return the left edge in pixels and the line of every class of a legend."""
    font = ImageFont.load_default(14)
    positions, left, line = [], gap, 0
    for name in classes:
        needed = 18 + round(font.getlength(name)) + 2 * gap
        if left > gap and left + needed > width:
            left, line = gap, line + 1
        positions.append((left, line))
        left += needed
    return positions


def _resize(plane: NDArray[np.floating], photo: Picture) -> NDArray[np.float32]:
    size = photo.shape[1], photo.shape[0]
    return np.asarray(cv2.resize(np.asarray(plane, np.float32), size, interpolation=cv2.INTER_LINEAR), np.float32)


def _faded(photo: Picture) -> Picture:
    """Return the photo with less colour, so that the overlay stands out."""
    return _blend(photo, cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None], np.float32(0.7))


def _light(photo: Picture) -> Picture:
    """Return the faded photo with lighter shadows, on which colours would look muddy."""
    return _blend(_faded(photo), np.float32(200), np.float32(0.35))


def _blend(
    below: Picture, above: NDArray[np.generic] | np.float32, opacity: NDArray[np.floating] | np.float32
) -> Picture:
    """Blend two pictures or colours in 0..255; the opacity in 0..1 is one number or one for each pixel."""
    share = np.asarray(opacity, np.float32)[..., None]
    mixed = below * (1 - share) + np.asarray(above, np.float32) * share
    return (mixed + np.float32(0.5)).astype(np.uint8)
