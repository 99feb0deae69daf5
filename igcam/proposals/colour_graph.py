"""Segments of even colour at several scales, by graph-based segmentation."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.options import NonNegative, Positives, between, options
from igcam.proposals.segments import Image, Masks, SegmentOptions, Segments, proposal_kind, smaller, tidy


@options
class ColourSegmentOptions:
    """Scales of the segmentation, and which segments are kept."""

    scales: Positives = (50.0, 100.0, 200.0, 400.0, 800.0)
    """Larger scales give larger segments."""
    smoothing: NonNegative = 0.8
    """Standard deviation of the Gaussian before, in pixels."""
    side: Annotated[int, between(8, 4096)] = 160
    """The photo is shrunk until its longer side has at most this many pixels."""
    segments: SegmentOptions = field(default_factory=SegmentOptions)
    """Sizes, duplicates, number."""


@proposal_kind("colour-segments")
def colour_segments(
    image: Image, feature: NDArray[np.floating] | None = None, options: ColourSegmentOptions | None = None
) -> Segments:
    """Cut a photo, uint8 (H, W, 3), into segments of even colour, coarse scales first; a `Proposer`.

    Source: Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation", IJCV 2004.
    """
    options = options or ColourSegmentOptions()
    small = smaller(image, options.side)
    stacks = [one_hot(graph_labels(small, scale, options.smoothing)) for scale in sorted(options.scales, reverse=True)]
    return tidy(np.concatenate(stacks), None, options.segments)


def graph_labels(image: Image, scale: float, smoothing: float = 0.8, minimum: int = 20) -> NDArray[np.int32]:
    """Return region numbers 0..R-1, int32 (H, W), of a photo, uint8 (H, W, 3), cut in CIE Lab.

    A larger scale prefers larger regions; `smoothing` is the standard deviation of the Gaussian before, in pixels, and
    `minimum` the pixels of the smallest region.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    cutter = cv2.ximgproc.segmentation.createGraphSegmentation(smoothing, scale, minimum)
    labels = cutter.processImage(lab)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def one_hot(labels: NDArray[np.integer]) -> Masks:
    """Return bool (R, rows, columns), each region's pixels, from numbers 0..R-1 of (rows, columns)."""
    masks: Masks = labels == np.arange(int(labels.max()) + 1)[:, None, None]
    return masks
