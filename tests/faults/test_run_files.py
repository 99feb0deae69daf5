"""Every file of a run folder, cut, emptied or overwritten: one clear line, or the result of the whole run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command
from tiny_runs import contents, tiny_options

from igcam.commands.fit import fit
from igcam.core.errors import IgcamError
from igcam.data.sample import Dataset
from igcam.runs.folder import RunFolder

OVERWRITTEN = bytes([0xFE]) * 64
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "emptied": lambda whole: b"",
    "overwritten": lambda whole: whole[: len(whole) // 2] + OVERWRITTEN + whole[len(whole) // 2 + len(OVERWRITTEN) :],
}


def files_of(run: Path) -> list[Path]:
    """Return the files that a command may read: not the masks, and of the features one."""
    features = sorted(run.glob("bank/*/*/*"))
    rest = [file for file in run.rglob("*") if file.is_file() and not {"masks", "bank"} & set(file.parts)]
    return [*sorted(rest), features[0]]


def refusal(work: Callable[[], object]) -> str:
    """Return why work was refused, or nothing."""
    try:
        work()
    except IgcamError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def photos(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    shutil.copy(scenes / "photos" / "scene-00000.jpg", folder)
    return folder


@pytest.fixture(scope="module")
def spoilt(tiny_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("spoilt") / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_label_and_predict(
    igcam: Command,
    damage: str,
    spoilt: Path,
    photos: Path,
    tmp_path: Path,
) -> None:
    def work(name: str, out: Path) -> tuple[int, str]:
        return igcam(name, photos, "--run", spoilt, "--out", out)

    expected = {}
    for name in ("label", "predict"):
        assert work(name, tmp_path / name)[0] == 0
        expected[name] = contents(tmp_path / name, "*")
    refused = set()
    for file in files_of(spoilt):
        whole = file.read_bytes()
        file.write_bytes(DAMAGES[damage](whole))
        try:
            for name in expected:
                out = tmp_path / "out"
                status, output = work(name, out)
                position = f"{name} with {file.relative_to(spoilt)} {damage}"
                assert status in (0, 2), position
                if status == 0:
                    assert contents(out, "*") == expected[name], position
                else:
                    assert len(output.strip().splitlines()) == 1, position
                    assert file.name in output, position
                    assert not out.exists(), position
                    refused.add(str(file.relative_to(spoilt)))
                shutil.rmtree(out, ignore_errors=True)
        finally:
            file.write_bytes(whole)
    for name in ("finetune/backbone", "features/reduction", "tagger/tagger", "reweight/head", "objects/tagger"):
        assert f"stages/{name}.safetensors" in refused
    assert "run.json" in refused


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_fit_and_report(
    igcam: Command,
    damage: str,
    spoilt: Path,
    tiny_data: Dataset,
    tmp_path: Path,
) -> None:
    options = tiny_options()
    refused = 0
    for file in files_of(spoilt):
        whole = file.read_bytes()
        file.write_bytes(DAMAGES[damage](whole))
        try:
            status, output = igcam("report", spoilt, "--output", tmp_path / "report.html")
            assert status in (0, 2), file
            if status == 2:
                assert len(output.strip().splitlines()) == 1, file
                assert file.name in output
                assert not (tmp_path / "report.html").exists()
                refused += 1
            (tmp_path / "report.html").unlink(missing_ok=True)
            message = refusal(lambda: fit(tiny_data, spoilt, options, split="scenes"))
            assert not message or file.name in message
            refused += bool(message)
        finally:
            file.write_bytes(whole)
    assert refused > 5
