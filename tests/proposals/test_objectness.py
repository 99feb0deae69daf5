from __future__ import annotations

import numpy as np
import pytest

from igcam.core.errors import IgcamError
from igcam.proposals.objectness import Collected, ObjectScoreOptions, collect, object_score, weighed_mean


def photo() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photo of a block whose features differ from the background, and the block."""
    inside = np.zeros((12, 12), bool)
    inside[3:9, 2:8] = True
    image = np.where(inside[..., None], [200, 40, 40], [40, 150, 60]).astype(np.uint8)
    feature = np.stack([inside, ~inside, np.full(inside.shape, 0.3)]).astype(np.float32)
    feature += 0.05 * np.random.default_rng(0).normal(size=feature.shape).astype(np.float32)
    return image.repeat(4, 0).repeat(4, 1), feature, inside


def test_a_part_that_is_active_covers_the_whole_object() -> None:
    image, feature, inside = photo()
    activation = np.zeros((12, 12), np.float32)
    activation[4:6, 3:5] = 1
    score = object_score(collect(image, feature, activation))
    assert score.dtype == np.float32
    assert score[inside].min() > 0.8
    assert score[~inside].max() < 0.2


def test_further_proposals_compete_and_the_one_that_is_cut_off_well_wins() -> None:
    image, feature, inside = photo()
    halves = feature * 0 + np.indices(inside.shape)[1] / 100  # features that do not tell the object
    activation = np.where(inside, 1.0, 0.0).astype(np.float32)
    further = np.stack([inside, np.roll(inside, 4, axis=1)]).repeat(3, 1).repeat(3, 2)
    options = ObjectScoreOptions(cut_cost=0, segment_weight=1)
    collected = [collect(image, halves, activation, options, masks) for masks in (None, further)]
    without, given = (object_score(each, options) for each in collected)
    assert given[inside].mean() > 0.95
    assert given[~inside].mean() < 0.05
    assert without[inside].mean() - without[~inside].mean() < 0.8


def test_more_evidence_wins_over_a_higher_mean() -> None:
    """The core of an object has a higher mean than the whole, which has more to offer."""
    segments = np.zeros((2, 1, 10), bool)
    segments[0, 0, :2] = segments[1, 0, :6] = True
    constraint = np.array([[0.9, 0.9, 0.6, 0.6, 0.6, 0.6, 0.1, 0.1, 0.1, 0.1]])
    costs = np.zeros(2, np.float32)
    options = ObjectScoreOptions(level=0.4, sharpness=10)
    # Sums of evidence above 0.4 over ten places: 0.10 of the core, 0.18 of the whole.
    share = 1 / (1 + np.exp(-10 * 0.08))
    expected = [[1, 1, share, share, share, share, 0, 0, 0, 0]]
    np.testing.assert_allclose(weighed_mean(segments, constraint, costs, options), expected, rtol=1e-5)
    dear = ObjectScoreOptions(level=0.4, sharpness=10, cut_cost=0.16)
    even = weighed_mean(segments, constraint, np.array([0, 0.5], np.float32), dear)
    np.testing.assert_allclose(even[0, 2:6], 0.5, rtol=1e-5)


def test_a_segment_that_is_found_twice_counts_twice() -> None:
    segments = np.array([[[1, 0]], [[1, 0]], [[0, 1]]], bool)
    even = weighed_mean(segments, np.full((1, 2), 0.5), np.zeros(3, np.float32))
    np.testing.assert_allclose(even, [[2 / 3, 1 / 3]], rtol=1e-6)


def test_segments_of_an_unfit_size_do_not_count() -> None:
    everything = np.ones((1, 3, 3), bool)
    assert not weighed_mean(everything, np.ones((3, 3)), np.zeros(1, np.float32)).any()


def test_values_are_shares_whatever_comes_in() -> None:
    random = np.random.default_rng(1)
    for activation in (np.zeros((6, 7)), np.ones((6, 7)), random.random((6, 7))):
        image = random.integers(0, 256, (20, 30, 3), np.uint8)
        score = object_score(collect(image, random.normal(size=(5, 6, 7)), activation.astype(np.float32)))
        assert np.isfinite(score).all()
        assert score.min() >= 0
        assert score.max() <= 1 + 1e-6


def test_wrong_options_are_refused() -> None:
    with pytest.raises(IgcamError, match="level must be 0 to 1"):
        ObjectScoreOptions(level=3)


def test_a_model_of_the_foreground_takes_its_share_of_the_evidence() -> None:
    left = np.array([[1, 1, 0, 0]], bool)
    segments = np.stack([left, ~left])
    collected = Collected(segments, np.zeros(2, np.float32), left.astype(np.float32), np.zeros((1, 4), np.float32))
    options = ObjectScoreOptions(segment_weight=0.8)
    np.testing.assert_allclose(object_score(collected, options), [[0.8, 0.8, 0, 0]], atol=1e-6)
    other = (~left).astype(np.float32)
    np.testing.assert_allclose(object_score(collected, options, other), [[0, 0, 0.8, 0.8]], atol=1e-6)
    # With equal shares nothing speaks for either side.
    np.testing.assert_allclose(object_score(collected, options, other, 0.5), [[0.4] * 4], atol=1e-6)
    # Without segments there is only the distance.
    np.testing.assert_array_equal(object_score(collected, ObjectScoreOptions(segment_weight=0), other), [[0] * 4])
