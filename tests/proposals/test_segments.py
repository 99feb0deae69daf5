from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from igcam.core.errors import IgcamError
from igcam.proposals import segments
from igcam.proposals.segments import (
    SegmentOptions,
    Segments,
    components,
    enlarged,
    joined,
    overlaps,
    proposal_kind,
    proposal_kinds,
    smaller,
    tidy,
)

RELAXED = settings(max_examples=30, deadline=None)
STACKS = arrays(bool, st.tuples(st.integers(0, 6), st.just(4), st.just(5)))


def rows(*counts: int) -> np.ndarray:
    """Segments of the first n of 10 rows."""
    masks = np.zeros((len(counts), 10, 10), bool)
    for mask, count in zip(masks, counts, strict=True):
        mask[:count] = True
    return masks


@RELAXED
@given(first=STACKS, second=STACKS)
def test_overlaps_are_intersection_over_union(first: np.ndarray, second: np.ndarray) -> None:
    result = overlaps(first, second)
    assert result.shape == (len(first), len(second))
    for row, one in zip(result, first, strict=True):
        for value, other in zip(row, second, strict=True):
            assert value == pytest.approx((one & other).sum() / max((one | other).sum(), 1))


@RELAXED
@given(masks=STACKS, overlap=st.sampled_from([0.3, 0.7]))
def test_what_is_kept_has_no_duplicates_and_what_is_dropped_is_one(masks: np.ndarray, overlap: float) -> None:
    kept = tidy(masks, None, SegmentOptions(min_area=0, max_area=1, overlap=overlap)).masks
    between = overlaps(kept, kept)[~np.eye(len(kept), dtype=bool)]
    assert (between <= overlap).all()
    for mask in masks[masks.any(axis=(1, 2))]:
        assert overlaps(mask[None], kept).max() > overlap


def test_of_duplicates_the_best_stays_and_the_best_come_first() -> None:
    found = tidy(rows(5, 9, 2, 8), np.array([0.1, 0.3, 0.2, 0.5], np.float32), SegmentOptions(overlap=0.85))
    np.testing.assert_array_equal(found.masks, rows(8, 2, 5))
    np.testing.assert_allclose(found.scores, [0.5, 0.2, 0.1])
    assert len(tidy(rows(5, 9, 2, 8), None, SegmentOptions(max_count=2))) == 2
    np.testing.assert_array_equal(tidy(rows(5, 9, 2, 8), None, SegmentOptions(max_count=2)).masks, rows(5, 9))


def test_sizes_are_limited() -> None:
    found = tidy(rows(0, 1, 2, 9, 10), None, SegmentOptions(min_area=0.2, max_area=0.9))
    np.testing.assert_array_equal(found.masks, rows(2, 9))


def test_pieces_of_what_is_not_connected() -> None:
    mask = np.zeros((5, 7), np.uint8)
    mask[0, 0] = mask[3:5, 3:6] = 1
    assert components(mask).sum(axis=(1, 2)).tolist() == [1, 6]
    assert components(mask, minimum=2).sum(axis=(1, 2)).tolist() == [6]
    mask[0, 0] = 0
    assert components(mask).shape == (0, 5, 7)


def test_kinds_are_joined_in_turns_at_the_largest_size() -> None:
    fine, coarse = rows(1, 3, 5), np.zeros((2, 2, 2), bool)
    coarse[0, :, 0] = coarse[1, 0, 0] = True
    found = joined([Segments(coarse), Segments(fine)], SegmentOptions(max_count=3, min_area=0))
    assert found.masks.shape == (3, 10, 10)
    assert found.masks[0, :, :5].all()
    np.testing.assert_array_equal(found.masks[1], fine[0])
    assert found.masks[2, :5, :5].all()
    assert len(joined([Segments(coarse[:0]), Segments(fine[:0])])) == 0


def test_sizes_of_masks_and_photos() -> None:
    assert enlarged(rows(5), 4, 6).sum() == 12
    assert enlarged(rows(), 4, 6).shape == (0, 4, 6)
    image = np.zeros((50, 100, 3), np.uint8)
    assert smaller(image, 20).shape == (10, 20, 3)
    assert smaller(image, 100) is image


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match=r"masks: must be bool \(P, rows, columns\), got uint8 \(1, 2, 2\)"):
        Segments(np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"scores: must be \(1,\) or empty, got \(2,\)"):
        Segments(np.zeros((1, 2, 2), bool), np.zeros(2, np.float32))
    with pytest.raises(IgcamError, match="overlap must be 0 to 1, got 2"):
        SegmentOptions(overlap=2)


def test_kinds_are_found_by_their_names() -> None:
    assert {"colour-segments", "feature-clusters", "feature-clusters-finer", "selective-search"} <= set(
        proposal_kinds()
    )

    @proposal_kind("nothing")
    def nothing(image: np.ndarray, feature: np.ndarray | None) -> Segments:
        return Segments(np.zeros((0, *image.shape[:2]), bool))

    try:
        assert proposal_kinds()["nothing"] is nothing
    finally:
        del segments._KINDS["nothing"]
