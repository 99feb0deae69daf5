from __future__ import annotations

import numpy as np
import pytest

from igcam.influence.head import HeadInfluence, HeadVector, spatial_influence
from igcam.models.linear_head import cross_fit, fit_linear_head


@pytest.mark.parametrize("width", [6, 40])
def test_locations_sum_to_the_influence_of_the_image(width: int) -> None:
    random = np.random.default_rng(0)
    maps = random.standard_normal((30, width, 5, 4))
    features = maps.mean((2, 3))
    tags = (random.random((30, 3)) < 0.4).astype(float)
    clean, clean_tags = random.standard_normal((10, width)), (random.random((10, 3)) < 0.4).astype(float)
    head = fit_linear_head(features, tags, 1e-3)
    exact = HeadInfluence(features, tags, head.weight, head.bias, 1e-3)
    influence = exact.on_loss(clean, clean_tags)
    directions = exact.directions(clean, clean_tags)
    for i in range(30):
        locations = spatial_influence(maps[i], exact.residual[i], directions)
        assert locations.shape == (3, 5, 4)
        np.testing.assert_allclose(locations.sum((1, 2)), influence[i], rtol=1e-5)


def test_cross_fitted_maps_sum_to_the_cross_fitted_influence() -> None:
    random = np.random.default_rng(0)
    maps = random.standard_normal((25, 30, 3, 3))
    tags = (random.random((25, 2)) < 0.4).astype(float)
    fitted = cross_fit(maps.mean((2, 3)), tags, 1e-2, folds=4)
    locations = np.stack([fitted.spatial(i, maps[i]) for i in range(25)])
    np.testing.assert_allclose(locations.sum((2, 3)), fitted.influence, rtol=1e-5)


def test_worked_by_hand() -> None:
    directions = HeadVector(np.array([[1.0, 2.0]]), np.array([4.0]))
    features = np.array([[[1.0, 0.0]], [[0.0, 3.0]]])
    locations = spatial_influence(features, np.array([-0.5]), directions)
    # -(1/2) (-0.5) (f . s + 4): 0.25 * (1 + 4) and 0.25 * (6 + 4)
    np.testing.assert_allclose(locations, [[[1.25, 2.5]]])


def test_wrong_shapes_are_named() -> None:
    directions = HeadVector(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(ValueError, match=r"feature_map: shape must be \(3, h, w\)"):
        spatial_influence(np.zeros((4, 5, 5)), np.zeros(2), directions)
    with pytest.raises(ValueError, match=r"residual: shape must be \(2,\)"):
        spatial_influence(np.zeros((3, 5, 5)), np.zeros(3), directions)
