"""What influence is good for in training: weights under wrong tags, and masks where they help most.

Rows of benchmarks/results/influence.json that need the whole pipeline; `python benchmarks/influence_weights.py
--part weights` or `--part cue` replaces them there and leaves the others. Hours on two cores: each row is several
runs of igcam fit on voc-animals, which go on where they stopped.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from animals import Animals, Values, add_first_seed, arguments, call, earlier, print_rows, seeds_of
from guidance import fitted
from influence_audit import planted

from igcam.data.cue import MaskCue
from igcam.data.sample import Dataset
from igcam.files import read_json
from igcam.metrics.ledger import ANNOTATION_SECONDS, Ledger
from igcam.metrics.results import Row, read_results, write_results
from igcam.pipeline.next_cues import propose_cues
from igcam.pipeline.options import FitOptions
from igcam.pipeline.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "influence.json"
WRONG_TAGS = 20
"""Percent of the number of true tags, half added, half removed, as in the audit's rows."""
SHARES = (0.025, 0.05, 0.1)
"""Budgets: the price of masks on this share of the training images."""
SEEDS = {"weights": 3, "cue": 5}
"""Repetitions of each part."""
REGAINING = {
    "all": "weights/regained",
    "tags": "weights/tags-alone/regained",
    "images": "weights/images-and-places-alone/regained",
    "shuffled": "weights/shuffled-regained",
}
"""Which weights a run takes, and the row of what it regains."""
SPLITS = ("", "val/")
"""Photos that the weights are scored on, as they stand in the rows: train with the run's tags, val without."""
UNITS = {"clean-cost": "mIoU", "wrong-tags-cost": "mIoU", "gain": "mIoU", "seconds-ratio": "x"}
"""Of the rows that are not in percent, by the end of their names."""
NOTES = {
    **{f"cue/{100 * share:g}/seconds-ratio": "price of the same mIoU, chosen / random" for share in SHARES},
    "weights/regained": "weights of tags, images and places",
    "weights/clean-cost": "of the same weights",
    "weights/shuffled-regained": "the weights of tags and of images, dealt out at random",
}


def main() -> None:
    """Parse the command line, run the parts and replace their rows."""
    parser = arguments(__doc__)
    parser.set_defaults(seeds=None)
    add_first_seed(parser)
    parser.add_argument("--part", choices=tuple(SEEDS), action="append", help="default: both")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run the parts; without --seeds, 3 times the weights and 5 times the cue. Each seed is written when it is done."""
    start = time.perf_counter()
    animals = Animals(given)
    for part in given.part or PARTS:
        values = earlier(RESULTS, given.first_seed, [f"{part}/"])
        for seed in seeds_of(given, 1 if given.quick else given.seeds or SEEDS[part]):
            PARTS[part](animals, seed, values)
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
    shuffled = weights == "shuffled"
    doubt = replace(options.igcam.doubt, share=float(weights in ("all", "tags", "shuffled")), shuffled=shuffled)
    on = weights in ("all", "images", "shuffled")
    chosen = replace(options.igcam.reweight, images=on, places=on and not shuffled, shuffled=shuffled)
    stages = ("classify", "guide", "reweight")
    return replace(options, igcam=replace(options.igcam, doubt=doubt, reweight=chosen, stages=stages))


def add_cue(animals: Animals, seed: int, values: Values) -> None:
    """Add the gain of chosen masks over random ones at equal seconds, on val without tags.

    The run of tags alone chooses; `cue/SHARE/seconds-ratio` is the price at which chosen masks reach what random
    ones reach at that budget, by straight lines between the budgets. Random masks are the modes of guidance.py.
    """
    prices = [round(share * len(animals.train)) * (ANNOTATION_SECONDS["mask"] - 20) for share in SHARES]
    options = animals.options(seed)
    tags = animals.learn("igcam-tags", animals.train, options)
    floor = animals.on_val(tags)[0]
    curves = {"chosen": [floor], "random": [floor]}
    for how, points in curves.items():
        for share, price in zip(SHARES, prices, strict=True):
            name = f"masks{100 * share:g}"
            if how == "random":
                run, _ = fitted(animals, name, options)
            else:
                chosen = propose_cues(tags, price + 1, kinds=["mask"])
                dataset = masks_on(animals.train, [item.image for item in chosen])
                run = animals.learn(f"chosen-{name}", dataset, options)
            points.append(animals.on_val(run)[0])
            print(f"{time.strftime('%H:%M:%S')} seed {seed} {how} {name}: {points[-1]:.2f}", flush=True)
    mine, theirs = curves["chosen"], curves["random"]
    for place, share in enumerate(SHARES, 1):
        name = f"cue/{100 * share:g}"
        ratio = seconds_to_reach(theirs[place], mine, [0.0, *prices]) / prices[place - 1]
        found = {f"{how}/miou": points[place] for how, points in curves.items()}
        found |= {"gain": mine[place] - theirs[place], "seconds-ratio": ratio}
        for row, value in found.items():
            values.setdefault(f"{name}/{row}", []).append(value)


def seconds_to_reach(wanted: float, points: list[float], prices: list[float]) -> float:
    """Return the price at which a curve first reaches a score; the last price where it never does."""
    for place in range(len(points)):
        if points[place] >= wanted:
            if place == 0:
                return prices[0]
            share = (wanted - points[place - 1]) / (points[place] - points[place - 1])
            return prices[place - 1] + share * (prices[place] - prices[place - 1])
    return prices[-1]


def masks_on(dataset: Dataset, images: list[int]) -> Dataset:
    """Give the true masks of these images as cues."""
    samples = [dataset.samples[image] for image in images]
    return dataset.with_cues({item.name: (MaskCue(source=item.truth),) for item in samples if item.truth})


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


PARTS = {"weights": add_weights, "cue": add_cue}
"""What adds the values of one seed."""


if __name__ == "__main__":
    main()
