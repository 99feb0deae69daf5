"""The dense CRF against brute force and pydensecrf2; the pyramid against its rivals on the seeds of voc_animals.

Run benchmarks/voc_animals.py first: its run folder holds the seeds. pydensecrf2 is only needed for the rows that
name it, and is left out where it is not installed. Nothing is chosen here.
"""

# ruff: noqa: E402, threads are set before numpy is loaded
from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

# One thread, as the peer has; more are used where a row says so.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.errors import IgcamError
from igcam.files import read_array
from igcam.metrics.boundary import boundary_counts, boundary_iou
from igcam.metrics.confusion import Confusion, confusion, scores
from igcam.metrics.contour import contour_counts, contour_scores
from igcam.metrics.results import Row, write_results
from igcam.pipeline.dataset_file import read_dataset_file
from igcam.pipeline.run_folder import RunFolder
from igcam.pipeline.run_ledger import run_ledger
from igcam.pipeline.stage_masks import deep_features
from igcam.refine import (
    CRF_PRESETS,
    AffinityOptions,
    CRFParameters,
    dense_crf,
    dense_crf_from_unary,
    in_parallel,
    local_affinity,
    sharpen,
    walk,
)
from igcam.refine.guided_filter import guided_filter

HERE = Path(__file__).parent
SHAPE = (375, 500)
Array = NDArray[np.float32]
Refiner = Callable[[NDArray[np.uint8], Array, Array], Array]
"""Photo, coarse map (K, h, w) and deep features (D, h, w) -> map at the photo's size."""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/voc-animals/seed-0"), help="runs of voc_animals.py")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image of the seeds, to try the code")
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

    brute(add)
    photos = seeds_of_size(arguments.runs, dataset, SHAPE, 20)
    if importlib.util.find_spec("pydensecrf") is None:
        print("pydensecrf2 is not installed: its rows are left out")
    else:
        peer(add, photos)
    cores(add, photos * 2)
    sizes(add)
    for name, run_name, stage in (("cam", "cam", "classify"), ("igcam", "igcam-tags", "reweight")):
        pyramid(add, name, Seeds.open(arguments.runs / run_name, folder, stage, arguments.every))
    ledger = run_ledger(folder.options, dataset, split="train", split_size=len(dataset), tags_at_inference=True)
    add("seconds", time.perf_counter() - start, "s")
    if arguments.every == 1:
        write_results(HERE / "results" / "refine.json", ledger, rows)


def brute(add: Callable[..., None]) -> None:
    """Compare with mean field over all pairs of pixels in double precision."""
    differences, agreements, alone = [], [], []
    for height, width, seed in ((30, 40, 0), (30, 40, 1), (48, 64, 2), (48, 64, 3)):
        random = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        truth = (x + 0.4 * y > 0.65 * width).astype(int) + 2 * ((x - width / 2) ** 2 + (y - height / 2) ** 2 < 90)
        colours = np.array([[60, 90, 140], [200, 120, 40], [90, 180, 90], [150, 60, 170]])[truth]
        image = np.clip(colours + random.normal(0, 8, colours.shape), 0, 255).astype(np.uint8)
        unary = -(random.normal(0, 1, (4, height, width)) + 0.5 * (truth == np.arange(4)[:, None, None]))
        parameters = CRFParameters(3, 3, 12, 20, 4)
        expected = exact(image, unary, parameters)
        found = dense_crf_from_unary(image, unary.astype(np.float32), parameters)
        differences.append(np.abs(found - expected).mean())
        agreements.append((found.argmax(axis=0) == expected.argmax(axis=0)).mean())
        alone.append((unary.argmin(axis=0) == expected.argmax(axis=0)).mean())
    note = "2 images of 30 x 40, 2 of 48 x 64, 4 labels; the worst of them"
    add("crf/brute/mean-dq", max(differences), "", note)
    add("crf/brute/agreement", 100 * min(agreements), "%", f"the unary alone agrees in {100 * max(alone):.0f}% at most")


