from __future__ import annotations

import itertools

import numpy as np
import pytest

from igcam.core.errors import IgcamError
from igcam.label_quality.next_cue import map_uncertainty, next_cues, rarity

MASKS = {"mask": 10.0}


def clusters(seed: int = 0) -> np.ndarray:
    """Three groups of near duplicates: images 0-3, 4-6, 7."""
    random = np.random.default_rng(seed)
    centres = np.repeat(np.eye(3), (4, 3, 1), axis=0)
    return centres + 0.01 * random.standard_normal(centres.shape)


def test_near_duplicates_are_not_chosen_twice() -> None:
    proposals = next_cues(np.ones(8), clusters(), 30, MASKS)
    assert sorted(item.image for item in proposals)[-1] == 7
    groups = [0 if item.image < 4 else 1 if item.image < 7 else 2 for item in proposals]
    # The largest group first: one cue there resolves some of four images.
    assert groups == [0, 1, 2]
    assert [item.gain for item in proposals] == sorted((item.gain for item in proposals), reverse=True)


def test_uncertain_images_come_first() -> None:
    features = np.random.default_rng(0).standard_normal((20, 40))
    need = np.full(20, 0.1)
    need[[3, 11]] = 1
    proposals = next_cues(need, features, 20, MASKS)
    assert {item.image for item in proposals} == {3, 11}


def test_the_budget_is_kept_and_prices_decide() -> None:
    features = np.random.default_rng(0).standard_normal((12, 40))
    prices = {"point": 1.0, "mask": 10.0}
    for budget in (0.5, 1.0, 9.0, 25.0):
        proposals = next_cues(np.ones(12), features, budget, prices)
        assert sum(item.seconds for item in proposals) <= budget
        assert len({item.image for item in proposals}) == len(proposals)
    # A point at a tenth of the price of a mask resolves almost half as much.
    assert {item.kind for item in next_cues(np.ones(12), features, 9.0, prices)} == {"point"}
    costly = {"point": 9.0, "mask": 10.0}
    assert {item.kind for item in next_cues(np.ones(12), features, 30.0, costly)} == {"mask"}


def test_images_with_cues_are_left_out_and_cover_their_like() -> None:
    proposals = next_cues(np.ones(8), clusters(), 20, MASKS, annotated={0: 1.0})
    assert [0 if item.image < 4 else 1 if item.image < 7 else 2 for item in proposals] == [1, 2]


def test_the_choice_is_nearly_the_best_of_all() -> None:
    random = np.random.default_rng(2)
    features, need = random.standard_normal((9, 5)), random.uniform(size=9)
    chosen = sum(item.gain for item in next_cues(need, features, 30, MASKS))
    # The best set of three, by enumeration.
    from igcam.label_quality.next_cue import _similarity

    similar = _similarity(features, 0.5)
    best = max((need * similar[list(trio)].max(axis=0)).sum() for trio in itertools.combinations(range(9), 3))
    assert 0.9 * best <= chosen <= best + 1e-9


def test_uncertainty_is_one_minus_the_lead() -> None:
    maps = np.array([[[[0.9]], [[0.1]], [[0.0]]], [[[2.0]], [[2.0]], [[0.0]]]])
    np.testing.assert_allclose(map_uncertainty(maps), [0.2, 1.0])


def test_errors_are_named() -> None:
    with pytest.raises(IgcamError, match="budget"):
        next_cues(np.ones(8), clusters(), 0, MASKS)
    with pytest.raises(IgcamError, match="box: -1 s"):
        next_cues(np.ones(8), clusters(), 10, {"box": -1.0})
    with pytest.raises(IgcamError, match="lasso: unknown kind"):
        next_cues(np.ones(8), clusters(), 10, {"lasso": 1.0})
    with pytest.raises(IgcamError, match="got none"):
        next_cues(np.ones(8), clusters(), 10, {})
    with pytest.raises(ValueError, match="uncertainty"):
        next_cues(np.ones(3), clusters(), 10, MASKS)


def test_rare_classes_count_as_much_as_common_ones() -> None:
    tags = np.array([[1, 0], [1, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    found = rarity(tags)
    # 1/4 an image of the first class, 1/2 of the second; the mean of the tagged ones is 0.4.
    np.testing.assert_allclose(found, np.array([0.25, 0.25, 0.25, 0.75, 0.5, 0]) / 0.4)
    np.testing.assert_array_equal(rarity(np.zeros((2, 3))), [0, 0])
