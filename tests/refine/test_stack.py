from __future__ import annotations

import cv2
import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from igcam.refine.stack import best_class, margin, resized


def test_margin_by_hand() -> None:
    probability = np.array([[0.5, 0.2], [0.3, 0.2], [0.2, 0.6]], np.float32)[:, :, None]
    np.testing.assert_allclose(margin(probability).ravel(), [0.2, 0.4], atol=1e-6)
    np.testing.assert_array_equal(margin(np.full((1, 2, 2), 0.3, np.float32)), np.ones((2, 2)))


def test_every_channel_is_resized() -> None:
    stack = np.random.default_rng(0).random((3, 4, 5)).astype(np.float16)
    for height, width, how in ((8, 11, cv2.INTER_LINEAR), (2, 3, cv2.INTER_AREA)):
        result = resized(stack, height, width, how)
        assert result.dtype == np.float32
        for layer, found in zip(stack, result, strict=True):
            np.testing.assert_array_equal(
                found, cv2.resize(layer.astype(np.float32), (width, height), interpolation=how)
            )


@given(hnp.arrays(np.float32, st.tuples(*(st.integers(1, 6),) * 3), elements=st.sampled_from([0, 0.25, 0.5, 1])))
def test_the_best_class_is_the_first_of_the_largest(scores: np.ndarray) -> None:
    before = scores.copy()
    found = best_class(scores)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, scores.argmax(axis=0))
    np.testing.assert_array_equal(scores, before)
