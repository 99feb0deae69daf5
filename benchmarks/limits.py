"""What limits each mode: mIoU of its masks on train (tags known) with one kind of error taken out at a time.

Takes the run folders of guidance.py, which must be there, and reads masks only: minutes. The truth is used to take
errors out; none of this can be had without it, and nothing is chosen by it.

- edges: pixels within 2% of the diagonal of a true edge are right
- classes: objects are where they were predicted, their classes are right where there is an object
- foreground: what is an object is right; classes are the nearest predicted ones
- missed, invented: objects that were missed, or found where there is none, are right
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from animals import Animals, arguments, call, print_rows
from guidance import MODES
from numpy.typing import NDArray
from refine_errors import near_edges

from igcam.core.errors import IgcamError
from igcam.data.masks import IGNORE, read_mask_file
from igcam.metrics.boundary import filled
from igcam.metrics.confusion_matrix import Confusion, confusion, scores
from igcam.metrics.results import Row, write_results

RESULTS = Path(__file__).parent / "results" / "limits.json"
Mask = NDArray[np.uint8]
SIZES = {"small": (0, 0.05), "medium": (0.05, 0.2), "large": (0.2, 1.01)}
"""Share of the image that a class takes, for the recall of its pixels."""


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.add_argument("--modes", default="tags,points,scribbles,boxes,masks5,masks10,masks25")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Take each kind of error out of each mode; print and write the table."""
    start = time.perf_counter()
    animals = Animals(given)
    values: dict[str, list[float]] = {}
    for mode in given.modes.split(","):
        if mode not in MODES:
            raise IgcamError(f"--modes must be some of {', '.join(MODES)}, got {mode}")
        for seed in range(given.seeds):
            folder = animals.folder(f"seed-{seed}") / f"igcam-{mode}" / "masks"
            if not folder.is_dir():
                raise IgcamError(f"{folder}: is not there; run benchmarks/guidance.py --modes {mode} first")
            for name, value in limits(animals, folder):
                values.setdefault(f"limits/{mode}/{name}", []).append(value)
    rows = [Row.from_values(name, numbers, "%") for name, numbers in values.items()]
    ledger = animals.ledger("train", time.perf_counter() - start, annotation_seconds=0)
    if not given.quick:
        write_results(RESULTS, ledger, rows)
    print_rows(rows)


def limits(animals: Animals, folder: Path) -> Iterator[tuple[str, float]]:
    """Yield the mIoU with each kind of error taken out, and the share of the pixels of classes found, by size."""
    classes = len(animals.train.classes)
    totals: dict[str, Confusion] = {}
    found = {size: [0, 0] for size in SIZES}
    for sample in animals.train:
        if sample.truth is None:
            continue
        truth, mask = sample.truth.read(), read_mask_file(folder / f"{sample.name}.png")
        for name, better in without_errors(truth, mask).items():
            totals[name] = confusion(truth, better, classes) + totals.get(name, Confusion.zeros(classes))
        for label in np.unique(truth[(truth > 0) & (truth != IGNORE)]):
            area = truth == label
            size = next(name for name, (low, high) in SIZES.items() if low <= area.mean() < high)
            found[size][0] += np.count_nonzero(area & (mask == label))
            found[size][1] += np.count_nonzero(area)
    for name, total in totals.items():
        yield f"{name}/miou", 100 * scores(total).miou
    for size, (hit, all_) in found.items():
        yield f"found/{size}", 100 * hit / max(all_, 1)


def without_errors(truth: Mask, mask: Mask) -> dict[str, Mask]:
    """Return the mask as it is, and with one kind of error put right in each."""
    wrong = (truth != IGNORE) & (truth != mask)
    inside = (mask > 0) & (truth > 0)
    nearest, _ = filled(np.where(mask == 0, IGNORE, mask).astype(np.uint8)) if (mask > 0).any() else (mask, None)
    cases = {
        "as-it-is": np.zeros(truth.shape, bool),
        "edges": wrong & near_edges(truth),
        "classes": wrong & inside,
        "missed": wrong & (mask == 0),
        "invented": wrong & (truth == 0),
    }
    result = {name: np.where(right, truth, mask).astype(np.uint8) for name, right in cases.items()}
    result["foreground"] = np.where(truth == 0, 0, nearest).astype(np.uint8)
    return result


if __name__ == "__main__":
    main()
