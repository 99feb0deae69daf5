"""Arrays of a run as .npy mapped into memory, beside zarr: size, and time to write, to read all, and to draw batches.

The arrays are those of a finished run: `features/reduced`, of which head training draws random batches, and the maps.
Results: benchmarks/results/array_stores.json. Needs `pip install zarr`, which igcam itself does not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from igcam.core.errors import IgcamError
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import Row, write_results
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "array_stores.json"
BATCHES = 54
"""Two passes over 437 images."""


def main() -> None:
    """Parse the command line, measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="a finished run of IG-CAM")
    parser.add_argument("--quick", action="store_true", help="writes no results")
    given = parser.parse_args()
    start, rows = time.perf_counter(), []
    try:
        artefacts = RunArtefacts(RunFolder.open(given.run))
        for name, artefact, axis in (("reduced", "features/reduced", 1), ("maps", "reweight/maps", 0)):
            rows += measure(name, np.array(artefacts.load_array(artefact)), axis)
    except IgcamError as error:
        sys.exit(str(error))
    for row in rows:
        print(f"{row.id:30s} {row.value:10.3f} {row.unit}")
    if not given.quick:
        seconds = round(time.perf_counter() - start, 1)
        ledger = Ledger(f"arrays of {given.run.name}", "train", len(rows), tags_at_inference=True, wall_seconds=seconds)
        write_results(RESULTS, ledger, rows)


def measure(name: str, array: np.ndarray, axis: int) -> list[Row]:
    """Return the rows of one array, whose images are along an axis; both stores must give the same bits."""
    import zarr

    chunks = tuple(1 if place <= axis else side for place, side in enumerate(array.shape))
    folder = Path(tempfile.mkdtemp())
    try:
        npy, store = folder / "a.npy", folder / "a.zarr"
        seconds = {("npy", "write"): timed(lambda: np.save(npy, array, allow_pickle=False))}
        made = zarr.create_array(store, shape=array.shape, chunks=chunks, dtype=array.dtype)
        seconds["zarr", "write"] = timed(lambda: made.__setitem__(..., array))
        opened = {"npy": np.load(npy, mmap_mode="r", allow_pickle=False), "zarr": zarr.open_array(store, mode="r")}
        for kind, one in opened.items():
            seconds[kind, "read"] = timed(lambda one=one: np.array(one[...]))
            seconds[kind, "batches"] = timed(lambda one=one: draw(one, axis, array.shape[axis]))
            if not np.array_equal(np.array(one[...]), array):
                raise RuntimeError(f"{kind}: gives other values")
        sizes = {
            "npy": npy.stat().st_size,
            "zarr": sum(file.stat().st_size for file in store.rglob("*") if file.is_file()),
        }
    finally:
        shutil.rmtree(folder)
    rows = [Row(f"{name}/{kind}/mb", size / 1e6, "MB") for kind, size in sizes.items()]
    rows += [Row(f"{name}/{kind}/{what}-seconds", value, "s") for (kind, what), value in seconds.items()]
    ratios = {what: seconds["npy", what] / seconds["zarr", what] for what in ("write", "read", "batches")}
    return rows + [
        Row(f"{name}/zarr/{what}-speedup", ratio, "x", note="npy time / zarr time") for what, ratio in ratios.items()
    ]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of the best of three."""
    found = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def draw(array: np.ndarray, axis: int, count: int) -> float:
    """Read random batches of 16 images, as head training does."""
    random, total = np.random.default_rng(0), 0.0
    for _ in range(BATCHES):
        chosen = np.sort(random.choice(count, min(16, count), replace=False)).tolist()
        batch = np.stack([array[0, index] if axis else array[index] for index in chosen])
        total += float(batch.flat[0])
    return total


if __name__ == "__main__":
    main()