def exact(image: NDArray[np.uint8], unary: NDArray[np.float64], parameters: CRFParameters) -> NDArray[np.float64]:
    """Return the mean field with exact kernels, float64 (K, H, W)."""
    classes, height, width = unary.shape
    y, x = np.mgrid[:height, :width]
    position = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    colour = image.reshape(-1, 3) / parameters.bilateral_colour
    message = np.zeros((height * width, height * width))
    for weight, points in (
        (parameters.gaussian_weight, position / parameters.gaussian_width),
        (parameters.bilateral_weight, np.hstack([position / parameters.bilateral_width, colour])),
    ):
        square = (points**2).sum(axis=1)
        kernel = np.exp(-np.maximum(square[:, None] + square - 2 * points @ points.T, 0) / 2)
        norm = 1 / np.sqrt(kernel.sum(axis=1))
        message += weight * norm[:, None] * kernel * norm
    energy = -unary.reshape(classes, -1)
    belief = np.exp(energy) / np.exp(energy).sum(axis=0)
    for _ in range(parameters.iterations):
        logits = energy + belief @ message
        belief = np.exp(logits - logits.max(axis=0))
        belief /= belief.sum(axis=0)
    return belief.reshape(unary.shape)


Photo = tuple[NDArray[np.uint8], Array]


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


def peer(add: Callable[..., None], photos: list[Photo]) -> None:
    """Compare with pydensecrf2: the same answer, then the time, on one thread."""
    preset = CRF_PRESETS["irn"]
    agreements, times = [], dict.fromkeys(("ours", "ours-21", "theirs", "theirs-21"), 0.0)
    for image, stack in photos:
        present = stack[stack.reshape(len(stack), -1).max(axis=1) >= 0.1]
        all_labels = np.concatenate([stack, np.full((21 - len(stack), *stack.shape[1:]), 1e-5, np.float32)])
        for suffix, labels in (("", present), ("-21", all_labels)):
            unary = -np.log(labels / labels.sum(axis=0))
            found, seconds = timed(dense_crf_from_unary, image, unary, preset)
            times["ours" + suffix] += seconds
            expected, seconds = timed(reference, image, unary, preset)
            times["theirs" + suffix] += seconds
            agreements.append((found.argmax(axis=0) == expected.argmax(axis=0)).mean())
    note = f"{len(photos)} photos of 500 x 375 with IG-CAM seeds, preset irn, one thread; kernels built anew each time"
    add("crf/pydensecrf2/agreement", 100 * float(np.mean(agreements)), "%", note)
    add("crf/21-labels/speedup", times["theirs-21"] / times["ours-21"], "x", note)
    add("crf/present/speedup-over-21", times["theirs-21"] / times["ours"], "x", note)
    add("crf/present/speedup", times["theirs"] / times["ours"], "x", note)
    for name, seconds in times.items():
        add(f"crf/{name}/seconds", seconds / len(photos), "s", "an image")


def reference(image: NDArray[np.uint8], unary: Array, preset: CRFParameters) -> Array:
    """Return what pydensecrf2 answers, (K, H, W)."""
    classes, height, width = unary.shape
    crf = importlib.import_module("pydensecrf.densecrf").DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(classes, -1)))
    crf.addPairwiseGaussian(sxy=preset.gaussian_width, compat=preset.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=preset.bilateral_width,
        srgb=preset.bilateral_colour,
        rgbim=np.ascontiguousarray(image),
        compat=preset.bilateral_weight,
    )
    return np.array(crf.inference(preset.iterations)).reshape(unary.shape)


def timed(
    solve: Callable[..., Array], image: NDArray[np.uint8], unary: Array, preset: CRFParameters
) -> tuple[Array, float]:
    """Return an answer and its seconds; nothing is kept between calls."""
    importlib.import_module("igcam.refine.crf")._position_lattice.cache_clear()
    start = time.perf_counter()
    result = solve(image, unary, preset)
    return result, time.perf_counter() - start


