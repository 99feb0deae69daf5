"""Recall of class-agnostic proposals, and the object scores that they give, on voc-animals train and tiny-coco.

Run benchmarks/voc_animals.py first: its run `cam` has the network and the activation maps. The photos are not part of
this project: --data names the folder that holds voc-animals and tiny-coco. Masks are only used for scoring. Results go
to benchmarks/results/proposals.json.
"""

# ruff: noqa: E402, threads are set before numpy is loaded
from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.commands.label import Labeller
from igcam.core.errors import IgcamError
from igcam.data.cue import MaskCue
from igcam.data.formats.coco import coco_cues, read_coco
from igcam.data.images import load_image
from igcam.methods.features import mean_level
from igcam.metrics.confusion_matrix import Confusion, confusion, scores
from igcam.metrics.results import Row, write_results
from igcam.proposals.objectness import border_distance, collect, object_score
from igcam.proposals.segments import (
    Image,
    Masks,
    Proposer,
    SegmentOptions,
    Segments,
    enlarged,
    joined,
    overlaps,
    proposal_kinds,
    tidy,
)
from igcam.proposals.spectral import normalised_cut, sides
from igcam.refine.affinity import dense_affinity
from igcam.refine.propagation import propagate
from igcam.refine.stack import resized
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder
from igcam.runs.ledger import run_ledger
from igcam.supervision.pseudo_labels import from_activation

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared"
MIN_OBJECT = 0.01
"""Share of the image below which an object does not count."""
EVERY = 4
"""Every fourth training photo for recall; object scores take all of them."""
SIDE = 192
"""Objects and proposals are compared on photos of this longer side."""
Array = NDArray[np.float32]
Photo = tuple[Image, Array, Masks]
"""A photo, its last-level features, and its objects."""


def cut_sides(image: Image, feature: NDArray[np.floating] | None) -> Segments:
    """Return both sides of the first three normalised cuts: what version 0.1 went by."""
    if feature is None:
        raise ValueError("feature: is needed")
    return tidy(np.stack([side for cut in normalised_cut(feature) for side in sides(cut)]))


KINDS: dict[str, Proposer] = {"cut-sides": cut_sides, **proposal_kinds()}
FURTHER = {kind: KINDS[kind] for kind in ("colour-segments", "selective-search", "feature-hierarchy")}
"""Kinds that are added to the clusters for object scores, one at a time."""
TOGETHER = ("feature-clusters-finer", "feature-hierarchy-finer", "selective-search")
"""Kinds that are joined, in turns, to `all`."""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED / "data", help="folder with voc-animals and tiny-coco")
    parser.add_argument("--run", type=Path, default=Path("runs/voc-animals/seed-0/cam"), help="of voc_animals.py")
    parser.add_argument("--bank", type=Path, default=Path("runs/bank"), help="feature bank")
    parser.add_argument("--every", type=int, default=EVERY, help="n-th photo; results are written for the default")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        run(arguments)
    except IgcamError as error:
        sys.exit(str(error))


def run(arguments: argparse.Namespace) -> None:
    """Compute all rows, print and write them."""
    start = time.perf_counter()
    folder = RunFolder.open(arguments.run)
    labeller = Labeller.open(folder, arguments.bank)
    dataset = read_dataset_file(folder.file("samples.json"))
    rows: list[Row] = []

    def add(name: str, value: float, unit: str, note: str = "") -> None:
        rows.append(Row(name, value, unit, note=note))
        print(f"{time.strftime('%H:%M:%S')} {name:56s} {value:8.3f} {unit}  {note}", flush=True)

    feature = partial(mean_level, labeller.bank)
    names = dataset.names[:: arguments.every]
    recall(add, "proposals", animals(dataset.subset(names).samples, feature))
    recall(add, "proposals/tiny-coco", coco(arguments.data / "tiny-coco", arguments.every, labeller, feature))
    objectness(add, folder, dataset, feature, arguments.every)
    add("seconds", time.perf_counter() - start, "s")
    ledger = run_ledger(folder.options, dataset, split="see the ids", split_size=len(names), tags_at_inference=True)
    ledger = replace(ledger, method="class-agnostic proposals", stages=(), threshold_rule="see the ids")
    if arguments.every == EVERY:
        write_results(HERE / "results" / "proposals.json", ledger, rows)


def animals(samples: Sequence, feature: Callable[[Path], Array]) -> Iterator[Photo]:
    """Yield photos of voc-animals; an object is a connected part of a class."""
    for sample in samples:
        mask = sample.truth.read()
        parts = []
        for value in np.unique(mask[(mask != 0) & (mask != 255)]):
            count, numbered = cv2.connectedComponents((mask == value).astype(np.uint8))
            parts += [numbered == part for part in range(1, count)]
        yield load_image(sample.image), feature(sample.image), large(parts, mask.shape)


