"""From coarse scores to sharp ones: affinities, walks, the multi-scale pyramid, the dense CRF."""

from igcam.refine.affinity import AffinityOptions, local_affinity
from igcam.refine.crf import CRF_PRESETS, CRFParameters, dense_crf, dense_crf_from_unary, unary_from_labels
from igcam.refine.lattice import PermutohedralLattice
from igcam.refine.pyramid import Level, PyramidOptions, sharpen
from igcam.refine.walk import walk

__all__ = [
    "AffinityOptions",
    "local_affinity",
    "walk",
    "PyramidOptions",
    "Level",
    "sharpen",
    "CRFParameters",
    "CRF_PRESETS",
    "dense_crf",
    "dense_crf_from_unary",
    "unary_from_labels",
    "PermutohedralLattice",
]
