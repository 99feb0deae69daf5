"""Cores shared between threads that each run a network and draw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from igcam.refine.batch import available_cores

MOST_WORKERS = 8
"""Threads by default at most, as each holds a batch of photos."""


def default_workers() -> int:
    """Return one thread a core that this process may use, up to `MOST_WORKERS`."""
    return min(available_cores(), MOST_WORKERS)


@contextmanager
def shared_cores(workers: int) -> Iterator[None]:
    """Give each of the threads that are started inside its share of torch's threads.

    Torch cuts an operation into equal parts and waits for the slowest, so that a network on all cores loses whatever a
    thread that draws takes of one of them. Networks on a core or two each lose nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)
