"""Spatial influence maps: which locations of an image help or harm."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from igcam.influence.head import HeadVector


def spatial_influence(feature_map: ArrayLike, residual: ArrayLike, directions: HeadVector) -> np.ndarray:
    """Split the influence of an image, for a head on average-pooled features, over its locations.

    I_c(u) = -1/(hw) (p_c - y_c) (f(u) . s_c + b_c), where (s_c, b_c) = H_c^-1 grad_c V. The bias contributes
    equally at every location. The sum over locations is the image's influence I_c(i, V); positive locations
    raise V.

    Args:
        feature_map: (D, h, w), the features before pooling, scaled and centred like the pooled features.
        residual: (C,), probability - tag of the image: a row of `HeadInfluence.residual`.
        directions: `HeadInfluence.directions(...)`.

    Returns:
        float64 (C, h, w).

    Raises:
        ValueError: Shapes that do not match.
    """
    features = np.asarray(feature_map, dtype=np.float64)
    residual = np.asarray(residual, dtype=np.float64)
    classes, width = directions.weight.shape
    if features.ndim != 3 or features.shape[0] != width or 0 in features.shape:
        raise ValueError(f"feature_map: shape must be ({width}, h, w), got {features.shape}")
    if residual.shape != (classes,):
        raise ValueError(f"residual: shape must be ({classes},), got {residual.shape}")
    height, across = features.shape[1:]
    along = directions.weight @ features.reshape(width, -1) + directions.bias[:, None]
    return (-residual[:, None] * along / (height * across)).reshape(classes, height, across)
