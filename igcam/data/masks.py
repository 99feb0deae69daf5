"""Masks of uint8 ids: 0 = background, 1..C = classes, 255 = unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from igcam.core.errors import IgcamError
from igcam.data.images import read_image_file, save_png

IGNORE = 255
"""Mask id of an unknown or ignored pixel."""
MAXIMUM_CLASSES = 254
"""Number of classes that fit into a uint8 mask besides background and IGNORE."""
FORBIDDEN = -1
"""Value in a lookup for ids that a file must not have."""
BACKGROUND = "background"
"""Name of mask id 0; no class may have it."""

Result = TypeVar("Result")


class MaskSource(Protocol):
    """Anything that produces a mask on request."""

    def read(self) -> NDArray[np.uint8]:
        """Return uint8 (H, W) with ids 0..C and 255, in the orientation in which its image is displayed."""
        ...


@dataclass(frozen=True)
class MaskFile:
    """A mask in a palette or greyscale PNG; a `MaskSource`."""

    path: Path
    lookup: tuple[int, ...] | None = field(default=None, repr=False)
    """For each of the 256 ids of the file the new id, or FORBIDDEN; None keeps the ids."""

    def __post_init__(self) -> None:
        if self.lookup is not None and len(self.lookup) != 256:
            raise ValueError(f"lookup must have 256 entries, got {len(self.lookup)}")

    def read(self) -> NDArray[np.uint8]:
        """Return the mask, uint8 (H, W); IgcamError if it is no single-channel mask or has a forbidden id."""
        mask = read_mask_file(self.path)
        if self.lookup is None:
            return mask
        self._translated(present_ids(mask))
        return np.array(self.lookup).astype(np.uint8)[mask]

    def ids(self) -> list[int]:
        """Return the ids that occur in `read()`, sorted, in half of its time; raises what `read` raises."""

        def counted(image: Image.Image) -> list[int]:
            step = 255 if image.mode == "1" else _grey_step(image)
            return [value // step for value, count in enumerate(image.histogram()) if count]

        return self._translated(_with_mask(self.path, counted))

    def _translated(self, ids: list[int]) -> list[int]:
        if self.lookup is None:
            return ids
        lookup = self.lookup
        strange = [value for value in ids if lookup[value] == FORBIDDEN]
        if strange:
            allowed = ids_in_words(value for value in range(256) if lookup[value] != FORBIDDEN)
            raise IgcamError(f"{self.path}: has ids {ids_in_words(strange)}; allowed are {allowed}")
        return sorted({lookup[value] for value in ids})


def class_lookup(classes: int) -> tuple[int, ...]:
    """Return the lookup that keeps ids 0..classes and 255 and forbids all others."""
    return tuple(value if value <= classes or value == IGNORE else FORBIDDEN for value in range(256))


def read_mask_file(path: str | Path) -> NDArray[np.uint8]:
    """Read the ids of a mask file, uint8 (H, W): palette indices, grey values or single bits, without any scaling.

    Raises:
        IgcamError: The file is missing, damaged, lossy (JPEG) or has more than one channel of 8 bits.
    """

    def pixels(image: Image.Image) -> NDArray[np.uint8]:
        step = _grey_step(image)
        return np.array(image).astype(np.uint8) // np.uint8(step)

    return _with_mask(path, pixels)


def write_mask(path: str | Path, mask: NDArray[np.uint8]) -> None:
    """Write a mask, uint8 (H, W), as a palette PNG in VOC's colours, atomically.

    Raises:
        ValueError: The mask is not uint8 (H, W).
        IgcamError: The disk is full or the folder cannot be written.
    """
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError(f"mask must be uint8 (H, W), got {mask.dtype} {mask.shape}")
    save_png(path, mask, voc_palette())


@cache
def voc_palette() -> NDArray[np.uint8]:
    """Return the colour map of PASCAL VOC (VOClabelcolormap of its development kit), uint8 (256, 3), read-only."""
    ids = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for step in range(8):
        for channel in range(3):
            bit = (ids >> (3 * step + channel)) & 1
            palette[:, channel] |= (bit << (7 - step)).astype(np.uint8)
    palette.flags.writeable = False
    return palette


def present_ids(mask: NDArray[np.uint8]) -> list[int]:
    """Return the ids that occur in a uint8 mask, sorted."""
    return np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()


def tags_in_mask(mask: NDArray[np.uint8]) -> tuple[int, ...]:
    """Return the 0-based tags of the classes in a mask, sorted; background and IGNORE are none."""
    return tuple(value - 1 for value in present_ids(mask) if value not in (0, IGNORE))


def ids_in_words(ids: Iterable[int]) -> str:
    """Format ids with ranges: "0-6, 255"."""
    runs: list[list[int]] = []
    for value in sorted(ids):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def lookup_for(ids: Mapping[int, str], classes: Sequence[str]) -> tuple[int, ...]:
    """Return the lookup from a data set's own foreground ids, with their names, to 1..C in the order of `classes`.

    Known ids of other names become background.
    """
    table = [FORBIDDEN] * 256
    table[0], table[IGNORE] = 0, IGNORE
    for value, name in ids.items():
        table[value] = classes.index(name) + 1 if name in classes else 0
    return tuple(table)


def _with_mask(path: str | Path, read: Callable[[Image.Image], Result]) -> Result:
    def checked(image: Image.Image) -> Result:
        if image.format == "JPEG":
            raise IgcamError("is JPEG, which blurs ids; a mask must be a palette or greyscale PNG")
        if image.mode not in ("1", "L", "P"):
            raise IgcamError(f"has mode {image.mode}; a mask must be a palette or greyscale PNG of 8 bits")
        return read(image)

    return read_image_file(path, checked, "a mask")


def _grey_step(image: Image.Image) -> int:
    # Pillow scales greyscale PNGs of 2 and 4 bits to 0..255; the raw mode is known until they are loaded.
    raw_modes = [tile[3] for tile in getattr(image, "tile", [])]
    return 85 if raw_modes == ["L;2"] else 17 if raw_modes == ["L;4"] else 1
