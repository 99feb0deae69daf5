"""The dense CRF against brute force and pydensecrf2; the pyramid against its rivals on the seeds of voc_animals.

Run benchmarks/voc_animals.py first: its run folder holds the seeds. pydensecrf2 is only needed for the rows that
name it, and is left out where it is not installed. Nothing is chosen here.
"""

# ruff: noqa: E402, threads are set before numpy is loaded
from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

# One thread, as the peer has; more are used where a row says so.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import cv2
import numpy as np
from numpy.typing import NDArray
from refine_crf import Photo, brute, cores, large, peer, sizes
from refine_errors import KINDS, best_coarse_map, told, wrong_pixels
from refine_rivals import RIVALS, enlarge
from refine_search import agreement
from tables import with_kept_rows

from igcam.core.errors import IgcamError
from igcam.core.files import read_array
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.metrics.boundary import boundary_counts, boundary_iou, contour_counts, contour_scores
from igcam.metrics.confusion_matrix import Confusion, confusion, scores
from igcam.metrics.results import Row, write_results
from igcam.refine import PyramidOptions, in_parallel, sharpen
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder
from igcam.runs.ledger import run_ledger
from igcam.runs.refined_masks import MIN_PROBABILITY, present_classes
from igcam.runs.stage_masks import deep_features

RESULTS = Path(__file__).parent / "results" / "refine.json"
SHAPE = (375, 500)
EVERY = 3
"""Every third training photo, 146 of 437, keeps this at ten minutes."""
Array = NDArray[np.float32]
PARTS = ("crf", "pyramid")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/voc-animals/seed-0"), help="runs of voc_animals.py")
    parser.add_argument("--every", type=int, default=EVERY, help="n-th image; results are written for the default")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part, whose rows are replaced")
    parser.add_argument("--megapixels", type=float, metavar="N", help="only solve a photo of this size; used inside")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.megapixels is not None:
        print(*large(arguments.megapixels))
        return
    try:
        run(arguments)
    except IgcamError as error:
        sys.exit(str(error))


def run(arguments: argparse.Namespace) -> None:
    """Compute all rows, print and write them."""
    start = time.perf_counter()
    folder = RunFolder.open(arguments.runs / "igcam-tags")
    dataset = read_dataset_file(folder.file("samples.json"))
    rows: list[Row] = []

    def add(name: str, value: float, unit: str, note: str = "") -> None:
        rows.append(Row(name, value, unit, note=note))
        print(f"{time.strftime('%H:%M:%S')} {name:50s} {value:10.4f} {unit}  {note}", flush=True)

    parts = arguments.part or PARTS
    if "crf" in parts:
        crf(add, arguments.runs, dataset)
    if "pyramid" in parts:
        for name, run_name, stage in (("cam", "cam", "classify"), ("igcam", "igcam-tags", "reweight")):
            seeds = Seeds.open(arguments.runs / run_name, folder, stage, arguments.every)
            choose(add, name, seeds)
            pyramid(add, name, seeds)
    count = len(dataset.names[:: arguments.every])
    split = f"train, every {arguments.every}rd image"
    ledger = run_ledger(folder.options, dataset, split=split, split_size=count, tags_at_inference=True)
    add(f"seconds/{'-and-'.join(parts)}", time.perf_counter() - start, "s")
    if arguments.every == EVERY:
        write_results(RESULTS, ledger, with_kept_rows(RESULTS, rows) if arguments.part else rows)


def crf(add: Callable[..., None], runs: Path, dataset: Dataset) -> None:
    """Compute the rows of the dense CRF."""
    brute(add)
    photos = seeds_of_size(runs, dataset, SHAPE, 20)
    if importlib.util.find_spec("pydensecrf") is None:
        print("pydensecrf2 is not installed: its rows are left out")
    else:
        peer(add, photos)
    cores(add, photos * 2)
    sizes(add)


def seeds_of_size(runs: Path, dataset: Dataset, shape: tuple[int, int], count: int) -> list[Photo]:
    """Return photos of one size with their IG-CAM seeds (7, H, W), for the comparisons of speed."""
    maps = read_array(runs / "igcam-tags" / "stages" / "reweight" / "maps.npy", mmap=True)
    photos: list[Photo] = []
    for sample, stack in zip(dataset, maps, strict=True):
        image = load_image(sample.image)
        if image.shape[:2] == shape:
            photos.append((image, np.clip(enlarge(image, np.asarray(stack, np.float32)), 1e-5, 1)))
        if len(photos) == count:
            break
    return photos


@dataclass(frozen=True)
class Seeds:
    """Coarse maps of the training photos, and what refines them."""

    dataset: Dataset
    maps: Array
    reduced: NDArray[np.float16]
    features: Callable[[NDArray[np.float16]], Array]

    @classmethod
    def open(cls, run: Path, features_of: RunFolder, stage: str, every: int) -> Seeds:
        """Read the maps of a stage of a run."""
        opened = RunFolder.open(run)
        dataset = read_dataset_file(opened.file("samples.json"))
        return cls(
            dataset.subset(dataset.names[::every]),
            read_array(opened.file("stages", stage, "maps.npy"), mmap=True)[::every],
            read_array(features_of.file("stages", "features", "reduced.npy"), mmap=True)[:, ::every],
            lambda reduced: deep_features(reduced, features_of.options),
        )


