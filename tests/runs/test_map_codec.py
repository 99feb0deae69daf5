from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from igcam.runs.map_codec import decode_maps, encode_maps

maps_of_any_kind = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(0, 1000, width=32) | st.just(0.0))
)


def smooth(classes: int = 21, side: int = 24, seed: int = 0) -> np.ndarray:
    """Return soft masks of which the first and two others are there, float32 (classes, side, side)."""
    rows, columns = np.mgrid[:side, :side] / side
    random = np.random.default_rng(seed)
    scores = np.full((classes, side, side), -np.inf)
    scores[0] = 0
    for label in random.choice(np.arange(1, classes), 2, replace=False):
        y, x = random.random(2)
        scores[label] = 4 - 40 * ((rows - y) ** 2 + (columns - x) ** 2)
    shares = np.exp(scores)
    return (shares / shares.sum(axis=0)).astype(np.float32)


@settings(deadline=None)
@given(maps_of_any_kind, st.integers(1, 8))
def test_values_are_off_by_half_a_step_at_most(maps: np.ndarray, bits: int) -> None:
    read = decode_maps(encode_maps(maps, bits))
    assert read.dtype == np.float32
    assert read.shape == maps.shape
    maps = np.where(maps < np.finfo(np.float32).tiny, 0, maps)
    largest = maps.max(axis=(1, 2), keepdims=True)
    step = largest / (2**bits - 1)
    if not np.allclose(maps.sum(axis=0), 1, atol=3e-3):
        assert (np.abs(read - maps) <= step / 2 * 1.001 + largest * 1e-5).all()
    np.testing.assert_array_equal(read[largest[:, 0, 0] == 0], 0)


@pytest.mark.parametrize("bits", [1, 4, 6, 8])
def test_soft_masks_sum_to_one_again(bits: int) -> None:
    maps = smooth()
    read = decode_maps(encode_maps(maps, bits))
    step = maps.max(axis=(1, 2)) / (2**bits - 1)
    # The first is off by what the others are off, unless these take all of the place.
    assert (np.abs(read - maps).max(axis=(1, 2))[1:] <= step[1:] / 2 * 1.001).all()
    assert np.abs(read[0] - maps[0]).max() <= step[1:].sum() / 2 * 1.001 + 2e-3
    assert read.sum(axis=0).min() >= 0.998


def test_absent_and_even_classes_cost_next_to_nothing() -> None:
    maps = np.zeros((200, 24, 24), np.float32)
    assert len(encode_maps(maps)) == 10
    maps[3] = 0.15
    assert len(encode_maps(maps)) == 16
    np.testing.assert_array_equal(decode_maps(encode_maps(maps)), maps)


def test_smooth_maps_are_small() -> None:
    sizes = [smooth(seed=seed).nbytes / len(encode_maps(smooth(seed=seed))) for seed in range(5)]
    assert min(sizes) > 60
    noise = np.random.default_rng(0).random((3, 50, 50), np.float32)
    # Seven bits of noise are seven bits: no way of telling them is much longer than they are.
    assert len(encode_maps(noise, 8)) < noise.size * 1.01 + 40


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.zeros((2, 3), np.float32), "maps must be float"),
        (np.zeros((2, 3, 4), int), "maps must be float"),
        (np.zeros((0, 3, 4), np.float32), "maps must be float"),
        (np.full((1, 1, 1), np.nan, np.float32), "finite and at least 0"),
        (np.full((1, 1, 1), -1, np.float32), "finite and at least 0"),
    ],
)
def test_wrong_maps_are_refused(maps: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_maps(maps)
    with pytest.raises(ValueError, match="bits must be 1 to 8"):
        encode_maps(smooth(), 9)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_codes_are_refused_or_read_as_maps(data: st.DataObject) -> None:
    code = bytearray(encode_maps(smooth(4, 8)))
    for _ in range(data.draw(st.integers(1, 3))):
        code[data.draw(st.integers(6, len(code) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(code[: data.draw(st.integers(0, len(code)))])
    with contextlib.suppress(ValueError):
        assert decode_maps(cut).shape == (4, 8, 8)
