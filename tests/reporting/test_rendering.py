from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup

from igcam.reporting.rendering import byte_limit, render

ORDINARY = st.text(st.characters(exclude_categories=("Cs", "Cc")))


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


def notebook(title: str, colour: str = "112233") -> str:
    """Return the smallest page with a value in its text and another one in an attribute."""
    return render("notebook.html", title=title, about="", head=(), rows=(), keys=[(colour, "")], panels=(), problems=())


def test_text_is_escaped_and_markup_is_not() -> None:
    assert "<b>a &lt; b &amp; &#34;c&#34;</b>" in notebook('a < b & "c"')
    assert "<b><i>a</i></b>" in notebook(Markup("<i>a</i>"))


def test_names_that_are_no_unicode_can_be_written() -> None:
    assert b"caf?" in notebook("caf\udce9").encode("utf-8")


def test_a_forgotten_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="title"):
        render("notebook.html")


def test_pages_of_many_pictures_get_smaller_ones() -> None:
    assert [byte_limit(0), byte_limit(40), byte_limit(100)] == [60_000, 60_000, 24_000]


@given(ORDINARY, ORDINARY)
def test_any_text_comes_back_as_it_was(text: str, attribute: str) -> None:
    page = Reader(notebook(text, attribute))
    assert text in page.text
    assert next(attributes["style"] or "" for tag, attributes in page.tags if tag == "i").endswith(f"#{attribute}")
