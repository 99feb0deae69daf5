from __future__ import annotations

import importlib
import io
from pathlib import Path

import pytest
from rich.console import Console
from tiny_runs import tiny_options

from igcam.commands.demo import NAMES, demo
from igcam.core.files import read_json
from igcam.core.progress import no_progress
from igcam.metrics.results import read_results


def test_the_demonstration_compares_all_stages_with_full_supervision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("igcam.commands.demo")
    monkeypatch.setattr(module, "demo_options", lambda seed: tiny_options(seed=seed))
    console = Console(file=io.StringIO(), width=120)
    summary = demo(tmp_path / "demo", seeds=1, images=10, console=console, progress=no_progress)
    ledger, rows = read_results(summary)
    assert ledger.seed is None
    assert ledger.split_size == 10
    values = {row.id: row.value for row in rows}
    named = {"cam/miou", "igcam/miou", "igcam-crf/miou", "masks5/miou", "full/miou", "full/boundary-iou", "seconds"}
    assert named <= set(values)
    assert all(0 <= value <= 100 for name, value in values.items() if name != "seconds")
    printed = console.file.getvalue()
    for name in NAMES.values():
        assert name in printed
    full = read_json(tmp_path / "demo/seed-0/full/samples.json")["samples"]
    assert [row["cues"] for row in full] == [{"mask": 1}] * 10
    assert values["full/miou"] < 100, "what the head predicts, not the masks that it was given"
    mixed = read_json(tmp_path / "demo/seed-0/masks5/samples.json")["samples"]
    assert sum(bool(row["cues"]) for row in mixed) == 1
    demo(tmp_path / "demo", seeds=1, images=10, console=console, progress=lambda *_: pytest.fail("all was done"))
