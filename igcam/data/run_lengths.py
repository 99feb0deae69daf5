"""Run-length codes of regions: COCO's text and Label Studio's brush."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BRUSH_SIZES = (3, 4, 8, 16)
"""Bits in which Label Studio's brush may say how long a run is."""


def run_lengths(values: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the lengths of runs in bool (N,), off and on in turn; the first is off and may be 0."""
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], changes, [len(values)]]))
    return np.concatenate([[0], lengths]) if len(values) and values[0] else lengths


def coco_code(region: NDArray[np.bool_]) -> dict[str, object]:
    """Return a region, bool (H, W), as COCO's compressed run-length code: {"size": [H, W], "counts": text}.

    Pixels are counted down the columns. From the third on a length is told as the difference from the one
    before the last; a number is told in groups of five bits, the lowest first, a sixth bit meaning that more
    follow, and 48 is added to make it a letter.

    Source: maskApi.c of the COCO API, rleToString.
    """
    lengths = run_lengths(region.ravel(order="F")).tolist()
    letters = []
    for index, length in enumerate(lengths):
        number = length - lengths[index - 2] if index > 2 else length
        while True:
            group, number = number & 31, number >> 5
            # The highest bit that is told is the sign of what is not.
            more = number != (-1 if group & 16 else 0)
            letters.append(chr(48 + group + 32 * more))
            if not more:
                break
    return {"size": list(region.shape), "counts": "".join(letters)}


def brush_code(region: NDArray[np.bool_]) -> list[int]:
    """Return a region, bool (H, W), as the bytes of Label Studio's brush: four values a pixel, 0 or 255.

    32 bits: number of values. 5: bits of a value, less 1. Four times 4: bits of a length, less 1. Then for each
    run one bit 1, two for the size of its length, the length less 1, and the value. The rest of the last byte
    is 0.

    Source: the decoder in label_studio_sdk.converter.brush, whose format is that of the library rle-pack.
    """
    bits = [f"{4 * region.size:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _BRUSH_SIZES)]
    on = False
    for length in run_lengths(region.ravel()).tolist():
        left = 4 * length
        while left:
            run = min(left, 1 << _BRUSH_SIZES[-1])
            index = next(index for index, size in enumerate(_BRUSH_SIZES) if run <= 1 << size)
            bits.append(f"1{index:02b}{run - 1:0{_BRUSH_SIZES[index]}b}{255 * on:08b}")
            left -= run
        on = not on
    packed = np.packbits(np.frombuffer("".join(bits).encode(), np.uint8) - ord("0"))
    return [int(byte) for byte in packed]
