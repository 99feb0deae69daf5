"""Images on their way to a segmenter: each update is loaded while the one before is computed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.errors import IgcamError


@dataclass(frozen=True)
class Example:
    """One image as it is learnt once, or a batch of them."""

    inputs: Sequence[Tensor]
    """What the network takes, without the batch's dimension; several tensors are passed as a list."""
    target: Tensor
    """float32 (K, h, w), summing to one."""
    confidence: Tensor
    """float32 (h, w), at least 0."""


class Examples(Protocol):
    """The images to learn from."""

    def __len__(self) -> int:
        """Return their number."""
        ...

    def load(self, index: int, epoch: int) -> Example:
        """Return an image as it is in this epoch: the same at every call, whichever process asks."""
        ...


class ExampleLoader:
    """Loads examples in threads, or in processes where loading is more work than Python's lock lets threads share.

    Args:
        examples: The images; they are sent to every process.
        workers: Number of threads or processes.
        processes: Take processes. They are started anew, as the networks' threads and GPUs bear no copy, so that a
            script that asks for them needs `if __name__ == "__main__":`.
    """

    def __init__(self, examples: Examples, workers: int, processes: bool = False) -> None:
        self.processes = processes
        self.pool: Executor
        self.load: Callable[[int, int], Any]
        if processes:
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(examples,))
            self.load = _load
        else:
            self.pool = ThreadPoolExecutor(workers)
            self.load = examples.load

    def __enter__(self) -> ExampleLoader:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads or processes."""
        self.pool.shutdown(cancel_futures=True)

    def updates(self, chosen: Sequence[tuple[NDArray[np.intp], int]], epoch: int) -> Iterator[list[Example]]:
        """Yield updates, each as its parts.

        Args:
            chosen: For each update the images, and in how many parts they go through the network.
            epoch: Passed to the examples.

        Raises:
            IgcamError: An image cannot be read, or a process has ended.
        """
        waiting: list[tuple[list[Future[Any]], int]] = []
        for indices, parts in chosen:
            waiting.append(([self._submit(int(index), epoch) for index in indices], parts))
            if len(waiting) > 1:
                yield self._joined(*waiting.pop(0))
        for update in waiting:
            yield self._joined(*update)

    def _submit(self, index: int, epoch: int) -> Future[Any]:
        try:
            return self.pool.submit(self.load, index, epoch)
        except BrokenProcessPool as error:
            raise _ended() from error

    def _joined(self, loading: list[Future[Any]], parts: int) -> list[Example]:
        try:
            found = [future.result() for future in loading]
        except BrokenProcessPool as error:
            raise _ended() from error
        loaded = [_from_arrays(*one) for one in found] if self.processes else found
        bounds = [round(position * len(loaded) / parts) for position in range(parts + 1)]
        return [_batch(loaded[start:stop]) for start, stop in pairwise(bounds)]


def _ended() -> IgcamError:
    return IgcamError(
        "a process that loads photos has ended: a script that starts them needs `if __name__ == '__main__':` around "
        "what it does, and each of them memory for a photo"
    )


_examples: Examples
"""Of a process that loads."""


def _begin(examples: Examples) -> None:
    """Prepare a process that loads: there is one for each core."""
    global _examples
    _examples = examples
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _load(index: int, epoch: int) -> tuple[list[NDArray[Any]], NDArray[Any], NDArray[Any]]:
    """Return an example as arrays: tensors would go through shared memory, which is scarce in containers."""
    example = _examples.load(index, epoch)
    return [tensor.numpy() for tensor in example.inputs], example.target.numpy(), example.confidence.numpy()


def _from_arrays(inputs: Sequence[NDArray[Any]], target: NDArray[Any], confidence: NDArray[Any]) -> Example:
    return Example(
        [torch.from_numpy(array) for array in inputs], torch.from_numpy(target), torch.from_numpy(confidence)
    )


def _batch(examples: Sequence[Example]) -> Example:
    """Join images to a batch."""
    inputs = [torch.stack(tensors) for tensors in zip(*(example.inputs for example in examples), strict=True)]
    target, confidence = (
        torch.stack([getattr(example, name) for example in examples]) for name in ("target", "confidence")
    )
    return Example(inputs, target, confidence)
