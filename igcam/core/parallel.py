"""The same work for many images, on all cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Iterator[Result]:
    """Yield the results of `work` in the order of the items, computed in threads that share the cores for BLAS.

    A few items at most are in work, so that memory stays bounded however many there are.

    Args:
        work: Called with one item at a time, from several threads at once.
        items: Any number; read as results are taken.
        workers: Threads, at least 1; None is one for each core that this process may use.
    """
    cores = available_cores()
    count = cores if workers is None else workers
    if count < 1:
        raise ValueError(f"workers: must be at least 1, got {count}")
    threads = ThreadPoolExecutor(count)
    limits = threadpool_limits(max(1, cores // count), user_api="blas")
    try:
        begun: deque[Future[Result]] = deque()
        for item in items:
            begun.append(threads.submit(work, item))
            if len(begun) > 2 * count:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
        limits.restore_original_limits()


def default_workers() -> int:
    """Return one thread for each core that this process may use, at most 8, as each holds a batch of photos."""
    return min(available_cores(), 8)


@contextmanager
def shared_cores(workers: int) -> Iterator[None]:
    """Give each of several threads that run networks its share of torch's threads.

    Torch splits an operation into equal parts and waits for the slowest: a network on all cores is slowed down by any
    other work, networks on a core or two each are not.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usual_device() -> torch.device:
    """Return where networks run: the first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
