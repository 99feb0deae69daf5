from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from refiner_suite import photo, stack

from igcam.core.parallel import in_parallel
from igcam.refine.crf import dense_crf


def test_results_come_in_order_and_equal_those_of_one_at_a_time() -> None:
    pairs = [(photo(20, 24 + seed, seed), stack(3, 20, 24 + seed, seed)) for seed in range(7)]
    together = list(in_parallel(lambda pair: dense_crf(*pair), pairs, workers=3))
    for pair, result in zip(pairs, together, strict=True):
        np.testing.assert_array_equal(result, dense_crf(*pair))


def test_items_are_read_as_they_are_needed() -> None:
    read = []

    def items():
        for index in range(1000):
            read.append(index)
            yield index

    results = in_parallel(lambda index: -index, items(), workers=2)
    assert [next(results) for _ in range(3)] == [0, -1, -2]
    assert len(read) < 12


def test_work_runs_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)
    assert list(in_parallel(lambda index: both.wait() >= 0, range(4), workers=2)) == [True] * 4


def test_errors_reach_the_caller() -> None:
    def work(index: int) -> int:
        time.sleep(0.01)
        return 1 // (index - 2)

    with pytest.raises(ZeroDivisionError):
        list(in_parallel(work, range(5)))
    with pytest.raises(ValueError, match="workers: must be at least 1, got 0"):
        list(in_parallel(work, [1], workers=0))
