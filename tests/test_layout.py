"""The rules of the house that a program can check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "igcam"
FILES = sorted(PACKAGE.rglob("*.py"))
ORDER = (
    "data",
    "metrics",
    "refine",
    "guidance",
    "influence",
    "models",
    "maps",
    "losses",
    "methods",
    "pipeline",
    "reporting",
    "cli",
)
"""A folder imports only from those before it."""
ALONE = ("metrics", "refine", "influence", "maps", "losses")
"""Arrays in, arrays out: these need nothing but errors and files."""
MAX_LINES = 300


def part(module: str) -> str:
    """Return the folder, or the file beside the folders, that a module of igcam lies in."""
    return [*module.split("."), "__init__"][1]


def imports(file: Path) -> set[str]:
    """Return the parts of igcam that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {part(name.name) for name in node.names if name.name.split(".")[0] == "igcam"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            if node.module == "igcam":
                found |= {part(f"igcam.{name.name}") for name in node.names}
            elif node.module is not None and node.module.startswith("igcam."):
                found.add(part(node.module))
    # Commands that have a file of their own are part of the command line.
    return {"cli" if name.startswith("cli_") else name for name in found}


def own_part(file: Path) -> str:
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "cli" if own.startswith("cli_") else own


def test_every_folder_has_its_place() -> None:
    folders = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ORDER) - {"cli"}
    alone = {file.stem for file in PACKAGE.glob("*.py") if not file.stem.startswith("cli_")}
    assert alone == {"__init__", "cli", "errors", "files", "memory"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_one_way(file: Path) -> None:
    own, found = own_part(file), imports(file)
    if own in ("errors", "memory"):
        allowed: set[str] = set()
    elif own == "files":
        allowed = {"errors"}
    elif own == "__init__":
        # Loaded on first use only.
        allowed = {"pipeline", "reporting"}
    else:
        below = () if own in ALONE else ORDER[: ORDER.index(own)]
        # The version, which igcam itself holds.
        allowed = {"errors", "files", "memory", "__init__", own, *below}
    assert found <= allowed


def test_importing_igcam_loads_nothing_heavy() -> None:
    top = [node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.ImportFrom)]
    assert {node.module for node in top} == {"__future__", "typing"}
    for file in PACKAGE.glob("cli*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("igcam"):
                assert node.module in ("igcam.core.errors", "igcam.core.memory") or node.module.startswith("igcam.cli_")


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
    for name in set(ORDER) - {"cli"}:
        assert list((ROOT / "tests" / name).glob("test_*.py")), f"tests/{name}"


def test_test_modules_have_names_of_their_own() -> None:
    names = [file.name for file in (ROOT / "tests").rglob("*.py")]
    assert len(names) == len(set(names))
