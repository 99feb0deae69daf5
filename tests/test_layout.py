"""The rules of the house that a program can check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "igcam"
FILES = sorted(PACKAGE.rglob("*.py"))
ORDER = (
    "core",
    "data",
    "metrics",
    "refine",
    "influence",
    "models",
    "cams",
    "losses",
    "proposals",
    "supervision",
    "label_quality",
    "methods",
    "runs",
    "commands",
    "reporting",
    "cli",
)
"""A folder imports only from those before it."""
ALONE = ("metrics", "refine", "influence", "cams", "losses")
"""Arrays in, arrays out: these need nothing but `core`."""
MAX_LINES = 400


def part(module: str) -> str:
    """Return the room that a module of igcam lies in."""
    return module.split(".")[1]


def imports(file: Path) -> set[str]:
    """Return the rooms of igcam that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {part(name.name) for name in node.names if name.name.startswith("igcam.")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            assert node.module != "igcam", f"{file}: the public names are for users"
            if node.module is not None and node.module.startswith("igcam."):
                found.add(part(node.module))
    return found


def test_every_folder_has_its_place() -> None:
    assert {file.parent.name for file in PACKAGE.glob("*/__init__.py")} == set(ORDER)
    assert [file.name for file in PACKAGE.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_one_way(file: Path) -> None:
    own, found = file.relative_to(PACKAGE).parts[0], imports(file)
    if own == "__init__.py":
        return  # The public names: loaded on first use only, which the next test checks.
    below = ("core",) if own in ALONE else ORDER[: ORDER.index(own)]
    assert found <= {own, *below}


def test_importing_igcam_loads_nothing_heavy() -> None:
    top = [node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.ImportFrom)]
    assert {node.module for node in top} == {"__future__", "importlib", "typing", "igcam.core.version"}
    for file in (PACKAGE / "cli").glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("igcam"):
                assert node.module in ("igcam.core.errors", "igcam.core.memory") or node.module.startswith("igcam.cli.")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_are_short_and_safe(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "says what it is for"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: user input is never asserted"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {name.name for name in node.names} | {getattr(node, "module", None)}
            assert not names & {"pickle", "joblib", "dill"}, f"line {node.lineno}: nothing is unpickled"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = ast.unparse(node.func)
            assert called not in ("torch.load", "pickle.load", "pickle.loads", "np.loadtxt"), f"line {node.lineno}"
            if called in ("np.load", "numpy.load"):
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert given.get("allow_pickle") == "False", f"line {node.lineno}: nothing is unpickled"


def test_every_part_has_its_tests() -> None:
    for name in set(ORDER) - {"core"}:
        assert list((ROOT / "tests" / name).rglob("test_*.py")), f"tests/{name}"


def test_test_modules_have_names_of_their_own() -> None:
    names = [file.name for file in (ROOT / "tests").rglob("*.py")]
    assert len(names) == len(set(names))
