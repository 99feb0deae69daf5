from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igcam.reporting.figures import Frame, Line, line_chart, nice_ticks, share_bar

FRAME = Frame(200, 140, left=40, right=20, top=20, bottom=20)


def dots(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle[^>]* cx="([\d.]+)" cy="([\d.]+)"', svg)]


def rectangles(svg: str) -> dict[str, tuple[float, float]]:
    found = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="\d+" width="([\d.]+)"', svg)
    return {kind: (float(left), float(width)) for kind, left, width in found}


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (44.6, 73.4, [40, 50, 60, 70, 80]),
        (0, 100, [0, 25, 50, 75, 100]),
        (0.26, 0.93, [0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3, 4, [-4, -2, 0, 2, 4]),
    ],
)
def test_ticks_by_hand(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == ticks


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_enclose_the_range_at_equal_steps(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    steps = [after - before for before, after in pairwise(ticks)]
    slack = 1e-6 * (ticks[-1] - ticks[0])
    assert 2 <= len(ticks) <= 7
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack
    assert max(steps) - min(steps) <= 1e-9 * max(map(abs, ticks)) + 1e-9


@pytest.mark.parametrize(("low", "high"), [(2, 1), (0, float("inf")), (float("nan"), 1)])
def test_ticks_of_no_range(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="low, high"):
        nice_ticks(low, high)


def test_points_stand_where_their_values_are() -> None:
    svg = line_chart("t", ["a", "b", "c"], [Line("x", [0, 50, 100])], FRAME)
    # The axis runs from 120 (0) to 20 (100); points keep 30 from its ends.
    assert dots(svg) == [(70, 120), (110, 70), (150, 20)]
    assert re.findall(r'class="value[^>]*>([^<]*)<', svg) == ["0.0", "50.0", "100.0"]


def test_missing_values_leave_a_gap() -> None:
    svg = line_chart("t", ["a", "b", "c"], [Line("x", [0, None, 100])], FRAME)
    assert dots(svg) == [(70, 120), (150, 20)]


def test_without_point_values_only_the_last_is_told() -> None:
    svg = line_chart("t", ["1", "", "3"], [Line("x", [4, 2, 1.2345])], FRAME, point_values=False)
    assert len(dots(svg)) == 1
    assert re.findall(r'class="value[^>]*>([^<]*)<', svg) == ["1.23"]


def test_one_place_is_in_the_middle() -> None:
    assert dots(line_chart("t", ["a"], [Line("x", [5.0])], FRAME))[0][0] == 110


def test_lines_are_named_and_text_is_escaped() -> None:
    svg = line_chart("<t>", ["<a>"], [Line("<x>", [1]), Line("y", [2])], FRAME)
    assert all(text in svg for text in ("&lt;t&gt;", "&lt;a&gt;", "&lt;x&gt;", ">y<"))
    assert 'aria-label="&lt;t&gt;"' in svg


@pytest.mark.parametrize("values", [[None, None], [1.0]])
def test_lines_that_do_not_fit(values: list[float | None]) -> None:
    with pytest.raises(ValueError, match="lines"):
        line_chart("t", ["a", "b"], [Line("x", values)])


def test_shares_stand_side_by_side() -> None:
    bar = rectangles(share_bar(60, 30, 10, start=45))
    assert bar == {"start": (0, 45), "hit": (0, 60), "extra": (60, 30), "lost": (90, 10)}
    assert "start" not in rectangles(share_bar(60, 30, 10, start=None))
