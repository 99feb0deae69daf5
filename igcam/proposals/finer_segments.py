"""Segments of a coarse grid brought to the colours of the photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from igcam.proposals.segments import Image, Proposer, SegmentOptions, Segments, smaller, tidy
from igcam.refine.filters import guided_filter
from igcam.refine.stack import resized


def finer(proposer: Proposer, side: int = 128, radius: int = 6, options: SegmentOptions | None = None) -> Proposer:
    """Return a kind that brings the segments of another one to a photo of at most `side` pixels a side.

    Args:
        proposer: Gives segments of a coarse grid; their scores stay.
        side: Pixels of the photo's longer side.
        radius: Half side of the guided filter's window in pixels: a half to one place of the grid.
        options: For the finer segments; defaults to `SegmentOptions()`.
    """

    def propose(image: Image, feature: NDArray[np.floating] | None) -> Segments:
        coarse = proposer(image, feature)
        small = smaller(image, side)
        rows, columns = small.shape[:2]
        if not len(coarse):
            return Segments(np.zeros((0, rows, columns), bool), coarse.scores)
        # The filter is linear, so that all segments pass it at once, each as a share of the whole.
        shares = resized(coarse.masks.astype(np.float32) / len(coarse), rows, columns)
        stack = np.concatenate([np.clip(1 - shares.sum(axis=0, keepdims=True), 0, 1), shares])
        masks = guided_filter(small, stack / stack.sum(axis=0), radius)[1:] > 0.5 / len(coarse)
        return tidy(masks, coarse.scores if len(coarse.scores) else None, options)

    return propose
