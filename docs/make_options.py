"""Write docs/options.md, every option with its default and the text below it in the code, and the table of methods.

python docs/make_options.py
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from igcam.commands.predict import PredictOptions
from igcam.core.files import write_text
from igcam.core.validation import to_plain
from igcam.data.synthetic.scenes import SceneOptions
from igcam.data.synthetic.simulate import SimulateOptions
from igcam.data.transforms import AugmentOptions
from igcam.methods.base import MethodOptions
from igcam.methods.distill import DistillOptions
from igcam.methods.options import FitOptions
from igcam.methods.registry import method_of, methods
from igcam.models.segmenter import SegmenterOptions

PAGE = Path(__file__).with_name("options.md")
METHODS = Path(__file__).with_name("methods.md")
HEAD = """# Options

Written by `docs/make_options.py` from the code; do not edit.

Everything that decides the outcome of a run, besides the data, is a field of `FitOptions` or of a dataclass in
it. On the command line any of them is `--set NAME=VALUE` of `igcam fit`, with a value in JSON or as plain text:

    igcam fit photos --tags tags.csv --out runs/mine --set igcam.guide.learn.head.epochs=20 --set crf=deeplab

Frequent ones have flags of their own: `--method`, `--regime`, `--size`, `--seed`, `--backbone` (`backbone.name`),
`--weights` (`backbone.weights`) and `--without`. Options of a method begin with its name, and belong to runs of that
method only. A run keeps its options in `run.json`. What the stages do with them: [igcam.md](igcam.md). Where one table
serves several options, it has the names of the first. Names of version 0.1.0: [glossary.md](glossary.md).
"""
DISTILL = """## Of `igcam distill`

Any of them is `--set NAME=VALUE` of `igcam distill`; what they do: [segmenter.md](segmenter.md).
"""
PYTHON_ONLY = """## Python only

These are arguments of functions, not part of a run.
"""


def options_page() -> str:
    """Return the page."""
    sections = [HEAD]
    others = [
        instances(method.options(), name)
        for name, method in methods().items()
        if name != FitOptions().entry.name and type(method).__module__.startswith("igcam.")
    ]
    for names, options in grouped(chain(instances(FitOptions()), *others)):
        title = "FitOptions" if names == [""] else ", ".join(f"`{name}`" for name in names)
        sections.append(f"## {title}\n\n{section(options, names[0])}")
    sections.append(PYTHON_ONLY)
    for options in (SceneOptions(), SimulateOptions(), AugmentOptions(), PredictOptions()):
        sections.append(f"### {type(options).__name__}\n\n{section(options, '', nested_elsewhere=False)}")
    sections.append(DISTILL)
    for options in (DistillOptions(), SegmenterOptions()):
        prefix = "segmenter" if isinstance(options, SegmenterOptions) else ""
        sections.append(f"### {type(options).__name__}\n\n{section(options, prefix)}")
    return "\n".join(sections)


def methods_page() -> str:
    """Return docs/methods.md with the table of the methods of this package."""
    text = METHODS.read_text(encoding="utf-8")
    begin, end = (re.search(rf"<!-- table:{mark}.*-->\n", text) for mark in ("begin", "end"))
    if begin is None or end is None:
        sys.exit(f"{METHODS}: the marks of the table are missing")
    lines = ["| method | idea | paper | cues besides tags | needs |", "|---|---|---|---|---|"]
    for name, method in methods().items():
        if type(method).__module__.startswith("igcam."):
            cells = (f"`{name}`", method.about, method.paper, ", ".join(method.cues) or "-", method.needs or "-")
            lines.append(f"| {' | '.join(cells)} |")
    table = "\n".join(lines)
    return f"{text[: begin.end()]}{table}\n{text[end.start() :]}"


def instances(options: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names and instances of the options and of all dataclasses in them, outer ones first."""
    yield prefix, options
    for item in dataclasses.fields(options):
        value = getattr(options, item.name)
        if dataclasses.is_dataclass(value):
            own = method_of(value).name if isinstance(value, MethodOptions) else f"{prefix}.{item.name}".lstrip(".")
            yield from instances(value, own)


def grouped(found: Iterator[tuple[str, Any]]) -> Iterator[tuple[list[str], Any]]:
    """Join the names of equal options."""
    groups: list[tuple[list[str], Any]] = []
    for name, options in found:
        names = next((names for names, same in groups if same == options), None)
        if names is None:
            groups.append(([name], options))
        else:
            names.append(name)
    yield from groups


def section(options: Any, prefix: str, nested_elsewhere: bool = True) -> str:
    """Return the words and the table of one dataclass."""
    kind, plain = type(options), to_plain(options)
    summary = (inspect.getdoc(kind) or "").splitlines()[0]
    lines = [f"`{kind.__name__}` of `{kind.__module__}`. {summary}", "", "| option | default | |", "|---|---|---|"]
    for item, about in kind.__pydantic_fields__.items():
        if not about.description:
            sys.exit(f"{kind.__module__}.{kind.__name__}.{item}: must have a text below it")
        value, default = getattr(options, item), f"`{shown(plain[item])}`"
        if isinstance(value, MethodOptions):
            default = f"`{method_of(value).name}`"
        elif dataclasses.is_dataclass(value) and nested_elsewhere:
            default = "its own table"
        words = " ".join(about.description.split()).replace("|", chr(92) + "|")
        lines.append(f"| `{f'{prefix}.{item}'.lstrip('.')}` | {default} | {words} |")
    return "\n".join(lines) + "\n"


def shown(plain: Any) -> str:
    """Return a default as `--set` takes it."""
    return plain if isinstance(plain, str) else json.dumps(plain)


if __name__ == "__main__":
    write_text(PAGE, options_page())
    write_text(METHODS, methods_page())
