"""One file of the feature bank: what its header says of it, without reading its values."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.files import CHECKSUM


def layout(file: Path) -> tuple[list[tuple[int, ...]], int, int] | None:
    """Parse a file's header into shapes, offset of the first value and checksum; None if it is not whole."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            total = file.stat().st_size
            if length > total - 8:
                return None
            header: dict[str, Any] = json.loads(stream.read(length))
        checksum = int(header.pop("__metadata__")[CHECKSUM])
        shapes = [tuple(header[name]["shape"]) for name in sorted(header)]
        whole = 8 + length + sum(2 * prod(shape) for shape in shapes) == total
        half = all(level["dtype"] == "F16" for level in header.values())
        return (shapes, 8 + length, checksum) if whole and half and shapes else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def has_nan(level: Tensor) -> bool:
    """Tell whether half-precision values are not all numbers, in one thread: those of torch are at the network."""
    bits: NDArray[np.uint16] = level.numpy().view(np.uint16)
    return bool(bits.size) and int((bits & 0x7FFF).max()) > 0x7C00
