"""The pictures of the page: which images are shown, and what is drawn over them."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from igcam.core.errors import IgcamError
from igcam.data.images import load_image
from igcam.data.masks import IGNORE, MaskFile
from igcam.data.sample import tag_to_mask_id
from igcam.reporting.overlay import heat_overlay, mask_overlay, probability_overlay, thumbnail
from igcam.reporting.run_data import RunData

Picture = NDArray[np.uint8]

_LADDER = ((400, 82), (340, 80), (280, 78), (220, 74), (220, 50), (150, 50))
"""Widths in pixels and JPEG qualities, tried until a picture is small enough."""


@dataclass(frozen=True)
class Panel:
    """One picture of a row."""

    title: str
    """Heading: "Photo", "Final mask"."""
    description: str
    """What it shows, for those who cannot see it."""
    picture: Picture
    """uint8 (H, W, 3), RGB."""


@dataclass(frozen=True)
class PictureRow:
    """One image with everything that is drawn over it."""

    name: str
    score: float | None
    """Its mIoU in percent."""
    labels: tuple[int, ...]
    """Mask ids of the classes that are tagged, predicted or true."""
    panels: tuple[Panel, ...]
    """Photo first."""
    unknown: bool = False
    """Whether a mask has pixels that are not scored."""


@dataclass(frozen=True)
class Choice:
    """Some images of one kind."""

    title: str
    """"Best", "Least sure", ..."""
    indices: tuple[int, ...]
    """Indices of the samples."""


def choose(run: RunData, pictures: int) -> list[Choice]:
    """Choose the images to show: best, median and worst; without truth surest, middling and least sure.

    Without truth and without maps they are spread evenly. No image is chosen twice.

    Args:
        run: The run.
        pictures: How many of each kind, at least 0; fewer where there are not enough images.
    """
    if run.image_scores:
        scores = {
            index: run.image_scores[entry.name]
            for index, entry in enumerate(run.entries)
            if entry.name in run.image_scores
        }
        return _extremes(scores, pictures, ("Best", "Median", "Worst"))
    if run.maps is not None:
        sure = {index: confidence(stack) for index, stack in enumerate(run.maps)}
        return _extremes(sure, pictures, ("Surest", "Middling", "Least sure"))
    wanted = min(3 * pictures, len(run.entries))
    spread = np.linspace(0, len(run.entries) - 1, wanted).round().astype(int)
    return [Choice("Evenly chosen", tuple(spread.tolist()))] if wanted else []


def confidence(scores: NDArray[np.floating]) -> float:
    """Return how far the best score is above the second, mean over the places of scores (K, h, w)."""
    ordered = np.sort(np.asarray(scores, np.float32), axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


def draw(run: RunData, index: int) -> PictureRow:
    """Draw the panels of one image; what the run does not hold is left out.

    Raises:
        IgcamError: The photo or a mask is missing or damaged.
    """
    entry = run.entries[index]
    photo = thumbnail(load_image(entry.image), _LADDER[0][0])
    panels = [Panel("Photo", f"Photo {entry.name}", photo)]
    labels = {tag_to_mask_id(tag) for tag in entry.tags or ()}
    unknown = False
    if run.maps is not None:
        strongest = np.asarray(run.maps[index][1:], np.float32).max(axis=0)
        text = f"Activation map of {entry.name}: {_covered(strongest > 0.5)} of the photo is above one half"
        panels.append(Panel("Activation map", text, heat_overlay(photo, strongest)))
    if run.targets is not None:
        target = np.asarray(run.targets[index], np.float32)
        confidence = None if run.confidence is None else np.asarray(run.confidence[index], np.float32)
        text = f"Guidance target of {entry.name}: {_covered(1 - target[0])} of the photo is foreground"
        panels.append(Panel("Guidance target", text, probability_overlay(photo, target, confidence)))
    for title, source in (("Final mask", run.mask(entry)), ("Truth", entry.truth)):
        if source is not None:
            mask = _checked(source, len(run.classes))
            shares = _shares(mask, run.classes)
            labels |= set(shares)
            unknown |= bool((mask == IGNORE).any())
            words = ", ".join(f"{run.classes[label - 1]} {share}" for label, share in shares.items())
            text = f"{title} of {entry.name}: {words or 'background only'}"
            panels.append(Panel(title, text, mask_overlay(photo, mask, len(run.classes))))
    score = run.image_scores.get(entry.name)
    return PictureRow(entry.name, score, tuple(sorted(labels)), tuple(panels), unknown)


def data_uri(picture: Picture, max_bytes: int) -> str:
    """Return a picture as a data URI of a JPEG, made smaller until it fits or cannot get any smaller."""
    text, before = "", 1
    for width, quality in _LADDER:
        # What is far too long even in proportion to its area is not worth encoding.
        if len(text) * (width / before) ** 2 > 2 * max_bytes and width != _LADDER[-1][0]:
            continue
        before, stream = width, io.BytesIO()
        Image.fromarray(thumbnail(picture, width)).save(stream, "JPEG", quality=quality, optimize=True)
        text = "data:image/jpeg;base64," + b64encode(stream.getvalue()).decode("ascii")
        if len(text) <= max_bytes:
            break
    return text


def _extremes(scores: Mapping[int, float], pictures: int, titles: Sequence[str]) -> list[Choice]:
    ordered = sorted(scores, key=lambda index: (-scores[index], index))
    # With few images each kind gets as many as the others.
    size = min(pictures, max(1, len(ordered) // 3))
    best, rest = ordered[:size], ordered[size:]
    worst, rest = rest[len(rest) - min(size, len(rest)) :][::-1], rest[: max(0, len(rest) - size)]
    start = max(0, (len(rest) - size) // 2)
    groups = (best, rest[start : start + size], worst)
    return [Choice(title, tuple(group)) for title, group in zip(titles, groups, strict=True) if group]


def _checked(source: MaskFile, classes: int) -> Picture:
    mask = source.read()
    strange = mask[(mask > classes) & (mask != IGNORE)]
    if strange.size:
        raise IgcamError(f"{source.path}: ids must be 0..{classes} or 255, got {int(strange.max())}")
    return mask


def _shares(mask: Picture, classes: Sequence[str]) -> dict[int, str]:
    """Return the classes in a mask and how much of the picture they cover, in words."""
    pixels = np.bincount(mask.ravel(), minlength=256)
    return {label: _percent(pixels[label] / mask.size) for label in range(1, len(classes) + 1) if pixels[label]}


def _covered(plane: NDArray[np.generic]) -> str:
    return _percent(float(np.asarray(plane, np.float64).mean()))


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.01 else "under 1%"
