from __future__ import annotations

import os

import pytest
import torch

from igcam.core.parallel import default_workers, shared_cores


@pytest.fixture(autouse=True)
def eight_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("workers", "share"), [(1, 8), (2, 4), (3, 2), (8, 1), (20, 1)])
def test_threads_are_shared_and_given_back(workers: int, share: int) -> None:
    with shared_cores(workers):
        assert torch.get_num_threads() == share
    assert torch.get_num_threads() == 8


def test_they_are_given_back_after_an_error() -> None:
    with pytest.raises(KeyError), shared_cores(8):
        raise KeyError
    assert torch.get_num_threads() == 8


def test_there_is_one_worker_a_core_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, workers in ((1, 1), (5, 5), (64, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert default_workers() == workers
