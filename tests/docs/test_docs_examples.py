from __future__ import annotations

import pkgutil
import re
import runpy
import shutil
from pathlib import Path

import pytest

import igcam
from igcam.core.validation import with_setting
from igcam.methods import registry
from igcam.methods.options import FitOptions
from igcam.methods.registry import methods

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for folder in (ROOT, ROOT / "docs", ROOT / "benchmarks") for path in folder.glob("*.md"))
RUNNABLE = re.compile(r"<!-- run -->\n```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user has after examples/own_photos.py: photos, tags.csv, masks, cues.jsonl, runs/mine."""
    folder = tmp_path_factory.mktemp("own")
    runpy.run_path(str(ROOT / "examples" / "own_photos.py"))["main"](folder)
    for name in ("photos", "masks"):
        shutil.copytree(folder / "scenes" / name, folder / name, dirs_exist_ok=True)
    shutil.copy(folder / "scenes" / "tags.csv", folder)
    (folder / "cues.jsonl").write_text('{"image": "scene-00000", "kind": "mask", "file": "masks/scene-00000.png"}\n')
    return folder


def test_the_example_leaves_masks_and_a_report(folder: Path) -> None:
    assert len(list((folder / "runs" / "mine" / "masks").glob("*.png"))) == 12
    assert "<html" in (folder / "runs" / "mine" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if RUNNABLE.search(page.read_text("utf-8"))], ids=page_id)
def test_runnable_blocks_run_in_their_order(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(registry, "_KNOWN", dict(registry._KNOWN))
    names: dict[str, object] = {}
    for block in RUNNABLE.findall(page.read_text("utf-8")):
        exec(compile(block, page_id(page), "exec", dont_inherit=True), names)


def test_the_guidance_example_finds_its_object(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = RUNNABLE.findall((ROOT / "docs" / "igcam.md").read_text("utf-8"))
    exec(compile(block, "docs/igcam.md", "exec"), {})
    assert capsys.readouterr().out == "found the object: True\n"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    targets = [link.split("#")[0] for link in LINK.findall(text) if "://" not in link]
    assert [link for link in targets if link and not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index] == ["index.md"]


def test_the_site_has_every_page_once() -> None:
    listed = re.findall(r"^ +- .*?: ([\w.-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def test_the_reference_names_what_can_be_imported() -> None:
    names = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE)
    things = [pkgutil.resolve_name(name) for name in names]
    public = [getattr(igcam, name) for name in igcam.__all__ if name != "__version__"]
    assert [thing for thing in public if thing not in things] == []


@pytest.mark.parametrize("page", ["options", "methods"])
def test_pages_from_the_code_are_current(page: str) -> None:
    expected = runpy.run_path(str(ROOT / "docs" / "make_options.py"))[f"{page}_page"]()
    assert (ROOT / "docs" / f"{page}.md").read_text("utf-8") == expected, "run: python docs/make_options.py"


def test_listed_options_can_be_set_to_their_defaults() -> None:
    page = (ROOT / "docs" / "options.md").read_text("utf-8").split("## Python only")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| `(.*?)` \|", page, re.MULTILINE)
    assert len(rows) > 50
    for method in methods():
        others = set(methods()) - {method}
        options = FitOptions(method=method)
        given = [f"{name}={default}" for name, default in rows if name.split(".")[0] not in {*others, "method"}]
        assert with_setting(options, f"method={method}", *given) == options


def test_pages_of_numbers_are_current() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "make_readme.py"))
    results = script["read_all"]()
    assert (ROOT / "benchmarks" / "README.md").read_text("utf-8") == script["benchmarks_page"](results), (
        "run: python benchmarks/make_readme.py"
    )
    front = (ROOT / "README.md").read_text("utf-8")
    assert front == script["front_page"](front, results), "run: python benchmarks/make_readme.py"


def test_the_front_page_shows_the_numbers_of_the_results() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "make_readme.py"))
    row = {"unit": "%", "low": 40.0, "high": 44.0, "n": 3, "note": ""}
    rows = [{"id": "tags/train/tags/miou", "value": 42.04, **row}]
    ledger = {"split_size": 437, "backbone": "resnet50", "regime": "frozen", "resolution": "384 x 384"}
    text = script["front_page"](
        "before\n<!-- numbers:begin -->\nold\n<!-- numbers:end -->\nafter\n",
        {"guidance": {"ledger": ledger, "rows": rows}},
    )
    assert "| tags: IG-CAM | 42.0 (40.0 to 44.0) | - | - | - |" in text
    assert text.startswith("before\n<!-- numbers:begin -->\n")
    assert text.endswith("\n<!-- numbers:end -->\nafter\n")
    assert "old" not in text
    with pytest.raises(ValueError, match="numbers:begin"):
        script["front_page"]("no markers", {})


def test_no_page_names_an_address() -> None:
    assert [page_id(page) for page in PAGES if "://" in page.read_text("utf-8")] == []
