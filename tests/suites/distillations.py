"""Tiny distillations: in this process, in one that kills itself (kill -9) at a chosen moment, or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

from igcam.methods.distill import DistillOptions
from igcam.models.segmenter import SegmenterOptions

Moment = tuple[str, str, int]
"""`before` the n-th file is put in place whose path has a text in it, or `progress`: a task, and how much is done."""
OUTCOME = ("segmenter.safetensors", "segmenter.json")


def tiny_options(**changes: Any) -> DistillOptions:
    """Return options of two short rounds; dropout off, so that processes can share the work alike."""
    chosen: dict[str, Any] = {
        "segmenter": SegmenterOptions(components=(4, 8, 8), width=32, dropout=0.0),
        "epochs": 2,
        "min_steps": 0,
        "batch_size": 8,
        "rounds": 2,
    }
    return DistillOptions(**{**chosen, **changes})


def work(run: str, out: str, moment: Moment | None, options: DistillOptions) -> None:
    """Distil; without a moment to the end."""
    import tiny_runs  # noqa: F401  one thread

    from igcam.commands.distill import distill

    kind, text, number = moment or ("", "", 0)
    replace, count = os.replace, 0

    def replacing(source: str, target: str) -> None:
        nonlocal count
        count += text in str(target)
        if count == number and text in str(target):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    def progress(task: str, done: int, total: int) -> None:
        if kind == "progress" and (task, done) == (text, number):
            os.kill(os.getpid(), signal.SIGKILL)

    if kind == "before":
        os.replace = replacing  # type: ignore[assignment]
    distill(run, options, out=out, bank=Path(out).parent / "bank", progress=progress)


def exit_code(run: Path, out: Path, moment: Moment | None, options: DistillOptions) -> int | None:
    """Distil in a fresh process and return its exit code, -9 for kill -9."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["igcam.commands.fit", "igcam.commands.distill"])
    process = context.Process(target=work, args=(str(run), str(out), moment, options))
    process.start()
    process.join(900)
    return process.exitcode
