"""Photos as they are displayed: any common file becomes uint8 RGB, upright."""

from __future__ import annotations

import io
import os
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from igcam.core.errors import IgcamError
from igcam.core.files import write_bytes

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""File name suffixes taken for photos, in any case."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Result = TypeVar("Result")

# Pillow warns from half of the size that it refuses; such photos are read like any other.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class ImageFacts:
    """Properties of a photo's file before the conversion to RGB."""

    height: int
    width: int
    mode: str
    """Pillow's mode of the file: RGB, L, P, CMYK, RGBA, I;16, ..."""
    orientation: int
    """EXIF orientation, 1 (upright) to 8."""
    alpha: bool
    sixteen_bit: bool
    frames: int
    """Number of pages or frames; only the first is used."""


def load_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a photo as it is displayed: uint8 (H, W, 3), RGB, writable.

    The EXIF orientation is applied. Greyscale and palette become RGB; CMYK is converted without colour profiles;
    transparency is laid over white; 16-bit values are scaled from 0..65535 to 0..255. Of several frames the first is
    taken.

    Raises:
        IgcamError: The file is missing, damaged, truncated, too large to be a photo, or has 32-bit pixels.
    """
    return read_image_file(path, lambda image: np.array(_upright_rgb(image)))


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (height, width) of a photo as displayed, from its header where possible; IgcamError if it is no image."""

    def size(image: Image.Image) -> tuple[int, int]:
        if image.format == "TIFF":
            # Some versions of Pillow give the size before rotation, others after it.
            image.load()
        turned = _orientation(image) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)

    return read_image_file(path, size)


def inspect_image(path: str | Path) -> ImageFacts:
    """Decode a photo completely and return the properties of its file; errors as for `load_image`."""

    def facts(image: Image.Image) -> ImageFacts:
        arguments = [tile[3] for tile in getattr(image, "tile", [])]
        raw_modes = [item[0] if isinstance(item, tuple) and item else item for item in arguments]
        sixteen_bit = image.mode.startswith("I") or any(";16" in str(mode) for mode in raw_modes)
        # Reading EXIF decodes a PNG and hides its damage; decode it first.
        image.load()
        orientation = _orientation(image)
        # The second frame of an MPO is a preview of the same photo.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        mode, alpha = image.mode, image.has_transparency_data
        upright = _upright_rgb(image)
        return ImageFacts(upright.height, upright.width, mode, orientation, alpha, sixteen_bit, frames)

    return read_image_file(path, facts)


def find_images(folder: str | Path) -> list[Path]:
    """List the photos in a folder and its subfolders, sorted; hidden files and folders are skipped."""
    return find_files(folder, IMAGE_SUFFIXES)


def find_files(folder: str | Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List the files with one of these lower-case suffixes, in a folder and below, sorted, none hidden."""
    found: list[Path] = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = (name for name in names if not name.startswith("."))
        found += [Path(parent, name) for name in visible if os.path.splitext(name)[1].lower() in suffixes]
    return sorted(found)


def sample_name(image: Path, folder: Path) -> str:
    """Return the name of a sample: the path relative to the folder, without suffix, with forward slashes."""
    return unicodedata.normalize("NFC", image.relative_to(folder).with_suffix("").as_posix())


def normal_name(text: str) -> str:
    """Normalise a path from a table to the form of a sample's name: forward slashes, Unicode NFC."""
    return unicodedata.normalize("NFC", text.strip().replace("\\", "/").removeprefix("./"))


def name_index(images: Mapping[str, Path]) -> dict[str, str]:
    """Return the names of samples by both spellings in tables: with and without suffix."""
    with_suffix = {name + image.suffix: name for name, image in images.items()}
    return with_suffix | {name: name for name in images}


def save_jpeg(path: str | Path, image: NDArray[np.uint8], quality: int = 95) -> None:
    """Write a uint8 (H, W, 3) RGB image as JPEG, atomically."""
    _save(path, image, "JPEG", quality=quality, subsampling=0)


def save_png(path: str | Path, image: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> None:
    """Write a uint8 (H, W, 3) RGB or (H, W) grey image, or ids (H, W) with a palette (256, 3), as PNG, atomically."""
    _save(path, image, "PNG", palette)


def _save(
    path: str | Path, image: NDArray[np.uint8], format: str, palette: NDArray[np.uint8] | None = None, **options: int
) -> None:
    if image.dtype != np.uint8:
        raise ValueError(f"image must be uint8, got {image.dtype}")
    stream, picture = io.BytesIO(), Image.fromarray(image)
    if palette is not None:
        picture.putpalette(palette.tobytes())
    picture.save(stream, format, **options)
    write_bytes(path, stream.getvalue())


def read_image_file(path: str | Path, read: Callable[[Image.Image], Result], kind: str = "an image") -> Result:
    """Return what a function reads from an opened file; anything that it raises becomes an IgcamError of one line."""
    try:
        with Image.open(path) as image:
            return read(image)
    except IgcamError as error:
        raise IgcamError(f"{path}: {error}") from None
    except UnidentifiedImageError as error:
        raise IgcamError(f"{path}: is not {kind} that can be read") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise IgcamError(f"{path}: is too large: more than {limit / 1e6:.0f} million pixels") from error
    except FileNotFoundError as error:
        raise IgcamError(f"{path}: does not exist") from error
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise IgcamError(f"{path}: is not {kind} that can be read: {reason}") from error


def _orientation(image: Image.Image) -> int:
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a photo with damaged metadata is displayed as it is stored
        return 1
    return orientation if orientation in _TURNS else 1


def _upright_rgb(image: Image.Image) -> Image.Image:
    # Pillow rotates a TIFF on loading and then drops the tag, so load it first.
    image.load()
    orientation = _orientation(image)
    image = image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
    # Older versions of Pillow open a 16-bit greyscale PNG in mode I.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", None)):
        values = np.asarray(image).astype(np.float32)
        return Image.fromarray(np.rint(values / 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise IgcamError(f"has 32-bit pixels (mode {image.mode}) of unknown range: save it as 8 or 16 bit")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
