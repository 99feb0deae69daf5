"""Write docs/options.md: every option with its default and the text that stands below it in the code.

python docs/make_options.py
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from igcam.data.synthetic.scenes import SceneOptions
from igcam.data.synthetic.simulate import SimulateOptions
from igcam.data.transforms import AugmentOptions
from igcam.core.files import write_text
from igcam.methods.distill import DistillOptions
from igcam.models.segmenter import SegmenterOptions
from igcam.methods.options import FitOptions, to_plain
from igcam.commands.predict import PredictOptions
from igcam.runs.drawing import RenderOptions

PAGE = Path(__file__).with_name("options.md")
HEAD = """# Options

Written by `docs/make_options.py` from the code; do not edit.

Everything that decides the outcome of a run, besides the data, is a field of `FitOptions` or of a dataclass in
it. On the command line any of them is `--set NAME=VALUE` of `igcam fit`, with a value in JSON or as plain text:

    igcam fit photos --tags tags.csv --out runs/mine --set igcam.guide.learn.head.epochs=20 --set crf=deeplab

The most used have flags of their own: `--method`, `--regime`, `--size`, `--seed`, `--backbone` (`backbone.name`),
`--weights` (`backbone.weights`) and `--without` (`igcam.stages`). A run keeps all of them in its `run.json`.
What the stages do with them: [igcam.md](igcam.md). Where one table serves several places, its names are those of
the first.
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
    for names, options in grouped(places(FitOptions())):
        title = "FitOptions" if names == [""] else ", ".join(f"`{name}`" for name in names)
        sections.append(f"## {title}\n\n{section(options, names[0])}")
    sections.append(PYTHON_ONLY)
    for options in (SceneOptions(), SimulateOptions(), AugmentOptions(), RenderOptions(), PredictOptions()):
        sections.append(f"### {type(options).__name__}\n\n{section(options, '', nested_elsewhere=False)}")
    sections.append(DISTILL)
    for options in (DistillOptions(), SegmenterOptions()):
        prefix = "segmenter" if isinstance(options, SegmenterOptions) else ""
        sections.append(f"### {type(options).__name__}\n\n{section(options, prefix)}")
    return "\n".join(sections)


def places(options: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names and instances of the options and of all dataclasses in them, outer ones first."""
    yield prefix, options
    for item in dataclasses.fields(options):
        value = getattr(options, item.name)
        if dataclasses.is_dataclass(value):
            yield from places(value, f"{prefix}.{item.name}".lstrip("."))


def grouped(found: Iterator[tuple[str, Any]]) -> Iterator[tuple[list[str], Any]]:
    """Join the places that hold equal options."""
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
    kind = type(options)
    summary = (inspect.getdoc(kind) or "").splitlines()[0]
    lines = [f"`{kind.__name__}` of `{kind.__module__}`. {summary}", "", "| option | default | |", "|---|---|---|"]
    words = field_words(kind)
    for item in dataclasses.fields(options):
        value = getattr(options, item.name)
        name = f"{prefix}.{item.name}".lstrip(".")
        default = f"`{shown(to_plain(options)[item.name])}`"
        if dataclasses.is_dataclass(value) and nested_elsewhere:
            default = "its own table"
        lines.append(f"| `{name}` | {default} | {words[item.name].replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def shown(plain: Any) -> str:
    """Return a default as `--set` takes it."""
    return plain if isinstance(plain, str) else json.dumps(plain)


def field_words(kind: type) -> dict[str, str]:
    """Return the string literal after each field of a dataclass, on one line."""
    tree = ast.parse(Path(inspect.getfile(kind)).read_text(encoding="utf-8"))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    words = {}
    for item, after in pairwise(body):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                words[item.target.id] = " ".join(str(after.value.value).split())
            else:
                sys.exit(f"{kind.__module__}.{kind.__name__}.{item.target.id}: must have a text below it")
    return words


if __name__ == "__main__":
    write_text(PAGE, options_page())
