"""Memory that is freed is not asked for again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from igcam.core.memory import keep_memory

FAULTS = """
import resource, sys
import numpy as np
from igcam.core.memory import keep_memory
kept = keep_memory() if sys.argv[1] == "keep" else None
def use():
    for _ in range(3):
        np.empty(100_000_000, np.uint8).fill(1)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> tuple[str, int]:
    """Return what `keep_memory` said, and how many pages three arrays of 100 MB took from the system once warm."""
    output = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout
    kept, count = output.split()
    return kept, int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has a way to be told")
def test_freed_blocks_are_used_again() -> None:
    kept, count = faults("keep")
    if kept == "False":
        pytest.skip("this C library cannot be told")
    # Pages can be of 4 kB or of 2 MB.
    assert count < 10
    assert faults("leave")[1] >= 100


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_memory()