@dataclass(frozen=True)
class Tally:
    """Scores of one refiner over all images."""

    total: Confusion
    bands: NDArray[np.int64]
    contours: NDArray[np.int64]
    seconds: float

    @classmethod
    def of(cls, truth: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int, seconds: float) -> Tally:
        """Count one image."""
        return cls(
            confusion(truth, mask, classes),
            boundary_counts(truth, mask, classes),
            contour_counts(truth, mask, classes),
            seconds,
        )

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.total + other.total,
            self.bands + other.bands,
            self.contours + other.contours,
            self.seconds + other.seconds,
        )

    def values(self) -> dict[str, float]:
        """Return the scores in percent."""
        return {
            "miou": 100 * scores(self.total).miou,
            "boundary-iou": 100 * boundary_iou(self.bands).miou,
            "contour-f": 100 * contour_scores(self.contours).mean_f,
        }


def choose(add: Callable[..., None], name: str, seeds: Seeds, count: int = 36) -> None:
    """Compare the choice by the majority of refiners with that by the true masks, on some of the images."""
    step = max(1, len(seeds.dataset) // count)
    indices = range(0, len(seeds.dataset), step)
    maps = [np.asarray(seeds.maps[index], np.float32) for index in indices]
    for stack in maps:
        stack[0] += stack.sum(axis=0) == 0
        stack /= stack.sum(axis=0)
    samples = [seeds.dataset.samples[index] for index in indices]
    agreement(
        add,
        name,
        [load_image(sample.image) for sample in samples],
        [seeds.features(seeds.reduced[:, index]) for index in indices],
        maps,
        [sample.truth.read() for sample in samples if sample.truth],
    )


def pyramid(add: Callable[..., None], name: str, seeds: Seeds) -> None:
    """Score the map of every level, and the rivals, on the same seeds."""
    tallies: dict[str, Tally] = {}
    wrong = np.zeros(len(KINDS) + 1, np.int64)
    classes = len(seeds.dataset.classes)

    def work(index: int) -> tuple[list[tuple[str, Tally]], NDArray[np.int64]]:
        image = load_image(seeds.dataset.samples[index].image)
        labels, kept = present_classes(seeds.maps[index], MIN_PROBABILITY)
        deep = seeds.features(seeds.reduced[:, index])
        source = seeds.dataset.samples[index].truth
        truth = np.zeros(image.shape[:2], np.uint8) if source is None else source.read()
        best = best_coarse_map(image, truth, seeds.maps.shape[-1])
        counted = [("upper-bound", Tally.of(truth, best, classes, 0.0))]
        mistakes = np.zeros_like(wrong)
        for step, result, seconds in refine_all(image, kept, deep):
            mask = labels[result.argmax(axis=0)]
            counted.append((step, Tally.of(truth, mask, classes, seconds)))
            if step == "pyramid":
                mistakes = wrong_pixels(truth, mask)
        return counted, mistakes

    for counted, mistakes in in_parallel(work, range(len(seeds.dataset)), 2):
        wrong += mistakes
        for step, tally in counted:
            tallies[step] = tallies[step] + tally if step in tallies else tally
    if name == "igcam":
        note = "the truth on the grid of the maps, enlarged bilinearly"
        for metric, value in tallies["upper-bound"].values().items():
            add(f"upper-bound/{metric}", value, "%", note)
    del tallies["upper-bound"]
    told(add, name, wrong)
    start = tallies.pop("bilinear").values()
    for metric, value in start.items():
        add(f"bilinear/{name}/{metric}", value, "%")
    for step, tally in tallies.items():
        group = f"{step}/{name}" if step == "pyramid" or step.startswith("rival/") else f"pyramid/{name}/{step}"
        group = f"pyramid/{name}" if step == "pyramid" else group
        for metric, value in tally.values().items():
            add(f"{group}/{metric}", value, "%")
            add(f"{group}/{metric}-gain", value - start[metric], "%")
        if tally.seconds > 0:
            add(f"{group}/seconds", tally.seconds / len(seeds.dataset), "s", "an image, one thread of two")


def refine_all(image: NDArray[np.uint8], stack: Array, deep: Array) -> Iterable[tuple[str, Array, float]]:
    """Yield name, map at the photo's size and seconds of every level and rival."""
    yield "bilinear", enlarge(image, stack), 0.0
    start = time.perf_counter()
    levels = sharpen(image, stack, deep=deep)
    seconds = time.perf_counter() - start
    # Photos whose dense grid is finer than a level skip it; then the level before counts, so that each row is of all.
    reached = levels[0]
    yield "dense", enlarge(image, reached.probability), 0.0
    for stride in PyramidOptions().strides[:-1]:
        reached = next((level for level in levels[1:] if level.stride == stride), reached)
        yield f"stride-{stride}", enlarge(image, reached.probability), 0.0
    yield "pyramid", levels[-1].probability, seconds
    for name, refiner in RIVALS.items():
        start = time.perf_counter()
        result = refiner(image, stack, deep)
        yield f"rival/{name}", result, time.perf_counter() - start


if __name__ == "__main__":
    main()
