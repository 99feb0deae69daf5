"""Loading images for a training: each update is loaded while the one before is computed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.methods.training.loop import Batch

_ENDED = (
    "a process that loads photos has ended: a script that starts them needs `if __name__ == '__main__':` around "
    "what it does, and each of them memory for a photo"
)


class Examples(Protocol):
    """The images to train on."""

    def __len__(self) -> int:
        """Return their number."""
        ...

    def load(self, index: int, epoch: int) -> Batch:
        """Return one image as it is in this epoch: the same at every call and in every process."""
        ...


class ExampleLoader:
    """Loads examples in threads, or in processes where loading holds Python's lock for long.

    Processes are spawned, as threads of networks and GPUs do not survive a fork: a script that asks for them needs
    `if __name__ == "__main__":`, and the examples are pickled.
    """

    def __init__(self, examples: Examples, workers: int, processes: bool = False) -> None:
        self.processes, self.load = processes, _load if processes else examples.load
        self.pool: Executor = ThreadPoolExecutor(workers)
        if processes:
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(examples,))

    def __enter__(self) -> ExampleLoader:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads or processes."""
        self.pool.shutdown(cancel_futures=True)

    def updates(self, chosen: Sequence[tuple[NDArray[np.intp], int]], epoch: int) -> Iterator[list[Batch]]:
        """Yield the parts of each update; `chosen` has its images and the number of parts.

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
            raise IgcamError(_ENDED) from error

    def _joined(self, loading: list[Future[Any]], parts: int) -> list[Batch]:
        try:
            found = [future.result() for future in loading]
        except BrokenProcessPool as error:
            raise IgcamError(_ENDED) from error
        loaded = [_from_arrays(*one) for one in found] if self.processes else found
        bounds = [round(position * len(loaded) / parts) for position in range(parts + 1)]
        return [_batch(loaded[start:stop]) for start, stop in pairwise(bounds)]


_examples: Examples
"""The examples of a loading process."""


def _begin(examples: Examples) -> None:
    """Prepare a loading process, of which there is one for each core."""
    global _examples
    _examples = examples
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _load(index: int, epoch: int) -> tuple[list[NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return an example as arrays: tensors would go through shared memory, which is scarce in containers."""
    example = _examples.load(index, epoch)
    known = {name: tensor.numpy() for name, tensor in example.known.items()}
    return [tensor.numpy() for tensor in example.inputs], known


def _from_arrays(inputs: Sequence[NDArray[Any]], known: Mapping[str, NDArray[Any]]) -> Batch:
    return Batch([*map(torch.from_numpy, inputs)], {name: torch.from_numpy(array) for name, array in known.items()})


def _batch(examples: Sequence[Batch]) -> Batch:
    """Join images; channels of the inputs stay last in memory, which convolutions prefer."""
    inputs = [torch.stack(tensors) for tensors in zip(*(example.inputs for example in examples), strict=True)]
    inputs = [x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in inputs]
    return Batch(inputs, {name: torch.stack([one.known[name] for one in examples]) for name in examples[0].known})
