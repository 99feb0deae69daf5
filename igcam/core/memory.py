"""Freed memory stays with the process."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MAX_MAPPED = -1, -4
"""Of mallopt(3)."""


def keep_memory() -> bool:
    """Let glibc on Linux keep freed memory, and return whether it does; call it before the first network.

    Networks on a CPU allocate tens of megabytes in every layer. By default glibc gets each block from the system anew,
    which clears its pages: a third of the training time of a segmenter. The process then never shrinks below its peak.
    The command line calls this when it starts.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(mallopt(_MAX_MAPPED, 0) and mallopt(_TRIM_THRESHOLD, -1))
