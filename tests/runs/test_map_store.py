from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import time
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from test_map_codec import smooth

from igcam.core.errors import IgcamError
from igcam.runs.map_codec import decode_maps, encode_maps
from igcam.runs.map_store import MapStore

NAMES = ("a", "farm/ü", "c")
MAPS = np.random.default_rng(0).random((3, 20, 20), np.float32)


def expected(seed: int) -> np.ndarray:
    return decode_maps(encode_maps(smooth(seed=seed)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of three images."""
    path = tmp_path / "deep" / "maps.store"
    with MapStore(path, "a") as store:
        for seed, name in enumerate(NAMES):
            store.append(name, smooth(seed=seed))
    return path


def test_maps_are_found_by_name(path: Path) -> None:
    store = MapStore(path)
    assert tuple(store) == NAMES
    assert len(store) == 3
    assert "c" in store
    assert "d" not in store
    for seed, name in reversed(list(enumerate(NAMES))):
        np.testing.assert_array_equal(store[name], expected(seed))
    with pytest.raises(KeyError):
        store["d"]


def test_a_store_grows_when_it_is_opened_again(path: Path) -> None:
    before = path.read_bytes()
    with MapStore(path, "a", bits=8) as store:
        assert tuple(store) == NAMES
        store.append("d", smooth(seed=3))
        # What was written is there at once, also for others.
        assert np.abs(MapStore(path)["d"] - smooth(seed=3)).max() < 0.01
    assert path.read_bytes().startswith(before)
    assert tuple(MapStore(path)) == (*NAMES, "d")


def test_a_record_that_was_cut_off_is_dropped(path: Path) -> None:
    whole = path.read_bytes()
    with MapStore(path, "a") as store:
        store.append("last", smooth(seed=9))
    longer = path.read_bytes()
    for length in range(len(whole), len(longer)):
        path.write_bytes(longer[:length])
        assert tuple(MapStore(path)) == NAMES
        if length % 7 == 0:
            with MapStore(path, "a") as store:
                store.append("more", smooth(seed=4))
            store = MapStore(path)
            assert tuple(store) == (*NAMES, "more")
            np.testing.assert_array_equal(store["more"], expected(4))
    # After a power cut the end may have its length, but be all zeros.
    path.write_bytes(whole + bytes(5000))
    assert tuple(MapStore(path)) == NAMES
    path.write_bytes(longer[:-100] + bytes(100))
    assert tuple(MapStore(path)) == NAMES


@pytest.mark.parametrize("length", [0, 5, 12])
def test_a_first_line_that_was_cut_off_is_a_new_store(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    assert len(MapStore(path)) == 0
    with MapStore(path, "a") as store:
        store.append("a", smooth())
    assert tuple(MapStore(path)) == ("a",)


def test_damage_is_told_for_what_it_hits(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    position = len(b"igcam maps 1\n") + 14
    whole[position + 60] ^= 1
    path.write_bytes(whole)
    store = MapStore(path)
    with pytest.raises(IgcamError, match="the maps of 'a' are damaged"):
        store["a"]
    np.testing.assert_array_equal(store["c"], expected(2))
    # A length that is wrong hides what comes after it: nothing may be cut off there.
    whole[position - 14] ^= 1
    path.write_bytes(whole)
    for mode in ("r", "a"):
        with pytest.raises(IgcamError, match="is damaged after 0 images, at byte 13"):
            MapStore(path, mode)  # type: ignore[arg-type]
    assert path.read_bytes() == whole


def append_for_ever(path: Path, said: Connection) -> None:
    """Append numbered maps, and say each number once its maps are appended."""
    with MapStore(path, "a") as store:
        for number in count(len(store)):
            store.append(f"image {number}", MAPS)
            said.send(number)


def test_a_kill_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "maps.store"
    # Forking a process that has threads may wait for a lock for ever.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["igcam.commands.fit", "igcam.commands.export"])
    for _ in range(5):
        heard, said = context.Pipe(duplex=False)
        process = context.Process(target=append_for_ever, args=(path, said))
        process.start()
        said.close()
        numbers = [heard.recv()]
        time.sleep(0.05)
        process.kill()
        process.join()
        with contextlib.suppress(EOFError):
            while True:
                numbers.append(heard.recv())
        store = MapStore(path)
        assert len(store) in (numbers[-1] + 1, numbers[-1] + 2)
        assert np.abs(store[f"image {numbers[-1]}"] - MAPS).max() < 0.01
        assert len(numbers) > 1


def test_others_may_read_and_nobody_else_append(path: Path) -> None:
    with MapStore(path, "a") as store:
        reader = MapStore(path)
        with pytest.raises(IgcamError, match="another process is appending to it"):
            MapStore(path, "a")
        store.append("d", smooth())
        assert "d" not in reader
        reader.refresh()
        np.testing.assert_array_equal(reader["d"], expected(0))
    with pytest.raises(ValueError, match="opened with mode a"):
        reader.append("e", smooth())
    MapStore(path, "a").close()


def test_a_full_disk_leaves_the_store_as_it_was(path: Path) -> None:
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with MapStore(path, "a") as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))
        try:
            with pytest.raises(IgcamError, match="cannot be written: File too large"):
                store.append("d", smooth())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == before
        store.append("d", smooth())
    assert len(MapStore(path)) == 4


def test_wrong_use_is_refused(path: Path, tmp_path: Path) -> None:
    with MapStore(path, "a") as store:
        for name in ("a", "", "x" * 70_000):
            with pytest.raises(ValueError, match="name must be new"):
                store.append(name, smooth())
        with pytest.raises(ValueError, match="maps must be float"):
            store.append("new", smooth()[0])
    assert tuple(MapStore(path)) == NAMES
    store.close()
    with pytest.raises(IgcamError, match=r"none\.store: cannot be opened: No such file"):
        MapStore(tmp_path / "none.store")
    (tmp_path / "text").write_text("something else")
    for mode in ("r", "a"):
        with pytest.raises(IgcamError, match="text: is not a map store"):
            MapStore(tmp_path / "text", mode)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode must be r or a"):
        MapStore(path, "w")  # type: ignore[arg-type]
    with pytest.raises(IgcamError, match="cannot be opened"):
        MapStore(tmp_path, "a")


def test_a_closed_store_lets_go_of_its_file(path: Path) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        MapStore(path).close()
        with pytest.raises(IgcamError):
            MapStore(path.with_name("none"))
    assert len(os.listdir("/proc/self/fd")) == open_before
