"""Commands of igcam in processes of their own, which may kill themselves at some moment or write small files only."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    """-9 for kill -9."""
    output: str
    """All that it printed."""
    renames: int
    """Files that it put in place; 0 if it was killed."""


@dataclass(frozen=True)
class Kill:
    """kill -9 when the n-th file is put in place."""

    number: int
    """From 1."""
    after: bool
    """Right after it, or right before."""


def command(
    words: Sequence[object], log: Path, kill: Kill | None = None, largest_file: int | None = None, threads: int = 1
) -> Ended:
    """Run a command in a fresh process.

    A fork server starts it: forking a process that has threads may wait for a lock for ever.

    Args:
        words: As the shell gives them, without `igcam`.
        log: File for its output.
        kill: When to die; None lives.
        largest_file: Bytes that a file may have; writing more fails as on a full disk.
        threads: Of torch, as results are compared bit by bit.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["igcam.cli.main", "igcam.commands.fit", "igcam.commands.label", "igcam.commands.predict"]
    )
    process = context.Process(target=_run, args=([str(word) for word in words], str(log), kill, largest_file, threads))
    process.start()
    process.join(900)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{words}: still runs after 15 minutes")
    counted = log.with_suffix(".count")
    renames = int(counted.read_text()) if counted.exists() else 0
    counted.unlink(missing_ok=True)
    return Ended(process.exitcode, log.read_text(encoding="utf-8"), renames)


def _run(words: list[str], log: str, kill: Kill | None, largest_file: int | None, threads: int) -> None:
    import torch

    from igcam.cli.main import main

    torch.set_num_threads(threads)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(handle, stream)
    if largest_file is not None:
        # Without a handler the signal would end the process; so writing fails.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    replace, numbers, count = os.replace, itertools.count(1), 0

    def counting(source: str, target: str) -> None:
        nonlocal count
        number = next(numbers)
        if kill is not None and number == kill.number and not kill.after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        count = max(count, number)
        if kill is not None and number == kill.number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = counting  # type: ignore[assignment]
    sys.argv = ["igcam", *words]
    status: object = 0
    try:
        main()
    except SystemExit as end:
        status = end.code or 0
    finally:
        os.replace = replace
        with contextlib.suppress(OSError):
            Path(log).with_suffix(".count").write_text(str(count))
    sys.exit(int(str(status)))
