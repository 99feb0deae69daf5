from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from refiner_suite import RefinerSuite

from igcam.refine.affinity import local_affinity
from igcam.refine.propagation import walk

CHAIN = scipy.sparse.csr_array(np.array([[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]], dtype=np.float32))


def random_transition(nodes: int, seed: int) -> scipy.sparse.csr_array:
    weights = np.random.default_rng(seed).random((nodes, nodes)).astype(np.float32)
    return scipy.sparse.csr_array(weights / weights.sum(axis=1, keepdims=True))


def test_chain_by_hand() -> None:
    seeds = np.array([[1.0, 0.0, 0.0]])
    np.testing.assert_allclose(walk(CHAIN, seeds, 0), seeds)
    np.testing.assert_allclose(walk(CHAIN, seeds, 1), [[0, 0.5, 0]])
    np.testing.assert_allclose(walk(CHAIN, seeds, 2), [[0.5, 0, 0.5]])
    np.testing.assert_allclose(walk(CHAIN, seeds, 1, restart=0.2), [[0.2, 0.4, 0]])


def test_clamped_ends_of_a_chain_reach_the_harmonic_mean() -> None:
    clamped = np.array([True, False, True])
    np.testing.assert_allclose(walk(CHAIN, np.array([[1.0, 0.3, 0.0]]), 3, clamped=clamped), [[1, 0.5, 0]])


@pytest.mark.parametrize("restart", [0.15, np.linspace(0.1, 0.9, 12)])
def test_restart_converges_to_its_fixed_point(restart: float | np.ndarray) -> None:
    transition, seeds = random_transition(12, 0), np.random.default_rng(1).random((3, 12))
    share = np.broadcast_to(restart, (12,))
    fixed = np.linalg.solve(np.eye(12) - (1 - share)[:, None] * transition.toarray(), (share * seeds).T).T
    np.testing.assert_allclose(walk(transition, seeds, 200, restart=restart), fixed, atol=1e-5)


def test_clamping_converges_to_the_random_walker() -> None:
    transition, seeds = random_transition(12, 0), np.random.default_rng(1).random((2, 12))
    clamped = np.arange(12) < 5
    dense = transition.toarray()
    inner = np.linalg.solve(np.eye(7) - dense[5:, 5:], dense[5:, :5] @ seeds[:, :5].T).T
    result = walk(transition, seeds, 200, clamped=clamped)
    np.testing.assert_allclose(result[:, :5], seeds[:, :5], rtol=1e-6)
    np.testing.assert_allclose(result[:, 5:], inner, atol=1e-5)


def test_rows_of_the_free_nodes_are_enough() -> None:
    transition, seeds = random_transition(9, 0), np.random.default_rng(1).random((2, 9))
    clamped = np.random.default_rng(2).random(9) < 0.5
    options = {"restart": np.linspace(0, 1, 9), "clamped": clamped, "competition": 1.3}
    whole = walk(transition, seeds, 4, **options)
    np.testing.assert_array_equal(walk(transition[np.flatnonzero(~clamped)], seeds, 4, **options), whole)


@settings(max_examples=30, deadline=None)
@given(value=st.floats(-5, 5), steps=st.integers(0, 8), restart=st.floats(0, 1), seed=st.integers(0, 99))
def test_constant_maps_stay_and_scores_keep_their_range(value: float, steps: int, restart: float, seed: int) -> None:
    transition = random_transition(10, seed)
    constant = walk(transition, np.full((2, 10), value), steps, restart=restart)
    np.testing.assert_allclose(constant, value, atol=1e-4)
    seeds = np.random.default_rng(seed).normal(size=(3, 10))
    spread = walk(transition, seeds, steps, restart=restart)
    assert (spread.max(axis=1) <= seeds.max(axis=1) + 1e-5).all()
    assert (spread.min(axis=1) >= seeds.min(axis=1) - 1e-5).all()


def test_competition_by_hand() -> None:
    stay = scipy.sparse.csr_array(np.eye(1, dtype=np.float32))
    result = walk(stay, np.array([[0.6], [0.3]]), 1, competition=2)
    np.testing.assert_allclose(result[:, 0], 0.9 * np.array([0.36, 0.09]) / 0.45, rtol=1e-5)
    np.testing.assert_array_equal(walk(stay, np.zeros((2, 1)), 1, competition=2), 0)


def test_input_is_left_alone() -> None:
    seeds = np.ones((1, 3), dtype=np.float32) * np.arange(3, dtype=np.float32)
    walk(CHAIN, seeds, 2)
    np.testing.assert_array_equal(seeds, [[0, 1, 2]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": np.zeros(3)}, "seeds: must be finite"),
        ({"seeds": np.full((1, 3), np.nan)}, "seeds: must be finite"),
        ({"seeds": np.zeros((1, 4))}, "transition: must have 4 or 4 rows of 4"),
        ({"steps": -1}, "steps: must be at least 0"),
        ({"restart": 1.5}, "restart: must be"),
        ({"restart": np.zeros(2)}, "restart: must be"),
        ({"restart": np.nan}, "restart: must be"),
        ({"clamped": np.zeros(2, dtype=bool)}, "clamped: must be bool"),
        ({"clamped": np.zeros(3)}, "clamped: must be bool"),
        ({"competition": 0.5}, "competition: must be at least 1"),
        ({"competition": 2, "seeds": np.full((1, 3), -1.0)}, "seeds: must be at least 0"),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        walk(CHAIN, **{"seeds": np.zeros((1, 3)), "steps": 1, **arguments})


def walk_over_image(image: np.ndarray, probability: np.ndarray) -> np.ndarray:
    if probability.ndim != 3 or probability.shape[1:] != image.shape[:2] or 0 in probability.shape:
        raise ValueError("probability: must fit the image")
    if not np.issubdtype(probability.dtype, np.floating) or probability.min() < 0 or probability.max() > 1:
        raise ValueError("probability: must be in 0..1")
    if image.dtype != np.uint8:
        raise ValueError("image: must be uint8")
    flat = probability.reshape(len(probability), -1)
    return walk(local_affinity(image), flat, 5).reshape(probability.shape)


class TestWalk(RefinerSuite):
    refine = staticmethod(walk_over_image)
    keeps_constant_maps = True
