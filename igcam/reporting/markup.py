"""HTML and SVG as text in which nothing can be forgotten to be escaped."""

from __future__ import annotations

import html

_VOID = {"img", "meta", "br"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, /, *content: str | None, **attributes: object) -> Markup:
    """Return an element; text in it and in its attributes is escaped unless it is `Markup`.

    Args:
        tag: Its name, "td".
        content: Text, `Markup`, or None for nothing.
        attributes: None leaves an attribute out. Underscores become hyphens, one at the end is dropped
            (`class_`, `stroke_width`).
    """
    opening = f"<{tag}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Markup(opening if tag in _VOID else f"{opening}{join(*content)}</{tag}>")


def join(*content: str | None) -> Markup:
    """Return pieces of text and `Markup` one after the other, text escaped."""
    return Markup("".join(escape(piece) for piece in content if piece is not None))


def escape(text: str) -> Markup:
    """Return text as HTML shows it; `Markup` stays as it is."""
    if isinstance(text, Markup):
        return text
    # File names that are no valid UTF-8 arrive with lone surrogates, which cannot be written.
    return Markup(html.escape(text.encode("utf-8", "replace").decode("utf-8")))


def _attribute(key: str, value: object) -> str:
    if value is None:
        return ""
    return f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
