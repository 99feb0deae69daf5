from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igcam.data.cue import PointCue, ScribbleCue
from igcam.data.synthetic.simulate import box, click, depth, scribble

SEEDS = st.integers(0, 2**32)


@st.composite
def regions(draw):
    """Regions of blots, bars and single pixels, also at the border or over the whole image."""
    height, width = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    region = draw(hnp.arrays(bool, (height, width), elements=st.booleans(), fill=st.just(draw(st.booleans()))))
    for _ in range(draw(st.integers(0, 4))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        region[top : top + draw(st.integers(1, 20)), left : left + draw(st.integers(1, 20))] = draw(st.booleans())
    region[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = True
    return region


def generator(seed=0):
    return np.random.default_rng(seed)


def disk(side=61, radius=25):
    rows, columns = np.indices((side, side)) - side // 2
    return np.hypot(rows, columns) <= radius


def drawn(region, seed=0, pen=3.0):
    points, width = scribble(region, generator(seed), pen)
    return ScribbleCue(label=1, points=points, width=width).region(*region.shape), np.array(points), width


def test_depth_by_hand():
    region = np.ones((4, 5), bool)
    region[0, 0] = False
    expected = [[0, 1, 1, 1, 1], [1, 2**0.5, 2, 2, 1], [1, 2, 2, 2, 1], [1, 1, 1, 1, 1]]
    np.testing.assert_allclose(depth(region), expected, rtol=1e-6)


@given(region=regions(), seed=SEEDS)
def test_a_click_is_inside_and_off_the_border(region, seed):
    x, y = click(region, generator(seed))
    assert region[PointCue(label=1, x=x, y=y).region(*region.shape)].all()
    padded = np.pad(region, 1)
    shifts = [
        padded[1 + down : 1 + down + len(region), 1 + right : 1 + right + region.shape[1]]
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    ]
    inner = np.all(shifts, axis=0)
    assert inner[int(y), int(x)] or not inner.any()


@pytest.mark.parametrize(("centring", "low", "high"), [(0.0, 0.28, 0.4), (1.0, 0.45, 0.55), (4.0, 0.66, 0.77)])
def test_clicks_keep_to_the_middle(centring, low, high):
    # In a disk the share t of the radius has the density of (1 - t) t^centring, whose mean is (k + 1) / (k + 3).
    region = disk()
    depths = depth(region)
    locations = [click(region, generator(seed), centring) for seed in range(400)]
    assert low < np.mean([depths[int(y), int(x)] for x, y in locations]) / depths.max() < high
    assert len(set(locations)) > 100
    np.testing.assert_allclose(np.mean(locations, axis=0), 30.5, atol=2.5)


def test_a_box_by_hand():
    region = np.zeros((20, 30), bool)
    region[3:8, 10:25] = region[19, 12] = True
    assert box(region, generator()) == (10, 3, 25, 20)


@given(region=regions(), seed=SEEDS, jitter=st.floats(0, 0.45))
def test_a_box_stays_near_and_in_the_image(region, seed, jitter):
    height, width = region.shape
    rows, columns = np.nonzero(region)
    tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    found = np.array(box(region, generator(seed), jitter))
    np.testing.assert_array_equal(box(region, generator(seed), 0.0), tight)
    reach = np.tile(tight[2:] - tight[:2], 2) * jitter
    # Half a pixel of rounding, and one where the box would have closed.
    assert (np.abs(found - tight) <= reach + 1).all()
    assert (found == np.round(found)).all()
    assert 0 <= found[0] < found[2] <= width
    assert 0 <= found[1] < found[3] <= height


def test_a_small_box_never_closes():
    region = np.zeros((6, 6), bool)
    region[2:4, 4:6] = True
    boxes = np.array([box(region, generator(seed), 0.45) for seed in range(300)])
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes[:, 2:] - boxes[:, :2] == 1).any()
    assert boxes.max() == 6


def test_jitter_moves_every_edge_both_ways():
    region = np.zeros((200, 300), bool)
    region[50:150, 100:200] = True
    moves = np.array([box(region, generator(seed), 0.1) for seed in range(300)]) - (100, 50, 200, 150)
    assert (moves.min(axis=0) <= -8).all()
    assert (moves.max(axis=0) >= 8).all()
    assert np.abs(moves).max() <= 10
    np.testing.assert_allclose(moves.mean(axis=0), 0, atol=1.5)


@settings(deadline=None, max_examples=200)
@given(region=regions(), seed=SEEDS, pen=st.floats(0.2, 9))
def test_no_pixel_under_the_pen_is_outside(region, seed, pen):
    under, points, width = drawn(region, seed, pen)
    assert under.any()
    assert not (under & ~region).any()
    assert width in (pen, min(pen, 1.0))
    assert (points >= 0).all()
    assert (points < region.shape[::-1]).all()


def test_a_line_goes_along_the_middle_of_a_bar():
    region = np.zeros((40, 200), bool)
    region[10:31, 20:180] = True
    for seed in range(20):
        under, points, width = drawn(region, seed)
        columns = np.flatnonzero(under.any(axis=0))
        assert width == 3
        assert 0.45 * 160 <= len(columns) <= 160
        assert np.abs(points[:, 1] - 20.5).max() <= 5
        assert len(points) <= 4


def test_a_line_follows_a_bend():
    region = np.zeros((120, 120), bool)
    region[10:30, 10:110] = region[10:110, 10:30] = True
    for seed in range(10):
        under, points, _ = drawn(region, seed)
        assert under[:, 60:].any()
        assert under[60:].any()
        assert 3 <= len(points) <= 6


def test_a_line_leaves_legs_out():
    region = np.zeros((100, 160), bool)
    region[10:50, 10:150] = True
    region[50:95, 20:26] = region[50:95, 130:136] = True
    assert not any(drawn(region, seed)[0][55:].any() for seed in range(10))


def test_a_compact_region_gets_a_line_and_not_a_dot():
    for seed in range(10):
        _, points, _ = drawn(disk(), seed)
        assert sum(np.linalg.norm(end - start) for start, end in pairwise(points)) > 15


def test_lines_differ_by_seed_alone():
    region = disk()
    assert scribble(region, generator(1)) == scribble(region, generator(1))
    assert len({scribble(region, generator(seed)) for seed in range(20)}) == 20


def test_the_pen_is_thin_where_the_region_is():
    single = np.zeros((5, 7), bool)
    single[4, 6] = True
    under, points, width = drawn(single)
    np.testing.assert_array_equal(under, single)
    assert (width, len(points)) == (1.0, 1)
    stairs = np.eye(40, dtype=bool)
    under, points, width = drawn(stairs)
    assert (width, len(points)) == (1.0, 2)
    assert under.sum() > 15
