from __future__ import annotations

import numpy as np
import pytest

from igcam.errors import IgcamError
from igcam.guidance.proposals import ProposalOptions, object_coverage, segment_score


def disc(row: int, column: int, radius: int = 3, size: int = 16) -> np.ndarray:
    rows, columns = np.indices((size, size))
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_the_side_that_the_activation_prefers_is_covered() -> None:
    inside = disc(7, 8)
    cut = np.where(inside, 0.7, -0.1)
    activation = 0.8 * disc(6, 8, 2) + 0.1
    for sign in (1, -1):
        coverage = object_coverage(sign * cut[None], activation)
        assert coverage.dtype == np.float32
        assert coverage[inside].min() > 0.99
        assert coverage[~inside].max() < 0.01


def test_without_evidence_the_side_away_from_the_border_is_covered() -> None:
    inside = disc(7, 7)
    coverage = object_coverage(np.where(inside, 1.0, 0.0)[None], np.full((16, 16), 0.5))
    assert coverage[inside].min() > 0.99
    assert coverage[~inside].max() < 0.01
    indifferent = ProposalOptions(border=0)
    even = object_coverage(np.where(inside, 1.0, 0.0)[None], np.full((16, 16), 0.5), indifferent)
    np.testing.assert_allclose(even, 0.5)


def test_of_several_cuts_the_better_one_weighs_more() -> None:
    good, bad = disc(5, 5), disc(11, 11)
    cuts = np.stack([bad, good]).astype(np.float32)
    coverage = object_coverage(cuts, good.astype(np.float32))
    assert coverage[good].min() > 0.95
    assert coverage[bad].max() < 0.05


def test_coverage_by_hand() -> None:
    # One row of four places: the left pair or the right pair, means 0.75 and 0.25; both touch the border wholly.
    cut, activation = np.array([[[1.0, 1.0, 0.0, 0.0]]]), np.array([[1.0, 0.5, 0.5, 0.0]])
    left = segment_score(cut[0] > 0.5, activation, 0.5)
    # The border of one row holds it twice and its ends once more: half of it is covered.
    assert left == pytest.approx(0.75 - 0.25 - 0.5 * 0.5)
    coverage = object_coverage(cut, activation, ProposalOptions(sharpness=2))
    share = 1 / (1 + np.exp(-2 * (0.5 + 0.5)))
    np.testing.assert_allclose(coverage, [[share, share, 1 - share, 1 - share]], rtol=1e-6)


def test_segments_of_an_unfit_size_are_left_out() -> None:
    speck = np.zeros((16, 16))
    speck[8, 8] = 1
    coverage = object_coverage(speck[None], speck)
    assert not coverage.any()
    coverage = object_coverage(speck[None], speck, ProposalOptions(least_area=0, most_area=1))
    assert coverage[8, 8] > 0.9


def test_a_cut_without_any_difference_covers_nothing() -> None:
    assert not object_coverage(np.ones((2, 8, 8)), np.ones((8, 8))).any()


def test_a_segment_that_is_all_or_nothing_is_no_object() -> None:
    for segment in (np.zeros((3, 3), bool), np.ones((3, 3), bool)):
        assert segment_score(segment, np.ones((3, 3)), 0.5) == -np.inf


@pytest.mark.parametrize("shape", [(8, 8), (2, 8, 9), (1, 2, 8, 8)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"cuts: must be \(K, h, w\) for an activation of \(8, 8\), got"):
        object_coverage(np.ones(shape), np.ones((8, 8)))


def test_impossible_options_are_refused() -> None:
    with pytest.raises(IgcamError, match="least_area must be 0 to 1, got 2"):
        ProposalOptions(least_area=2)
