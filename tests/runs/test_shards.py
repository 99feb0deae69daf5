from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igcam.core.errors import IgcamError
from igcam.data.sample import Dataset, Sample
from igcam.runs.shards import Shard

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True, max_size=12)


def parts(names: list[str], count: int) -> list[tuple[str, ...]]:
    dataset = Dataset(("x",), tuple(Sample(name, Path("a.jpg")) for name in names))
    return [Shard(index, count).of(dataset).names for index in range(1, count + 1)]


@given(NAMES, st.integers(1, 12))
def test_parts_are_disjoint_and_complete_and_in_order(names: list[str], count: int) -> None:
    found = parts(names, count)
    assert sorted(name for part in found for name in part) == sorted(names)
    for part in found:
        assert list(part) == [name for name in names if name in part]


@given(NAMES, st.text(min_size=1), st.integers(1, 12))
def test_another_photo_moves_none(names: list[str], other: str, count: int) -> None:
    before = parts(names, count)
    after = parts([*dict.fromkeys([*names, other])], count)
    assert all(set(few) <= set(more) for few, more in zip(before, after, strict=True))


def test_parts_are_about_equal() -> None:
    sizes = [len(part) for part in parts([f"photo-{number:05d}" for number in range(4000)], 4)]
    assert min(sizes) > 900


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "a/b", "1/2/3", "1.0/2", "١/٢"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(IgcamError, match=r"^shard must be i/n with 1 <= i <= n, got "):
        Shard.parse(text)


def test_a_part_is_read_as_it_is_written() -> None:
    assert Shard.parse(" 2/3 ") == Shard.parse(str(Shard(2, 3))) == Shard(2, 3)
