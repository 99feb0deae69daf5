"""HTML from the files in templates/: values are escaped, and a page needs no other file and no network."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from igcam.core.version import __version__
from igcam.reporting.overlay import Picture, thumbnail
from igcam.reporting.words import count, duration, listed, percent, signed

_LADDER = ((400, 82), (340, 80), (280, 78), (220, 74), (220, 50), (150, 50))
"""Widths in pixels and JPEG qualities, tried until a picture is small enough."""

PICTURE_WIDTH = _LADDER[0][0]


@dataclass(frozen=True)
class Panel:
    """One picture of a page."""

    title: str
    description: str
    """Alternative text."""
    picture: Picture
    """uint8 (H, W, 3), RGB."""


def render(template: str, **values: object) -> str:
    """Fill in a file of templates/; values are escaped but for `Markup`, and a missing one is an error."""
    text = _environment().get_template(template).render(values)
    # File names that are not valid UTF-8 arrive with lone surrogates, which cannot be written.
    return text.encode("utf-8", "replace").decode("utf-8")


def byte_limit(pictures: int) -> int:
    """Return the largest length of a data URI with which a page of so many pictures stays below 3 MB."""
    return min(60_000, 2_400_000 // max(1, pictures))


def data_uri(picture: Picture, max_bytes: int) -> str:
    """Return a picture as the data URI of a JPEG of decreasing size and quality, until it fits in `max_bytes`.

    The smallest JPEG may still exceed them.
    """
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


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("igcam.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (count, data_uri, duration, listed, percent, signed):
        environment.filters[function.__name__] = function
    environment.globals["igcam_version"] = __version__
    return environment
