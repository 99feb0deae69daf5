"""What weights from influence and a model of noisy tags regain of the mIoU that wrong tags cost.

Rows weights/... of benchmarks/results/influence.json, where the others stay. Eight runs of igcam fit on voc-animals a
seed, 20 minutes on two cores; a second call resumes them.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from animals import Animals, Values, add_first_seed, arguments, call, earlier, maps_only, print_rows, seeds_of
from influence_audit import planted

from igcam.core.files import read_json
from igcam.data.sample import Dataset
from igcam.methods.options import FitOptions
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import Row, read_results, write_results
from igcam.runs.folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "influence.json"
WRONG_TAGS = 20
"""Percent of the number of true tags, half added, half removed, as in the audit's rows."""
REGAINING = {
    "all": "weights/regained",
    "tags": "weights/tags-alone/regained",
    "images": "weights/images-and-places-alone/regained",
    "shuffled": "weights/shuffled-regained",
}
"""Which weights a run takes, and the row of what it regains."""
SPLITS = ("", "val/")
"""Photos that the weights are scored on, as they stand in the rows: train with the run's tags, val without."""
UNITS = {"clean-cost": "mIoU", "wrong-tags-cost": "mIoU"}
"""Of the rows that are not in percent, by the end of their names."""
NOTES = {
    "weights/regained": "weights of tags, images and locations",
    "weights/clean-cost": "of the same weights",
    "weights/shuffled-regained": "the weights of tags and of images, dealt out at random",
}


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.set_defaults(seeds=3)
    add_first_seed(parser)
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run all weights for each seed; each seed is written when it is done."""
    start = time.perf_counter()
    animals = Animals(given)
    values = earlier(RESULTS, given.first_seed, ["weights/"])
    for seed in seeds_of(given, 1 if given.quick else None):
        add_weights(animals, seed, values)
        if not given.quick:
            write(rows_of(values))
    print_rows(rows_of(values))
    print(f"{time.perf_counter() - start:.0f} s")


def rows_of(values: Values) -> list[Row]:
    """Return a row for each name, with its unit and note."""
    return [
        Row.from_values(name, numbers, UNITS.get(name.split("/")[-1], "%"), NOTES.get(name, ""))
        for name, numbers in values.items()
    ]


def add_weights(animals: Animals, seed: int, values: Values) -> None:
    """Add what weights regain of the mIoU that wrong tags cost, and what they cost on clean tags.

    The score is that of the masks of the reweight stage: of train, where the wrong tags are those that
    the masks are drawn with, and (rows with `val/`) of val, where no tags are known. Without weights means the same
    rounds of training with weights of one.
    """
    changed = with_tags(animals.train, planted(animals.train.tag_matrix().astype(np.float64), WRONG_TAGS, seed))

    def score(tags: str, dataset: Dataset, weights: str) -> np.ndarray:
        options = weighted(animals.options(seed), weights)
        like = "all" if weights == "tags" else "none"
        after = (f"weights-{tags}-{like}", "igcam-tags")
        run = animals.learn(f"weights-{tags}-{weights}", dataset, options, after=after)
        found = np.array([stage_miou(run, "reweight"), animals.on_val(run)[0]])
        print(f"{time.strftime('%H:%M:%S')} seed {seed} {tags} tags, {weights}: {found.round(2)}", flush=True)
        return found

    def add(name: str, found: np.ndarray) -> None:
        for split, value in zip(SPLITS, found.tolist(), strict=True):
            values.setdefault(name.replace("weights/", f"weights/{split}"), []).append(value)

    clean, lowest = score("clean", animals.train, "none"), score("wrong", changed, "none")
    cost = clean - lowest
    for weights, name in REGAINING.items():
        regained = score("wrong", changed, weights) - lowest
        add(name, 100 * np.divide(regained, cost, out=np.zeros(len(SPLITS)), where=cost != 0))
    add("weights/clean-cost", clean - score("clean", animals.train, "all"))
    add("weights/wrong-tags-cost", cost)


def weighted(options: FitOptions, weights: str) -> FitOptions:
    """Return the options with some of the weights: a key of `REGAINING`, or `none`."""
    short, shuffled = maps_only(options), weights == "shuffled"
    tags = float(weights in ("all", "tags", "shuffled"))
    noisy_tags = replace(short.chosen.noisy_tags, weight=tags, shuffled=shuffled)
    on = weights in ("all", "images", "shuffled")
    reweight = replace(short.chosen.reweight, images=on, locations=on and not shuffled, shuffled=shuffled)
    return replace(short, method=replace(short.chosen, noisy_tags=noisy_tags, reweight=reweight))


def with_tags(dataset: Dataset, tags: np.ndarray) -> Dataset:
    """Return the data set with other tags, (n, C)."""
    rows = [tuple(np.flatnonzero(row).tolist()) for row in tags]
    samples = [replace(sample, tags=row) for sample, row in zip(dataset, rows, strict=True)]
    return replace(dataset, samples=tuple(samples))


def stage_miou(run: RunFolder, stage: str) -> float:
    """Return the mIoU in percent of the training images after a stage."""
    rows = read_json(run.file("metrics.json"))["stages"][stage]["rows"]
    return float(next(row["value"] for row in rows if row["id"] == "miou"))


def write(rows: list[Row]) -> None:
    """Replace these rows in the results file, which benchmarks/influence.py begins."""
    ledger, others = read_results(RESULTS) if RESULTS.exists() else (Ledger("influence", "see the ids", 437, True), [])
    begins = tuple({row.id.split("/")[0] + "/" for row in rows})
    write_results(RESULTS, ledger, [row for row in others if not row.id.startswith(begins)] + rows)


if __name__ == "__main__":
    main()
