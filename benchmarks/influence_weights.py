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
from animals import Animals, add_first_seed, arguments, call, earlier, print_rows
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
NOTES = {
    "weights/regained": "weights of tags, images and places",
    "weights/clean-cost": "of the same weights",
    "weights/shuffled-regained": "the weights of tags and of images, dealt out at random",
}


def main() -> None:
    """Parse the command line, run the parts and replace their rows."""
    parser = arguments(__doc__)
    parser.set_defaults(seeds=None)
    add_first_seed(parser)
    parser.add_argument("--part", choices=("weights", "cue"), action="append", help="default: both")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run the parts; without --seeds, 3 times the weights and 5 times the cue."""
    start = time.perf_counter()
    animals = Animals(given)
    rows: list[Row] = []
    for part in given.part or ("weights", "cue"):
        seeds = 1 if given.quick else given.seeds or SEEDS[part]
        rows += (
            weights_rows(animals, range(given.first_seed, given.first_seed + seeds))
            if part == "weights"
            else cue_rows(animals, seeds)
        )
    print_rows(rows)
    print(f"{time.perf_counter() - start:.0f} s")
    if not given.quick:
        write(rows)


def weights_rows(animals: Animals, seeds: range) -> list[Row]:
    """Return what weights regain of the mIoU that wrong tags cost, and what they cost on clean tags.

    The score is that of the reweight stage's masks against the true masks of train; the wrong tags are those that
    the masks are drawn with. Without weights means the same rounds of training with weights of one.
    """
    truth = animals.train.tag_matrix().astype(np.float64)
    values = earlier(RESULTS, seeds.start, lambda row: row.startswith("weights/"))

    def score(tags: str, dataset: Dataset, weights: str, seed: int) -> float:
        options = weighted(animals.options(seed), weights)
        like = "all" if weights == "tags" else "none"
        after = (f"weights-{tags}-{like}", "igcam-tags")
        found = stage_miou(animals.learn(f"weights-{tags}-{weights}", dataset, options, after=after), "reweight")
        print(f"{time.strftime('%H:%M:%S')} seed {seed} {tags} tags, {weights}: {found:.2f}", flush=True)
        return found

    for seed in seeds:
        changed = with_tags(animals.train, planted(truth, WRONG_TAGS, seed))
        clean, lowest = (score(*given, "none", seed) for given in (("clean", animals.train), ("wrong", changed)))
        cost = clean - lowest
        for weights, name in REGAINING.items():
            share = (score("wrong", changed, weights, seed) - lowest) / cost if cost else 0.0
            values.setdefault(name, []).append(100 * share)
        values.setdefault("weights/clean-cost", []).append(clean - score("clean", animals.train, "all", seed))
        values.setdefault("weights/wrong-tags-cost", []).append(cost)
    units = {"weights/clean-cost": "mIoU", "weights/wrong-tags-cost": "mIoU"}
    return [
        Row.from_values(name, numbers, units.get(name, "%"), NOTES.get(name, "")) for name, numbers in values.items()
    ]


def weighted(options: FitOptions, weights: str) -> FitOptions:
    """Return the options with some of the weights: a key of `REGAINING`, or `none`."""
    shuffled = weights == "shuffled"
    doubt = replace(options.igcam.doubt, share=float(weights in ("all", "tags", "shuffled")), shuffled=shuffled)
    on = weights in ("all", "images", "shuffled")
    chosen = replace(options.igcam.reweight, images=on, places=on and not shuffled, shuffled=shuffled)
    stages = ("classify", "guide", "reweight")
    return replace(options, igcam=replace(options.igcam, doubt=doubt, reweight=chosen, stages=stages))


def cue_rows(animals: Animals, seeds: int) -> list[Row]:
    """Return the gain of chosen masks over random ones at equal seconds, on val without tags.

    The run of tags alone chooses; `cue/SHARE/seconds-ratio` is the price at which chosen masks reach what random
    ones reach at that budget, by straight lines between the budgets. Random masks are the modes of guidance.py.
    """
    curves: dict[str, list[list[float]]] = {"chosen": [], "random": []}
    prices = [round(share * len(animals.train)) * (ANNOTATION_SECONDS["mask"] - 20) for share in SHARES]
    for seed in range(seeds):
        options = animals.options(seed)
        tags = animals.learn("igcam-tags", animals.train, options)
        floor = animals.on_val(tags)[0]
        for how, curve in curves.items():
            points = [floor]
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
            curve.append(points)
    rows = []
    for place, share in enumerate(SHARES, 1):
        name = f"cue/{100 * share:g}"
        for how, curve in curves.items():
            rows.append(Row.from_values(f"{name}/{how}/miou", [points[place] for points in curve], "%"))
        pairs = list(zip(curves["chosen"], curves["random"], strict=True))
        rows.append(Row.from_values(f"{name}/gain", [mine[place] - theirs[place] for mine, theirs in pairs], "mIoU"))
        ratios = [seconds_to_reach(theirs[place], mine, [0.0, *prices]) / prices[place - 1] for mine, theirs in pairs]
        rows.append(Row.from_values(f"{name}/seconds-ratio", ratios, "x", "price of the same mIoU, chosen / random"))
    return rows


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


if __name__ == "__main__":
    main()
