"""From coarse scores to sharp ones: affinities, walks, the multi-scale pyramid, the dense CRF."""

from igcam.core.parallel import in_parallel
from igcam.refine.affinity import AffinityOptions, DenseAffinityOptions, dense_affinity, local_affinity
from igcam.refine.crf import CRF_PRESETS, CRFParameters, dense_crf, dense_crf_from_unary
from igcam.refine.propagation import by_rows, walk
from igcam.refine.pyramid import Level, PyramidOptions, sharpen
