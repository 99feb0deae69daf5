"""What the stages of a method work on: features, tags and cues of all images, already computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from igcam.core.progress import Progress, no_progress
from igcam.proposals.segments import Masks
from igcam.refine.affinity import DenseAffinityOptions, dense_affinity
from igcam.refine.stack import resized
from igcam.supervision.constraints import AnnotatedImage, CueConstraint

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Inputs:
    """N images with their features in V views (plain, mirrored); large arrays are memory-mapped."""

    tags: Array
    """float32 (N, C) of 0 and 1."""
    pooled: Array
    """float32 (N, D): last level, mean over locations and views."""
    reduced: NDArray[np.float16]
    """float16 (V, N, k, h, w): the reduced levels; the mirrored view is as computed, not mirrored back."""
    last_level: Callable[[int], Array]
    """Index -> float32 (D, h', w'): last level, mean over views, mirrored back."""
    grouping: Callable[[int], Array]
    """Index -> float32 (D', h', w'): the features that are grouped into proposals."""
    image: Callable[[int, int], NDArray[np.uint8]]
    """Index, size -> uint8 (size, size, 3): the photo squashed to a square."""
    proposals: Callable[[int, Array], Masks | None] = lambda index, feature: None
    """Index, features of `grouping` -> bool (P, rows, columns): further proposals for the photo, of any size."""
    annotated: Mapping[int, AnnotatedImage] = field(default_factory=dict)
    """Index -> cues, of the images that have some."""
    posterior: Array | None = None
    """float32 (N, C) in 0..1: the tag posterior; None takes the tags as they are."""
    image_confidence: Array | None = None
    """float32 (N,) in 0..1: confidence of the pseudo labels of images without a mask; None for one."""
    seed: int = 0
    """Seeds the heads and the folds."""
    progress: Progress = no_progress
    """Reports steps."""

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the reduced maps."""
        return self.reduced.shape[3], self.reduced.shape[4]

    @property
    def allowed(self) -> Array:
        """Weight of each class in each image, float32 (N, C) in 0..1: the tag posterior, or else the tags."""
        return self.tags if self.posterior is None else self.posterior

    def constraint(self, index: int) -> CueConstraint | None:
        """Return the cue constraint of an image on the grid of the maps, if it has cues."""
        annotated = self.annotated.get(index)
        return None if annotated is None else annotated.at(*self.map_size)

    @property
    def masked(self) -> NDArray[np.bool_]:
        """Which images have a mask of the whole image, bool (N,)."""
        whole = {index for index, annotated in self.annotated.items() if annotated.whole}
        return np.isin(np.arange(len(self.tags)), list(whole))

    def at_map_size(self, maps: NDArray[np.floating]) -> Array:
        """Return maps (K, h', w') of any level at the size of the reduced maps, float32 (K, h, w)."""
        if maps.shape[1:] == self.map_size:
            return np.asarray(maps, np.float32)
        return resized(maps, *self.map_size)

    def location_affinity(self, index: int, options: DenseAffinityOptions) -> Array:
        """Return the affinity between all locations of an image on the grid of the maps, float32 (h * w, h * w)."""
        feature = self.at_map_size(self.grouping(index))
        return dense_affinity(feature, self.image(index, feature.shape[1]), options)
