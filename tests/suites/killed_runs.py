"""A tiny run in a process of its own that kills itself, kill -9, at a chosen moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

Moment = tuple[str, str, int]
"""`before` or `after` the n-th file is put in place whose path has a text in it; or `progress`, a task and how many of
it are done; or `seen`: another process kills it once a file is there."""


def run(scenes: str, out: str, moment: Moment | None) -> None:
    """Fit the tiny run; without a moment to its end."""
    from tiny_runs import tiny_dataset, tiny_options

    from igcam.commands.fit import fit

    kind, text, number = moment or ("", "", 0)
    replace, count = os.replace, 0

    def replacing(source: str, target: str) -> None:
        nonlocal count
        count += text in str(target)
        now = count == number and text in str(target)
        if now and kind == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if now and kind == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    def progress(task: str, done: int, total: int) -> None:
        if kind == "progress" and (task, done) == (text, number):
            os.kill(os.getpid(), signal.SIGKILL)

    if kind in ("before", "after"):
        os.replace = replacing
    fit(tiny_dataset(Path(scenes)), out, tiny_options(), split="scenes", progress=progress)


def exit_code(scenes: Path, out: Path, moment: Moment | None) -> int | None:
    """Run in a fresh process and return its exit code, -9 for kill -9."""
    context = multiprocessing.get_context("forkserver")
    # A server that has imported everything starts each process in no time.
    context.set_forkserver_preload(["igcam.commands.fit"])
    process = context.Process(target=run, args=(str(scenes), str(out), moment))
    process.start()
    if moment is not None and moment[0] == "seen":
        while not (out / moment[1]).exists() and process.is_alive():
            time.sleep(0.001)
        process.kill()
    process.join(300)
    return process.exitcode
