from __future__ import annotations

import numpy as np
import pytest

from igcam.core.errors import IgcamError
from igcam.supervision.conditioning import MarkOptions, raise_by_walk, share_by_walk, walk_probability
from igcam.supervision.constraints import Mark


def line(*likeness: float) -> np.ndarray:
    """Return the affinity of places in a row, each like its neighbours by so much."""
    affinity = np.diag(np.array(likeness, np.float32), 1)
    return affinity + affinity.T


def mark(label: int, location: int, count: int) -> Mark:
    locations = np.zeros((1, count), np.float32)
    locations[0, location] = 1
    return Mark(label, locations)


def test_reach_by_hand() -> None:
    # Two places: a walk ends where it starts with restart r, moves with 1 - r, and so on.
    found = walk_probability(line(1.0), [mark(1, 0, 2)], 2, 0.5)
    np.testing.assert_allclose(found[1], [2 / 3, 1 / 3], atol=1e-6)
    assert not found[0].any()


def test_the_border_lies_where_the_likeness_changes() -> None:
    affinity = line(1, 1, 0.01, 1, 1)
    found = walk_probability(affinity, [mark(1, 0, 6), mark(2, 5, 6)], 3, 0.1)
    assert (found[1, :3] > found[2, :3]).all()
    assert (found[2, 3:] > found[1, 3:]).all()


def test_how_much_was_drawn_of_a_class_says_nothing_about_its_size() -> None:
    # The same marks of both classes, but those of the second on three places in place of one.
    probability = np.full((2, 1, 8), 0.5, np.float32)
    walk = np.array([[4, 2, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 8, 8, 8]], np.float32) / 10
    shared = share_by_walk(probability, walk, 1.0)
    assert shared[0, 0, :5].min() > 0.5
    np.testing.assert_allclose(share_by_walk(probability, walk * [[1], [3]], 1.0), shared, atol=1e-6)


def test_places_are_shared_by_who_reaches_them() -> None:
    probability = np.array([[0.2, 0.4], [0.4, 0.3], [0.4, 0.3]], np.float32)[:, None]
    walk = np.array([[0, 0], [0.9, 0], [0.1, 0.5]], np.float32)
    shared = share_by_walk(probability, walk, 1.0)
    # Reach is scaled to the sums of the classes, 0.7 each: 0.9 * 0.7 / 0.9 beside 0.1 * 0.7 / 0.6, of 0.8 in all.
    np.testing.assert_allclose(shared[:, 0, 0], [0.2, 0.8 * 6 / 7, 0.8 / 7], atol=1e-5)
    np.testing.assert_allclose(shared[:, 0, 1], [0.4, 0, 0.6], atol=1e-5)
    half = share_by_walk(probability, walk, 0.5)
    roots = np.sqrt([6 / 7, 1 / 7])
    np.testing.assert_allclose(half[:, 0, 0], [0.2, *(0.8 * roots / roots.sum())], atol=1e-5)
    np.testing.assert_array_equal(share_by_walk(probability, walk, 0), probability)


def test_one_marked_class_has_nobody_to_share_with() -> None:
    probability = np.full((3, 1, 2), 1 / 3, np.float32)
    walk = np.array([[0, 0], [0.9, 0.1], [0, 0]], np.float32)
    np.testing.assert_array_equal(share_by_walk(probability, walk, 0.5), probability)


def test_what_is_reached_well_is_of_the_class() -> None:
    probability = np.array([[0.9, 0.9, 0.9, 0.2], [0.1, 0.1, 0.1, 0.8]], np.float32)[:, None]
    walk = np.array([[0, 0, 0, 0], [0.8, 0.2, 0.13, 0.02]], np.float32)
    found = raise_by_walk(probability, walk, [mark(1, 0, 4)], 0.3)
    np.testing.assert_allclose(found[1, 0], [0.9, 0.9, 0.45, 0.8], atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)
    nothing = raise_by_walk(probability, np.zeros_like(walk), [mark(1, 0, 4)], 0.3)
    np.testing.assert_array_equal(nothing, probability)
    behind = raise_by_walk(probability, walk, [mark(0, 0, 4)], 0.3)
    np.testing.assert_array_equal(behind, probability)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(IgcamError, match=r"walk_weight must be 0 to 1, got 2"):
        MarkOptions(walk_weight=2)
    with pytest.raises(IgcamError, match=r"restart must be"):
        MarkOptions(restart=0)
