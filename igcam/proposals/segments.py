"""Object proposals: any callable that cuts a photo into class-agnostic segments."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.validation import Count, Fraction, options
from igcam.refine.filters import guided_filter
from igcam.refine.stack import resized

Array = NDArray[np.float32]
Masks = NDArray[np.bool_]
Image = NDArray[np.uint8]


@options
class SegmentOptions:
    """Which segments are kept."""

    min_area: Fraction = 0.01
    """Smallest segment, as a share of the image."""
    max_area: Fraction = 0.9
    """Largest segment, as a share of the image."""
    overlap: Fraction = 0.9
    """Of two segments whose intersection over union is above this, the later one is a duplicate."""
    max_count: Count = 300
    """Largest number of segments per image; the first ones stay, best first if a kind has scores."""


@dataclass(frozen=True)
class Segments:
    """The proposals of one image, without duplicates."""

    masks: Masks
    """bool (P, rows, columns) over the whole photo, at its size or a smaller one."""
    scores: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32 (P,): object score of each, larger is better; empty if the kind has none."""

    def __post_init__(self) -> None:
        if self.masks.ndim != 3 or self.masks.dtype != np.bool_:
            raise ValueError(f"masks: must be bool (P, rows, columns), got {self.masks.dtype} {self.masks.shape}")
        if self.scores.shape not in ((0,), (len(self.masks),)):
            raise ValueError(f"scores: must be ({len(self.masks)},) or empty, got {self.scores.shape}")

    def __len__(self) -> int:
        return len(self.masks)


class Proposer(Protocol):
    """A kind of proposals."""

    def __call__(self, image: Image, feature: NDArray[np.floating] | None) -> Segments:
        """Cut one photo into segments.

        Args:
            image: uint8 (H, W, 3), RGB.
            feature: Float (D, h, w): features of the whole photo; None where there are none.

        Raises:
            ValueError: An array has another shape, or a kind that needs features was given none.
        """
        ...


Kind = TypeVar("Kind", bound=Proposer)
_KINDS: dict[str, Proposer] = {}


def proposal_kind(name: str) -> Callable[[Kind], Kind]:
    """Register a `Proposer` under a name that a run can ask for; it needs only a photo and features."""

    def register(proposer: Kind) -> Kind:
        _KINDS[name] = proposer
        return proposer

    return register


def proposal_kinds() -> Mapping[str, Proposer]:
    """Return the registered kinds by name; imports all modules of this package."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], f"{__package__}."):
        importlib.import_module(module.name)
    return MappingProxyType(dict(sorted(_KINDS.items())))


def tidy(masks: Masks, scores: Array | None = None, options: SegmentOptions | None = None) -> Segments:
    """Keep segments of an allowed size, the best of each group of near duplicates, up to a maximum number.

    Args:
        masks: bool (P, rows, columns).
        scores: float32 (P,), which order them; None keeps the order given.
        options: Defaults to `SegmentOptions()`.
    """
    options = options or SegmentOptions()
    area = masks.mean(axis=(1, 2))
    fit = np.flatnonzero((area >= options.min_area) & (area <= options.max_area) & (area > 0))
    if scores is not None:
        fit = fit[np.argsort(-scores[fit], kind="stable")]
    similar = overlaps(masks[fit], masks[fit]) > options.overlap
    first: list[int] = []
    for index in range(len(fit)):
        if len(first) < options.max_count and not similar[first, index].any():
            first.append(index)
    kept = fit[first]
    return Segments(masks[kept], np.zeros(0, np.float32) if scores is None else scores[kept])


def overlaps(first: Masks, second: Masks) -> Array:
    """Return the intersection over union of each of P segments with each of Q, float32 (P, Q); 0 for two empty."""
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)), np.float32)
    one, other = (masks.reshape(len(masks), masks[0].size).astype(np.float32) for masks in (first, second))
    common = one @ other.T
    union = one.sum(axis=1)[:, None] + other.sum(axis=1) - common
    return np.asarray(common / np.maximum(union, 1), np.float32)


def components(mask: NDArray[np.integer], minimum: int = 1) -> Masks:
    """Return the connected pieces of a mask if it has several, bool (P, rows, columns).

    The mask is uint8 (rows, columns), nonzero inside; corners connect. Pieces below `minimum` locations are left out.
    """
    count, numbered, facts, _ = cv2.connectedComponentsWithStats(np.asarray(mask, np.uint8))
    kept = [part for part in range(1, count) if facts[part, cv2.CC_STAT_AREA] >= minimum]
    pieces: Masks = numbered == np.array(kept, np.int32).reshape(-1, 1, 1)
    return pieces if count > 2 else pieces[:0]


def joined(parts: Sequence[Segments], options: SegmentOptions | None = None) -> Segments:
    """Join several kinds of one image in turns, so that a maximum number truncates all of them equally.

    Parts are of any size; the result has the largest.
    """
    size = max((part.masks.shape[1:] for part in parts), key=lambda shape: shape[0] * shape[1])
    turns = [(position, index) for index, part in enumerate(parts) for position in range(len(part))]
    stacks = [enlarged(part.masks, *size) for part in parts]
    masks = [stacks[index][position] for position, index in sorted(turns)]
    return tidy(np.stack(masks) if masks else np.zeros((0, *size), bool), None, options)


def enlarged(masks: Masks, rows: int, columns: int) -> Masks:
    """Resize segments to (P, rows, columns) by nearest neighbour."""
    if masks.shape[1:] == (rows, columns) or not len(masks):
        return masks if len(masks) else np.zeros((0, rows, columns), bool)
    size = (columns, rows)
    return np.stack([cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for mask in masks])


def smaller(image: Image, side: int) -> Image:
    """Return a photo whose longer side is at most `side` pixels, averaged over areas."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def finer(proposer: Proposer, side: int = 128, radius: int = 6, options: SegmentOptions | None = None) -> Proposer:
    """Return a kind that refines the segments of another one, whose scores stay, by a guided filter on the photo.

    Args:
        proposer: Gives segments on a coarse grid.
        side: The photo is shrunk until its longer side has at most this many pixels.
        radius: Half side of the window of the filter in pixels: half to one location of the grid.
        options: For the finer segments; defaults to `SegmentOptions()`.
    """

    def propose(image: Image, feature: NDArray[np.floating] | None) -> Segments:
        coarse = proposer(image, feature)
        small = smaller(image, side)
        rows, columns = small.shape[:2]
        if not len(coarse):
            return Segments(np.zeros((0, rows, columns), bool), coarse.scores)
        # The filter is linear: all segments pass at once, each as a share of the whole.
        shares = resized(coarse.masks.astype(np.float32) / len(coarse), rows, columns)
        stack = np.concatenate([np.clip(1 - shares.sum(axis=0, keepdims=True), 0, 1), shares])
        masks = guided_filter(small, stack / stack.sum(axis=0), radius)[1:] > 0.5 / len(coarse)
        return tidy(masks, coarse.scores if len(coarse.scores) else None, options)

    return propose
