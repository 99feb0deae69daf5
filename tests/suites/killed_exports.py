"""An export in a process of its own that kills itself, kill -9, right before it puts its n-th file in place."""

from __future__ import annotations

import multiprocessing
import os
import signal


def run(source: str, format: str, rename: int) -> None:
    """Export the masks of a folder to OUT beside them."""
    from test_export import run as export

    replace, calls = os.replace, iter(range(1, 1 << 30))

    def replace_or_die(old: str, new: str) -> None:
        if next(calls) == rename:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(old, new)

    os.replace = replace_or_die  # type: ignore[assignment]
    export(source, format)


def exit_code(source: str, format: str, rename: int) -> int | None:
    """Run in a fresh process, as forking one that has threads may wait for a lock for ever; -9 is for kill -9."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["igcam.commands.fit", "igcam.commands.export"])
    process = context.Process(target=run, args=(source, format, rename))
    process.start()
    process.join(120)
    return process.exitcode
