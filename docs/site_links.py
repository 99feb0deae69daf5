"""A hook of mkdocs: links to files of the repository outside docs/ become their path in the site's text."""

from __future__ import annotations

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Keep the text of such links only, as the site holds pages of docs/ alone."""
    return OUTSIDE.sub(r"\1", markdown)
