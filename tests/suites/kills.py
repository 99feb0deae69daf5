"""Commands that are killed at seeded moments, and repeated."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from commands import Kill, command
from tiny_runs import SCENES, contents

QUICK = {
    "backbone.output_stride": "8",
    "components": "[8,8]",
    "igcam.guide.learn.head.hidden": "8",
    "igcam.guide.learn.head.epochs": "1",
    "igcam.guide.learn.head.min_steps": "2",
    "igcam.guide.learn.pseudo_labels.size": "0",
    "igcam.reweight.learn.head.hidden": "8",
    "igcam.reweight.learn.head.epochs": "1",
    "igcam.reweight.learn.head.min_steps": "2",
    "igcam.reweight.learn.pseudo_labels.size": "0",
}


QUICK_SEGMENTER = {
    "segmenter.components": "[4,8,8]",
    "segmenter.width": "32",
    "min_steps": "0",
    "batch_size": "8",
    "epochs": "2",
}


@dataclass(frozen=True)
class Work:
    """A command, and which of its files must come out alike."""

    words: Callable[[Path], list[object]]
    """The command that writes into a folder."""
    outcome: tuple[str, ...]
    """Patterns in that folder."""


def works(scenes: Path, run: Path, weights: Path) -> dict[str, Work]:
    """Return the commands on built-in scenes; `run` is a finished run, `weights` those of its backbone."""
    photos, tags = scenes / "photos", scenes / "tags.csv"
    settings, segmenter = (
        [word for name, value in quick.items() for word in ("--set", f"{name}={value}")]
        for quick in (QUICK, QUICK_SEGMENTER)
    )
    network = ["--classes", ",".join(SCENES.classes), "--backbone", "resnet10t", "--weights", weights, "--size", 64]
    return {
        "fit": Work(
            lambda out: ["fit", photos, "--tags", tags, "--out", out / "run", *network, *settings],
            ("run/masks/*", "run/stages/*/masks/*", "run/stages/*/*.npy", "run/stages/*/*.safetensors"),
        ),
        "label": Work(
            lambda out: ["label", photos, "--tags", tags, "--run", run, "--bank", out / "bank", "--out", out / "masks"],
            ("masks/*", "bank/*/*/*"),
        ),
        "predict": Work(
            lambda out: ["predict", photos, "--run", run, "--out", out / "masks", "--confidence", out / "sure"],
            ("masks/*", "sure/*"),
        ),
        "distill": Work(
            lambda out: ["distill", "--run", run, "--out", out / "segmenter", "--bank", out / "bank", *segmenter],
            ("segmenter/segmenter.*",),
        ),
    }


def moments(renames: int, count: int, seed: int) -> list[Kill]:
    """Draw different moments of a command that puts so many files in place."""
    random = np.random.default_rng(seed)
    numbers = random.choice(renames, min(count, renames), replace=False) + 1
    return [Kill(int(number), bool(random.integers(2))) for number in sorted(numbers)]


def killed(work: Work, folder: Path, count: int, seed: int) -> Iterator[tuple[Kill, str]]:
    """Kill a command at some moments, each time from the start, and repeat it; yield what is wrong then, or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "undisturbed"
    undisturbed = command(work.words(whole), folder / "undisturbed.log")
    if undisturbed.status != 0:
        raise RuntimeError(undisturbed.output)
    expected = _finished(whole, work)
    for kill in moments(undisturbed.renames, count, seed):
        out = folder / "killed"
        shutil.rmtree(out, ignore_errors=True)
        status = command(work.words(out), folder / "killed.log", kill).status
        if status != -9:
            raise RuntimeError(f"{kill}: was not killed, but ended with {status}")
        left = _finished(out, work)
        repeated = command(work.words(out), folder / "repeated.log")
        found = _finished(out, work)
        half = sorted(name for name in left if left[name] != expected.get(name))
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        if repeated.status != 0:
            yield kill, f"repeated, it ends with {repeated.status}: {repeated.output}"
        elif half:
            yield kill, f"half written when killed: {', '.join(half)}"
        else:
            yield kill, f"other than undisturbed: {', '.join(wrong)}" if wrong else ""


def _finished(folder: Path, work: Work) -> dict[str, bytes]:
    """Return the files in their places; parts lie beside them under hidden names."""
    found = contents(folder, *work.outcome)
    return {name: content for name, content in found.items() if not name.endswith(".part")}
