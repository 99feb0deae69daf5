"""Refinements of masks at the size of the photo, for any method: boundary enhancement and the dense CRF."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from igcam.methods.base import Refinement, Soft
from igcam.refine.crf import CRF_PRESETS, CRFParameters, dense_crf
from igcam.refine.pyramid import PyramidOptions, sharpen
from igcam.refine.stack import resized

Array = NDArray[np.float32]


class Sharpen(Refinement):
    """Multi-scale boundary enhancement."""

    name = "sharpen"
    title = "Boundaries"
    about = "solves the coarse map again along features and colours, scale by scale"
    uses_features = True
    options: PyramidOptions

    def __init__(self, options: PyramidOptions) -> None:
        self.options = options

    @property
    def facts(self) -> dict[str, object]:
        """The CRF of the finest level, where it is one, for the ledger."""
        return DenseCrf().facts if self.options.last == "crf" else {}

    def refine(self, soft: Soft) -> Array:
        """Sharpen the coarse map, whatever it was enlarged to."""
        height, width = soft.image.shape[:2]
        # A small photo can be smaller than its map.
        coarse = resized(soft.coarse, min(height, soft.coarse.shape[1]), min(width, soft.coarse.shape[2]))
        full = sharpen(soft.image, coarse, options=self.options, deep=soft.features)[-1].probability
        return full if full.shape[1:] == (height, width) else resized(full, height, width)


class DenseCrf(Refinement):
    """A dense CRF on the photo, over the classes that are present."""

    name = "crf"
    title = "CRF"
    about = "a dense CRF on colours and positions"
    options: CRFParameters

    def __init__(self, preset: str | CRFParameters = "afa", side: int = 0) -> None:
        """Take a preset.

        Args:
            preset: Name in `CRF_PRESETS`, or parameters.
            side: Longer side in pixels of the photos that its widths are for; 0 takes them as they are for all.
        """
        self.side, self.options = side, CRF_PRESETS[preset] if isinstance(preset, str) else preset
        self.preset = preset if isinstance(preset, str) else "none"

    @property
    def facts(self) -> dict[str, object]:
        """Preset and parameters, for the ledger."""
        sizes = {"widths_for_longer_side": self.side} if self.side else {}
        return {"preset": self.preset, **asdict(self.options), **sizes}

    def refine(self, soft: Soft) -> Array:
        """Run the CRF; its widths follow the photo, not a tile of it."""
        parameters = self.options.scaled(soft.side / self.side) if self.side else self.options
        return dense_crf(soft.image, np.clip(soft.probability, 0, 1), parameters)