def cores(add: Callable[..., None], photos: list[Photo]) -> None:
    """Compare two threads with one over many images."""
    seconds = []
    for workers in (1, 2):
        start = time.perf_counter()
        list(in_parallel(lambda photo: dense_crf(photo[0], photo[1]), photos, workers))
        seconds.append(time.perf_counter() - start)
    add("crf/two-cores/speedup", seconds[0] / seconds[1], "x", f"{len(photos)} images, 7 labels")


def sizes(add: Callable[..., None]) -> None:
    """Solve photos of growing size, each in a process of its own."""
    for megapixels in (0.1, 0.5, 2.0, 8.0):
        command = [sys.executable, __file__, "--megapixels", str(megapixels)]
        seconds, peak = map(float, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
        name = f"crf/{megapixels:g}mp"
        add(f"{name}/seconds", seconds, "s", "3 labels, preset irn, one thread")
        add(f"{name}/peak-mb", peak, "MB", "more than before the call")


def large(megapixels: float) -> tuple[float, float]:
    """Return the seconds and the growth of memory in MB of one CRF on a made photo with smooth regions."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    photo = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noise = cv2.resize(random.normal(0, 6, (height // 2, width // 2, 3)).astype(np.float32), (width, height))
    image = np.clip(photo + noise, 0, 255).astype(np.uint8)
    stack = np.stack([cv2.resize(random.random((24, 32), np.float32), (width, height)) for _ in range(3)])
    stack /= stack.sum(axis=0)
    dense_crf(image[:64, :64], stack[:, :64, :64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    dense_crf(image, stack)
    seconds = time.perf_counter() - start
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


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


@dataclass
class Tally:
    """Scores of one refiner over all images."""

    classes: int
    total: Confusion = field(init=False)
    bands: NDArray[np.int64] = field(init=False)
    contours: NDArray[np.int64] = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.total = Confusion.zeros(self.classes)
        self.bands = np.zeros((self.classes + 1, 2), np.int64)
        self.contours = np.zeros((self.classes + 1, 4), np.int64)

    def count(self, truth: NDArray[np.uint8], mask: NDArray[np.uint8], seconds: float) -> None:
        """Add one image."""
        self.total = self.total + confusion(truth, mask, self.classes)
        self.bands += boundary_counts(truth, mask, self.classes)
        self.contours += contour_counts(truth, mask, self.classes)
        self.seconds += seconds

    def values(self) -> dict[str, float]:
        """Return the scores in percent."""
        return {
            "miou": 100 * scores(self.total).miou,
            "boundary-iou": 100 * boundary_iou(self.bands).miou,
            "contour-f": 100 * contour_scores(self.contours).mean_f,
        }


def pyramid(add: Callable[..., None], name: str, seeds: Seeds) -> None:
    """Score the map of every level, and the rivals, on the same seeds."""
    tallies: dict[str, Tally] = {}
    classes = len(seeds.dataset.classes)

    def work(index: int) -> list[tuple[str, NDArray[np.uint8], float]]:
        image = load_image(seeds.dataset.samples[index].image)
        stack = np.asarray(seeds.maps[index], np.float32)
        # As the pipeline does: classes that are nowhere probable are not refined.
        labels = np.union1d(0, np.flatnonzero(stack.reshape(len(stack), -1).max(axis=1) >= 0.1))
        kept = stack[labels]
        kept[0] += kept.sum(axis=0) == 0
        kept /= kept.sum(axis=0)
        deep = seeds.features(seeds.reduced[:, index])
        masks = []
        for step, result, seconds in refine_all(image, kept, deep):
            masks.append((step, labels[result.argmax(axis=0)].astype(np.uint8), seconds))
        return masks

    for index, masks in enumerate(in_parallel(work, range(len(seeds.dataset)), 2)):
        truth = seeds.dataset.samples[index].truth
        for step, mask, seconds in masks:
            tallies.setdefault(step, Tally(classes)).count(truth.read() if truth else mask, mask, seconds)
    start = tallies.pop("bilinear").values()
    for metric, value in start.items():
        add(f"bilinear/{name}/{metric}", value, "%")
    for step, tally in tallies.items():
        group = f"{step}/{name}" if step == "pyramid" or step.startswith("rival/") else f"pyramid/{name}/{step}"
        group = f"pyramid/{name}" if step == "pyramid" else group
        for metric, value in tally.values().items():
            add(f"{group}/{metric}", value, "%")
            add(f"{group}/{metric}-gain", value - start[metric], "%")
        add(f"{group}/seconds", tally.seconds / len(seeds.dataset), "s", "an image, one thread of two")


def refine_all(image: NDArray[np.uint8], stack: Array, deep: Array) -> Iterable[tuple[str, Array, float]]:
    """Yield name, map at the photo's size and seconds of every level and rival."""
    yield "bilinear", enlarge(image, stack), 0.0
    start = time.perf_counter()
    levels = sharpen(image, stack, deep=deep)
    seconds = time.perf_counter() - start
    for level in levels[:-1]:
        name = "dense" if level is levels[0] else f"stride-{level.stride}"
        yield name, enlarge(image, level.probability), 0.0
    yield "pyramid", levels[-1].probability, seconds
    for name, refiner in RIVALS.items():
        start = time.perf_counter()
        result = refiner(image, stack, deep)
        yield f"rival/{name}", result, time.perf_counter() - start


def enlarge(image: NDArray[np.uint8], stack: Array) -> Array:
    """Return a map at the size of the photo, bilinearly."""
    size = (image.shape[1], image.shape[0])
    return np.stack([cv2.resize(layer, size, interpolation=cv2.INTER_LINEAR) for layer in stack])


def crf_alone(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine by the CRF that the pipeline ends with."""
    return dense_crf(image, np.clip(enlarge(image, stack), 0, 1), CRF_PRESETS["afa"])


def colours_alone(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine by the pyramid without features of a network."""
    return sharpen(image, stack)[-1].probability


def pyramid_and_crf(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine by both, as the pipeline does."""
    return dense_crf(image, np.clip(sharpen(image, stack, deep=deep)[-1].probability, 0, 1), CRF_PRESETS["afa"])


def pixel_adaptive(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine as PAR (AFA, CVPR 2022): ten steps along local affinities of colour."""
    full = enlarge(image, stack)
    return walk(local_affinity(image, options=AffinityOptions()), full.reshape(len(full), -1), 10).reshape(full.shape)


def pixel_adaptive_masks(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine as PAMR (Araslanov and Roth, CVPR 2020): the same with absolute differences."""
    full = enlarge(image, stack)
    height, width = image.shape[:2]
    offsets = [
        (dy * d, dx * d) for d in (1, 2, 4, 8, 12, 24) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)
    ]
    colours = np.moveaxis(image, -1, 0).astype(np.float32)

    def shifted(layers: Array) -> Array:
        padded = np.pad(layers, ((0, 0), (24, 24), (24, 24)), mode="edge")
        return np.stack([padded[:, 24 + dy : 24 + dy + height, 24 + dx : 24 + dx + width] for dy, dx in offsets])

    around = shifted(colours)
    logits = -(np.abs(around - colours) / (1e-8 + 0.1 * around.std(axis=0))).mean(axis=1)
    weights = np.exp(logits - logits.max(axis=0))
    weights /= weights.sum(axis=0)
    for _ in range(10):
        full = np.einsum("nyx,nkyx->kyx", weights, shifted(full))
    return full


def guided(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine by a guided filter of 16 pixels."""
    full = enlarge(image, stack)
    return guided_filter(image, full / full.sum(axis=0), 16)


RIVALS: dict[str, Refiner] = {
    "crf": crf_alone,
    "pamr": pixel_adaptive_masks,
    "par": pixel_adaptive,
    "guided-filter": guided,
    "pyramid-by-colour": colours_alone,
    "pyramid-and-crf": pyramid_and_crf,
}

if __name__ == "__main__":
    main()
