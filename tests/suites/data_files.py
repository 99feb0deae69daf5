"""Small files for the tests of readers."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from igcam.data.images import save_jpeg, save_png
from igcam.data.masks import write_mask

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def photo(path: Path, height: int = 70, width: int = 90, seed: int = 0) -> Path:
    """Write a colourful photo; the suffix chooses the format."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    save = save_png if path.suffix.lower() == ".png" else save_jpeg
    save(path, image)
    return path


def photos(folder: Path, *names: str) -> Path:
    """Write one photo a name and return the folder."""
    for seed, name in enumerate(names):
        photo(folder / name, seed=seed)
    return folder


def mask(path: Path, *ids: int, height: int = 70, width: int = 90) -> Path:
    """Write a mask with these ids in vertical stripes over a background."""
    pixels = np.zeros((height, width), np.uint8)
    for number, value in enumerate(ids):
        pixels[5:-5, 10 * number + 2 : 10 * number + 10] = value
    write_mask(path, pixels)
    return path


def rotated_photo(path: Path, orientation: int, height: int = 70, width: int = 90) -> Path:
    """Write a photo stored as height x width with this EXIF orientation."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def png_bytes(rows: list[bytes], width: int, bits: int, colour: int) -> bytes:
    """Build a PNG by hand, for bit depths that Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
