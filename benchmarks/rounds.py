"""Rounds of training, with each guard against drift on and off: mIoU of the training images by round, tags only.

Run benchmarks/voc_animals.py or guidance.py first: the run folder `cam` holds the features and activation maps. Scores
are those of the coarse maps, enlarged to 96 x 96, before any refinement. Nothing is scored on val.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from animals import Animals, arguments, call, print_rows
from numpy.typing import NDArray

from igcam.core.progress import no_progress
from igcam.methods.igcam.guidance import ObjectnessOptions, first_pseudo_labels
from igcam.methods.igcam.rounds import RoundOptions, learn
from igcam.methods.igcam.stages import activations
from igcam.methods.training.head import HeadOptions
from igcam.metrics.confusion_matrix import Confusion, confusion, scores
from igcam.metrics.results import Row, write_results
from igcam.refine.stack import resized
from igcam.runs.work import RunWork

HERE = Path(__file__).parent
SIDE = 96
USUAL = RoundOptions(rounds=1)
Array = NDArray[np.float32]


def with_head(**changes: float) -> RoundOptions:
    """Return the usual options with some of the head's changed."""
    return replace(USUAL, head=replace(HeadOptions(), **changes))  # type: ignore[arg-type]


GUARDS: dict[str, RoundOptions] = {
    "usual": USUAL,
    "no-bias": with_head(foreground_bias=0),
    "averaging": with_head(averaging=0.98),
    "class-balance": with_head(class_balance=0.5),
    "disagreement": replace(USUAL, disagreement=0.8),
    "tag-consistency": replace(USUAL, min_share=0.01),
    "no-crf": replace(USUAL, pseudo_labels=replace(USUAL.pseudo_labels, size=0)),
    "even-trust": replace(USUAL, pseudo_labels=replace(USUAL.pseudo_labels, min_confidence=1)),
    "no-foreground-model": USUAL,
}
"""The defaults, and one thing changed at a time."""


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--guards", default=",".join(GUARDS), help="names with commas between")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run every guard for each seed, print and write the table."""
    start = time.perf_counter()
    animals = Animals(given)
    values: dict[str, list[float]] = {}
    for seed in range(given.seeds):
        options = animals.options(seed)
        folder = animals.learn("cam", animals.train, replace(options, method="cam"))
        work = RunWork(folder, options, animals.train, given.bank, no_progress)
        inputs, maps = work.inputs, activations(work, "cam/maps")
        objectness = ObjectnessOptions()
        alone = replace(objectness, foreground=replace(objectness.foreground, weight=0))
        score = scorer(animals)
        begun = {
            name: first_pseudo_labels(inputs, maps, chosen, USUAL.pseudo_labels.marks)
            for name, chosen in (("usual", objectness), ("no-foreground-model", alone))
        }
        for name, labels in begun.items():
            values.setdefault(f"rounds/{name}/0/miou", []).append(score(labels))
        for guard in given.guards.split(","):
            watcher = Watcher(guard, score)
            first = begun.get(guard, begun["usual"])
            guided = learn(inputs, first, replace(GUARDS[guard], rounds=given.rounds, converged=1), watch=watcher)
            for number, ((miou, objects), agreement) in enumerate(
                zip(watcher.found, guided.agreement, strict=True), start=1
            ):
                row = f"rounds/{guard}/{number}"
                values.setdefault(f"{row}/miou", []).append(miou)
                values.setdefault(f"{row}/objects", []).append(objects)
                values.setdefault(f"{row}/agreement", []).append(100 * agreement)
    rows = [Row.from_values(name, numbers, "%", NOTES.get(name.split("/")[-1], "")) for name, numbers in values.items()]
    ledger = animals.ledger("train", time.perf_counter() - start, stages=("cam", "guide"))
    if not given.quick:
        write_results(HERE / "results" / "rounds.json", ledger, rows)
    print_rows(rows)


NOTES = {
    "objects": "share of all locations whose most probable class is not the background",
    "agreement": "mean IoU of this round's masks with those that it started from",
}


@dataclass
class Watcher:
    """Notes mIoU and the share of objects of every round."""

    guard: str
    score: Callable[[Array], float]
    found: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, maps: Array) -> None:
        """Score the predictions of a round."""
        self.found.append((self.score(maps), 100 * float((maps.argmax(axis=1) > 0).mean())))
        print(f"{time.strftime('%H:%M:%S')} {self.guard} {len(self.found)}: {self.found[-1][0]:.2f}", flush=True)


def scorer(animals: Animals) -> Callable[[Array], float]:
    """Return a function that gives the mIoU of maps (N, K, h, w) on a grid of SIDE x SIDE, in percent."""
    classes = len(animals.train.classes)
    grids = [
        cv2.resize(sample.truth.read(), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        for sample in animals.train
        if sample.truth
    ]

    def score(maps: Array) -> float:
        total = Confusion.zeros(classes)
        for truth, probability in zip(grids, maps, strict=True):
            mask = resized(probability, SIDE, SIDE).argmax(axis=0).astype(np.uint8)
            total = total + confusion(np.asarray(truth, np.uint8), mask, classes)
        return 100 * scores(total).miou

    return score


if __name__ == "__main__":
    main()
