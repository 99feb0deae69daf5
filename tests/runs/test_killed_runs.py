from __future__ import annotations

import signal
from pathlib import Path

from killed_runs import Moment, exit_code
from tiny_runs import COUNT, contents

from igcam.runs.folder import RunFolder

MOMENTS: list[Moment] = [
    ("before", "run.json", 1),
    ("progress", "train the backbone on the tags", 1),
    ("before", "finetune/backbone.safetensors", 1),
    # Then 17 of 32 views are missing: two batches and a single one, where a whole run has four batches.
    ("before", "/bank/", 17),
    ("before", "features/reduced.npy", 1),
    ("seen", "stages/features/stage.json", 1),
    ("before", "classify/stage.json", 1),
    ("progress", "update the pseudo labels", 9),
    ("before", "guide/stage.json", 1),
    ("after", "reweight/pseudo_labels.npy", 1),
    ("progress", "draw masks", 3),
    ("before", "/masks/", 20),
    ("seen", "masks/scene-00009.png", 1),
    ("before", "sharpen/metrics.json", 1),
]
OUTCOME = ("masks/*", "stages/*/masks/*", "stages/*/*.npy", "stages/*/*.safetensors")


def test_a_run_that_is_killed_again_and_again_ends_like_an_undisturbed_one(
    tiny_run: RunFolder, scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    written: dict[Path, int] = {}
    for moment in MOMENTS:
        assert exit_code(scenes, out, moment) == -signal.SIGKILL, moment
        if moment == ("seen", "stages/features/stage.json", 1):
            written |= written_when(out / "stages" / "features", "*")
            assert len(written) >= 4
        if moment == ("progress", "draw masks", 3):
            drawn = written_when(out / "masks", "*.png")
            assert 0 < len(drawn) < COUNT
            written |= drawn
    assert exit_code(scenes, out, None) == 0
    expected, found = contents(tiny_run.path, *OUTCOME), contents(out, *OUTCOME)
    assert len(expected) > 6 * COUNT
    assert {name for name in expected if expected[name] != found.get(name)} == set()
    assert {name for name in found if name not in expected and ".part" not in name} == set()
    assert written == {file: file.stat().st_mtime_ns for file in written}, "what is done is not done again"
    assert RunFolder(out).file("log.txt").read_text().count("reweight: done") == 1


def written_when(folder: Path, pattern: str) -> dict[Path, int]:
    """Return the finished files of a folder with the times of their last change."""
    return {file: file.stat().st_mtime_ns for file in folder.glob(pattern) if ".part" not in file.name}
