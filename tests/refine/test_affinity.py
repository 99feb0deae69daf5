from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refiner_suite import photo

from igcam.core.errors import IgcamError
from igcam.refine.affinity import AffinityOptions, local_affinity

NEAR = AffinityOptions(dilations=(1,))


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 99))
def test_rows_are_distributions(height: int, width: int, seed: int) -> None:
    affinity = local_affinity(photo(height, width, seed))
    assert affinity.shape == (height * width, height * width)
    assert affinity.dtype == np.float32
    assert affinity.data.min() >= 0
    np.testing.assert_allclose(affinity.sum(axis=1), 1, atol=1e-5)


def test_flat_colour_by_hand() -> None:
    options = AffinityOptions(dilations=(1,), position_weight=0)
    row = local_affinity(np.full((3, 3, 3), 80, dtype=np.uint8), None, options).toarray()[4].reshape(3, 3)
    np.testing.assert_allclose(row, np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]) / 8, rtol=1e-5)


def test_colour_distance_by_hand() -> None:
    image = np.full((3, 3, 3), 100.0)
    image[0, 0] = 104
    options = AffinityOptions(dilations=(1,), colour_width=0.5, contrast_floor=2, position_weight=0)
    row = local_affinity(image, None, options).toarray()[4].reshape(3, 3)
    spread = 4 * np.sqrt(7) / 8 + 2  # eight neighbours, one of which differs by 4
    assert row[0, 0] / row[0, 1] == pytest.approx(np.exp(-((4 / (0.5 * spread)) ** 2)), rel=1e-4)


def test_neighbours_of_like_colour_get_more() -> None:
    image = np.zeros((5, 6, 3), dtype=np.uint8)
    image[:, 3:] = 200
    row = local_affinity(image, None, NEAR).toarray()[2 * 6 + 2].reshape(5, 6)
    assert row[:, 3:].sum() < 0.05
    assert row[1:4, 1:3].sum() > 0.95


def test_dilations_reach_that_far() -> None:
    row = local_affinity(np.zeros((21, 21, 3), np.uint8), None, AffinityOptions(dilations=(2, 7))).toarray()[220]
    y, x = np.nonzero(row.reshape(21, 21))
    assert {(int(a - 10), int(b - 10)) for a, b in zip(y, x, strict=True)} == {
        (dy * d, dx * d) for d in (2, 7) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)
    }


def test_features_tell_regions_of_one_colour_apart() -> None:
    features = np.zeros((4, 5, 6))
    features[0, :, :3] = 1
    features[1, :, 3:] = 5
    row = local_affinity(np.zeros((5, 6, 3), np.uint8), features, NEAR).toarray()[2 * 6 + 2].reshape(5, 6)
    assert row[:, 3:].sum() < 0.05


def test_features_count_by_direction_only() -> None:
    image, features = photo(6, 7), np.random.default_rng(0).normal(size=(3, 6, 7))
    scaled = features * np.random.default_rng(1).uniform(0.5, 2, (6, 7))
    first, second = (local_affinity(image, f, NEAR).toarray() for f in (features, scaled))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_chosen_rows_equal_those_of_the_whole() -> None:
    image, rows = photo(9, 11), np.random.default_rng(0).random((9, 11)) < 0.4
    whole = local_affinity(image).toarray()
    np.testing.assert_allclose(local_affinity(image, rows=rows).toarray(), whole[rows.ravel()], rtol=1e-6)
    assert local_affinity(image, rows=np.zeros((9, 11), dtype=bool)).shape == (0, 99)


def test_blocks_of_rows_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image, features = photo(9, 11), np.random.default_rng(0).normal(size=(3, 9, 11))
    whole = local_affinity(image, features).toarray()
    monkeypatch.setattr("igcam.refine.affinity.ROWS_AT_A_TIME", 7)
    np.testing.assert_allclose(local_affinity(image, features).toarray(), whole, rtol=1e-6)


def test_bad_input_is_refused() -> None:
    image = photo(4, 5)
    with pytest.raises(ValueError, match="image: must be"):
        local_affinity(image[..., 0])
    with pytest.raises(ValueError, match="image: must be"):
        local_affinity(np.full((2, 2, 3), np.nan))
    with pytest.raises(ValueError, match=r"features: must be \(D, 4, 5\)"):
        local_affinity(image, np.zeros((2, 5, 4)))
    with pytest.raises(ValueError, match="features: must be finite"):
        local_affinity(image, np.full((2, 4, 5), np.inf))
    with pytest.raises(ValueError, match=r"rows: must be bool \(4, 5\)"):
        local_affinity(image, rows=np.zeros((5, 4), dtype=bool))
    with pytest.raises(IgcamError, match="dilations must be at least 1, got 0"):
        AffinityOptions(dilations=(0,))
    with pytest.raises(IgcamError, match="colour_width must be above 0"):
        AffinityOptions(colour_width=0)
    with pytest.raises(IgcamError, match="position_weight must be at least 0"):
        AffinityOptions(position_weight=-1)
