"""What all pages share: one HTML file with its style inside, which needs no other file and no network."""

from __future__ import annotations

from importlib.resources import files

from igcam.core.version import __version__
from igcam.reporting.markup import Markup, element

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, header: Markup, *sections: Markup | None, version: str | None = None) -> str:
    """Return a whole page.

    Args:
        title: Of the window.
        header: The page's head line.
        sections: The rest; None is left out.
        version: The igcam that wrote what is shown; this one by default.
    """
    style = files("igcam.reporting").joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} – igcam"),
        element("style", Markup(style)),
    )
    footer = element("footer", f"Written by igcam {version or __version__}.")
    body = element("body", header, element("main", *sections), footer)
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"
