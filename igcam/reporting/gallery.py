"""The gallery of the report: which images are shown, and what is drawn over them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.data.images import load_image
from igcam.data.masks import IGNORE, MaskFile
from igcam.data.sample import tag_to_mask_id
from igcam.reporting.overlay import class_colours, heat_overlay, mask_overlay, probability_overlay, thumbnail
from igcam.reporting.rendering import PICTURE_WIDTH, Panel, Picture, byte_limit
from igcam.reporting.run_data import RunData

Choice = tuple[str, tuple[int, ...]]
"""Title, "Best" or "Least sure", and indices of images of one kind."""


@dataclass(frozen=True)
class PictureRow:
    """One image with its overlays."""

    name: str
    score: float | None
    labels: tuple[int, ...]
    """Mask ids of the classes that are tagged, predicted or true."""
    panels: tuple[Panel, ...]
    ignored: bool = False
    """Whether a mask has pixels that are not scored."""


@dataclass(frozen=True)
class Gallery:
    """The section of pictures."""

    note: str
    groups: Sequence[tuple[str, Sequence[PictureRow]]]
    problems: Sequence[str]
    colours: Mapping[int, str]
    """Mask id of each class in the pictures -> its colour, "f2545b"."""
    titles: Collection[str]
    ignored: bool
    limit: int
    """Largest length of a picture's data URI in bytes."""


def make_gallery(run: RunData, pictures: int) -> Gallery:
    """Draw so many images of each kind; those that cannot be read are listed with the reason."""
    groups: list[tuple[str, list[PictureRow]]] = []
    problems = []
    for title, indices in choose(run, pictures):
        groups.append((title, []))
        for index in indices:
            try:
                groups[-1][1].append(draw(run, index))
            except IgcamError as error:
                problems.append(str(error))
    rows = [row for _, group in groups for row in group]
    labels = sorted({label for row in rows for label in row.labels})
    panels = [panel for row in rows for panel in row.panels]
    return Gallery(
        note=_note(run),
        groups=[(title, group) for title, group in groups if group],
        problems=problems,
        colours={label: hex_colour(label, len(run.classes)) for label in labels},
        titles={panel.title for panel in panels},
        ignored=any(row.ignored for row in rows),
        limit=byte_limit(len(panels)),
    )


def hex_colour(label: int, classes: int) -> str:
    """Return the colour of a mask id as six hexadecimal digits."""
    return bytes(class_colours(classes)[label].tolist()).hex()


def choose(run: RunData, pictures: int) -> list[Choice]:
    """Choose the best, the median and the worst images; without truth the surest, the middling and the least sure.

    Without truth and without maps the images are evenly spaced. No image is chosen twice. There are `pictures` of
    each kind, fewer where there are not enough images.
    """
    if run.image_scores:
        scores = {index: run.image_scores.get(entry.name) for index, entry in enumerate(run.entries)}
        scored = {index: score for index, score in scores.items() if score is not None}
        return _extremes(scored, pictures, ("Best", "Median", "Worst"))
    if "maps" in run.arrays:
        margins = {index: margin(scores) for index, scores in enumerate(run.arrays["maps"])}
        return _extremes(margins, pictures, ("Surest", "Middling", "Least sure"))
    spaced = evenly(len(run.entries), 3 * pictures)
    return [("Evenly chosen", spaced)] if spaced else []


def evenly(available: int, wanted: int) -> tuple[int, ...]:
    """Return at most the wanted number of indices, evenly spaced in 0..available - 1."""
    return tuple(np.linspace(0, available - 1, min(wanted, available)).round().astype(int).tolist())


def margin(scores: NDArray[np.floating]) -> float:
    """Return the best minus the second best of scores (K, h, w) at each location, mean over locations."""
    ordered = np.sort(np.asarray(scores, np.float32), axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


def draw(run: RunData, index: int) -> PictureRow:
    """Draw the panels of one image as far as the run has them; IgcamError for a photo or mask missing or damaged."""
    entry = run.entries[index]
    photo = thumbnail(load_image(entry.image), PICTURE_WIDTH)
    panels = [Panel("Photo", f"Photo {entry.name}", photo)]
    labels = {tag_to_mask_id(tag) for tag in entry.tags or ()}
    ignored = False
    planes = {key: np.asarray(array[index], np.float32) for key, array in run.arrays.items()}
    if "maps" in planes:
        strongest = planes["maps"][1:].max(axis=0)
        text = f"Activation map of {entry.name}: {_percent((strongest > 0.5).mean())} of the photo is above one half"
        panels.append(Panel("Activation map", text, heat_overlay(photo, strongest)))
    if "pseudo_labels" in planes:
        soft = planes["pseudo_labels"]
        foreground = _percent((1 - soft[0]).mean(dtype=np.float64))
        text = f"Pseudo label of {entry.name}: {foreground} of the photo is foreground"
        panels.append(Panel("Pseudo label", text, probability_overlay(photo, soft, planes.get("confidence"))))
    for title, source in (("Final mask", run.mask(entry)), ("Truth", entry.truth)):
        if isinstance(source, MaskFile):
            mask = _checked(source, len(run.classes))
            shares = _shares(mask, run.classes)
            labels |= set(shares)
            ignored |= bool((mask == IGNORE).any())
            words = ", ".join(f"{run.classes[label - 1]} {share}" for label, share in shares.items())
            text = f"{title} of {entry.name}: {words or 'background only'}"
            panels.append(Panel(title, text, mask_overlay(photo, mask, len(run.classes))))
    score = run.image_scores.get(entry.name)
    return PictureRow(entry.name, score, tuple(sorted(labels)), tuple(panels), ignored)


def _note(run: RunData) -> str:
    if run.image_scores:
        return "Chosen by the mIoU of the single image, over the classes in its mask or its truth."
    if "maps" in run.arrays:
        return (
            "There is no truth to rank the images by. They are chosen by the margin of the best score of the "
            "activation maps over the second best, mean over the photo."
        )
    return "Evenly spaced in the list of images."


def _extremes(scores: Mapping[int, float], pictures: int, titles: Sequence[str]) -> list[Choice]:
    ordered = sorted(scores, key=lambda index: (-scores[index], index))
    # With few images each kind gets as many as the others.
    size = min(pictures, max(1, len(ordered) // 3))
    best, rest = ordered[:size], ordered[size:]
    worst, rest = rest[len(rest) - min(size, len(rest)) :][::-1], rest[: max(0, len(rest) - size)]
    start = max(0, (len(rest) - size) // 2)
    groups = (best, rest[start : start + size], worst)
    return [(title, tuple(group)) for title, group in zip(titles, groups, strict=True) if group]


def _checked(source: MaskFile, classes: int) -> Picture:
    mask = source.read()
    strange = mask[(mask > classes) & (mask != IGNORE)]
    if strange.size:
        raise IgcamError(f"{source.path}: ids must be 0..{classes} or 255, got {int(strange.max())}")
    return mask


def _shares(mask: Picture, classes: Sequence[str]) -> dict[int, str]:
    """Return the mask ids of the classes in a mask and their shares of the picture as text."""
    pixels = np.bincount(mask.ravel(), minlength=256)
    return {label: _percent(pixels[label] / mask.size) for label in range(1, len(classes) + 1) if pixels[label]}


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.01 else "under 1%"
