from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from igcam.reporting.markup import Markup, element, escape, join

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


def test_text_is_escaped_and_markup_is_not() -> None:
    inner = element("b", "a < b & c")
    assert inner == "<b>a &lt; b &amp; c</b>"
    assert element("p", inner, ' "x"') == "<p><b>a &lt; b &amp; c</b> &quot;x&quot;</p>"


def test_attributes() -> None:
    assert element("td", class_="n", aria_label='say "a"', id=None, width=3) == (
        '<td class="n" aria-label="say &quot;a&quot;" width="3"></td>'
    )
    assert element("img", src="x") == '<img src="x">'
    assert element("meta", name="n") == '<meta name="n">'


def test_nothing_is_left_out() -> None:
    assert element("p", None, "a", None) == "<p>a</p>"
    assert join("<", Markup("<i>"), None) == "&lt;<i>"


def test_names_that_are_no_unicode_can_be_written() -> None:
    assert escape("caf\udce9").encode("utf-8") == b"caf?"


@given(ORDINARY, ORDINARY)
def test_any_text_comes_back_as_it_was(text: str, attribute: str) -> None:
    page = Reader(element("p", text, title=attribute))
    assert page.tags == [("p", {"title": attribute})]
    assert page.text == text
