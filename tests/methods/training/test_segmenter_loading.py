from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from igcam.core.errors import IgcamError
from igcam.methods.training.loading import ExampleLoader
from igcam.methods.training.loop import Batch


@dataclass(frozen=True)
class Numbered:
    """Tells index, epoch and process; an index beyond the end cannot be read, and -1 ends the process."""

    count: int = 7

    def __len__(self) -> int:
        return self.count

    def load(self, index: int, epoch: int) -> Batch:
        if index >= self.count:
            raise IgcamError(f"photo-{index}.jpg: does not exist")
        if index < 0:
            os._exit(1)
        facts = torch.tensor([index, epoch, os.getpid()], dtype=torch.float64)
        known = {"target": torch.full((2, 1, 1), 0.5), "confidence": torch.full((1, 1), float(index))}
        return Batch([facts, facts[:1].float()], known)


@pytest.fixture(scope="module")
def processes() -> Iterator[ExampleLoader]:
    with ExampleLoader(Numbered(), 2, processes=True) as loader:
        yield loader


CHOSEN = [(np.array([5, 2, 6]), 2), (np.array([1]), 1), (np.array([0, 4, 3]), 1)]


def check_updates(loader: ExampleLoader) -> set[float]:
    """Check that all examples come in their order and parts, and return the processes that loaded them."""
    updates = list(loader.updates(CHOSEN, 3))
    assert [[part.inputs[0].shape[0] for part in parts] for parts in updates] == [[2, 1], [1], [3]]
    for (indices, _), parts in zip(CHOSEN, updates, strict=True):
        facts = torch.cat([part.inputs[0] for part in parts])
        assert facts[:, 0].tolist() == indices.tolist()
        assert facts[:, 1].tolist() == [3] * len(indices)
        assert torch.cat([part.inputs[1] for part in parts])[:, 0].tolist() == indices.tolist()
        assert torch.cat([part.known["confidence"] for part in parts])[:, 0, 0].tolist() == indices.tolist()
        assert all(part.known["target"].shape[1:] == (2, 1, 1) for part in parts)
    return {float(number) for parts in updates for part in parts for number in part.inputs[0][:, 2]}


def test_threads_give_all_updates() -> None:
    with ExampleLoader(Numbered(), 2) as loader:
        assert check_updates(loader) == {os.getpid()}


def test_processes_give_the_same_updates(processes: ExampleLoader) -> None:
    assert os.getpid() not in check_updates(processes)


def test_errors_of_processes_are_those_of_the_examples(processes: ExampleLoader) -> None:
    with pytest.raises(IgcamError, match=r"^photo-9\.jpg: does not exist$"):
        list(processes.updates([(np.array([9]), 1)], 0))
    check_updates(processes)


def test_a_process_that_ends_is_reported_in_a_line() -> None:
    with ExampleLoader(Numbered(), 1, processes=True) as loader:
        with pytest.raises(IgcamError, match=r"^a process that loads photos has ended: [^\n]*$"):
            list(loader.updates([(np.array([-1]), 1)], 0))
        with pytest.raises(IgcamError, match="has ended"):
            list(loader.updates([(np.array([1]), 1)], 0))