def coco(root: Path, every: int, labeller: Labeller, feature: Callable[[Path], Array]) -> Iterator[Photo]:
    """Yield photos of tiny-coco with their instances."""
    for split in ("train2017", "val2017"):
        dataset = read_coco(root / split, root / "annotations" / f"instances_{split}.json")
        labeller.bank.fill([sample.image for sample in dataset])
        cues = coco_cues(root / "annotations" / f"instances_{split}.json", kind="mask")
        for sample in dataset.samples[:: max(1, every // EVERY)]:
            image = load_image(sample.image)
            drawn = [cue.region(*image.shape[:2]) for cue in cues.get(sample.name, ()) if isinstance(cue, MaskCue)]
            yield image, feature(sample.image), large(drawn, image.shape[:2])


def large(parts: Sequence[NDArray[np.bool_]], shape: tuple[int, ...]) -> Masks:
    """Return the objects that count, bool (n, rows, columns), at the size of comparison."""
    factor = min(1.0, SIDE / max(shape[:2]))
    kept = [part for part in parts if part.mean() >= MIN_OBJECT]
    stack = np.stack(kept) if kept else np.zeros((0, *shape[:2]), bool)
    return enlarged(stack, round(shape[0] * factor), round(shape[1] * factor))


def recall(add: Callable[..., None], prefix: str, photos: Iterator[Photo]) -> None:
    """Measure every kind on the same photos."""
    names = [*KINDS, "all"]
    best: dict[str, list[float]] = {kind: [] for kind in names}
    counts, seconds = (dict.fromkeys(names, 0.0) for _ in range(2))
    total = 0
    for image, feature, objects in photos:
        total += 1
        made: dict[str, Segments] = {}
        times: dict[str, float] = {}
        for kind in names:
            start = time.process_time()
            if kind == "all":
                made[kind] = joined([made[part] for part in TOGETHER], SegmentOptions(max_count=600))
            else:
                made[kind] = KINDS[kind](image, feature)
            found, spent = made[kind], time.process_time() - start
            seconds[kind] += spent + (sum(times[part] for part in TOGETHER) if kind == "all" else 0)
            times[kind] = spent
            counts[kind] += len(found)
            reached = overlaps(objects, enlarged(found.masks, *objects.shape[1:]))
            best[kind] += reached.max(axis=1, initial=0).tolist()
    for kind in names:
        values = np.array(best[kind])
        note = f"{len(values)} objects in {total} images"
        for level in (50, 70):
            add(f"{prefix}/{kind}/recall{level}", 100 * float((values >= level / 100).mean()), "%", note)
        add(f"{prefix}/{kind}/count", counts[kind] / total, "proposals an image")
        add(f"{prefix}/{kind}/seconds", seconds[kind] / total, "s", "of processor time an image, one thread")


def objectness(
    add: Callable[..., None], folder: RunFolder, dataset: object, feature: Callable[[Path], Array], every: int
) -> None:
    """Score first pseudo labels, before any CRF, from border distance alone and from object scores, on all photos.

    The options of object scores were mainly chosen on the even photos.
    """
    step = max(1, every // EVERY)
    maps = RunArtefacts(folder).load_array("cam/maps")[:, 1:]
    tallies: dict[str, Confusion] = {}
    for index, sample in list(enumerate(dataset))[::step]:  # type: ignore[arg-type]
        activation, level, image = maps[index].astype(np.float32), feature(sample.image), load_image(sample.image)
        height, width = level.shape[1:]
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        affinity = dense_affinity(level, small)
        strongest = activation.max(axis=0)
        around = propagate(affinity, activation)
        object_scores = {
            "border-distance": border_distance(affinity, height, width),
            "evidence": object_score(collect(image, level, strongest)),
        }
        for kind, propose in FURTHER.items():
            collected = collect(image, level, strongest, None, propose(image, level).masks)
            object_scores[f"evidence-and-{kind}"] = object_score(collected)
        truth = sample.truth.read()
        for name, values in object_scores.items():
            pseudo_label = from_activation(activation, values, propagated=around)
            labels = resized(pseudo_label, *truth.shape).argmax(axis=0).astype(np.uint8)
            counts = confusion(truth, labels, len(dataset.classes))  # type: ignore[attr-defined]
            for key in (name, f"{name}/{'odd' if index % 2 else 'even'}"):
                tallies[key] = counts + tallies[key] if key in tallies else counts
    for key, tally in sorted(tallies.items()):
        result = scores(tally)
        add(f"coverage/{key}/miou", 100 * result.miou, "%", "first pseudo labels before the CRF, tags known")
        add(f"coverage/{key}/foreground-iou", 100 * result.foreground_iou, "%")


if __name__ == "__main__":
    main()
