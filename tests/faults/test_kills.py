"""Commands that were killed, kill -9, at seeded moments end like undisturbed ones when they are repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import killed, moments, works

from igcam.runs.folder import RunFolder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("fit", 5), ("label", 5), ("predict", 5), ("distill", 5)])
def test_what_was_killed_ends_like_undisturbed_work(
    name: str, count: int, scenes: Path, tiny_run: RunFolder, trained: Path, tmp_path: Path
) -> None:
    work = works(scenes, tiny_run.path, trained)[name]
    ends = list(killed(work, tmp_path, count, seed=0))
    assert len(ends) == count
    assert {kill: problem for kill, problem in ends if problem} == {}


def test_moments_are_seeded_and_differ() -> None:
    assert moments(50, 7, 1) == moments(50, 7, 1) != moments(50, 7, 2)
    assert len({kill.number for kill in moments(50, 7, 1)}) == 7
    assert {kill.number for kill in moments(3, 7, 1)} == {1, 2, 3}
