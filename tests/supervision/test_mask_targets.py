from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from igcam.supervision.mask_targets import class_weights, mask_target


def test_shares_of_a_place_by_hand() -> None:
    mask = np.array([[1, 1, 0, 0], [1, 255, 255, 255], [2, 2, 255, 255], [2, 0, 255, 255]], np.uint8)
    target, known = mask_target(mask, 2, 2, 2)
    np.testing.assert_allclose(known, [[0.75, 0.5], [1, 0]])
    np.testing.assert_allclose(target[:, 0, 0], [0, 1, 0])
    np.testing.assert_allclose(target[:, 0, 1], [1, 0, 0])
    np.testing.assert_allclose(target[:, 1, 0], [0.25, 0, 0.75])
    np.testing.assert_allclose(target[:, 1, 1], [1, 0, 0])


@given(
    arrays(
        np.uint8,
        array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20),
        elements=st.sampled_from([0, 1, 3, 255]),
    ),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_targets_are_probabilities_and_known_shares_are_shares(mask: np.ndarray, height: int, width: int) -> None:
    target, known = mask_target(mask, 3, height, width)
    assert target.shape == (4, height, width)
    np.testing.assert_allclose(target.sum(axis=0), 1, rtol=1e-5)
    assert target.min() >= 0
    assert 0 <= known.min() <= known.max() <= 1
    assert not target[2].any()


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ids must be 0\.\.2 or 255, got 3"):
        mask_target(np.full((2, 2), 3, np.uint8), 2, 1, 1)


def test_weights_of_classes() -> None:
    shares = np.array([8.0, 2.0, 0.0])
    np.testing.assert_allclose(class_weights(shares, 0), [1, 1, 0])
    equal = class_weights(shares, 1)
    np.testing.assert_allclose(equal * shares, [5, 5, 0], rtol=1e-6)
    half = class_weights(shares, 0.5)
    assert half[1] / half[0] == pytest.approx(2)
    assert (half * shares).sum() == pytest.approx(10)
    np.testing.assert_allclose(class_weights(np.zeros(3), 0.5), 1)
