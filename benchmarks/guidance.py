"""What every kind of cue buys: IG-CAM with tags, points, scribbles, boxes and masks on the animals of VOC 2012.

Frozen ResNet-50, 384 px. Cues are simulated from the true masks. Chosen on train only; val is scored once, with what
train has chosen. The table goes to benchmarks/results/guidance.json, where rows of other modes stay.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from animals import (
    Animals,
    Values,
    add_first_seed,
    arguments,
    call,
    earlier,
    print_rows,
    scored,
    seeds_of,
    with_cues,
    without_masks,
)
from tables import with_kept_rows

from igcam.data.formats.voc import read_voc
from igcam.data.sample import Dataset
from igcam.data.synthetic.simulate import simulate_cues
from igcam.methods.options import FitOptions
from igcam.metrics.results import Row, write_results
from igcam.runs.folder import RunFolder
from igcam.runs.ledger import run_ledger

RESULTS = Path(__file__).parent / "results" / "guidance.json"
MODES: dict[str, tuple[str, float]] = {
    "tags": ("", 0),
    "points": ("point", 1),
    "scribbles": ("scribble", 1),
    "boxes": ("box", 1),
    "masks2.5": ("mask", 0.025),
    "masks5": ("mask", 0.05),
    "masks10": ("mask", 0.1),
    "masks25": ("mask", 0.25),
    "masks50": ("mask", 0.5),
    "full": ("mask", 1),
}
"""Kind of cue and the share of the training images that has it."""
NOTES = {
    "rest": "the training images without a mask of their own",
    "seconds": "annotation of all training images, tags included; see igcam.metrics.ledger for the costs",
}


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.add_argument("--modes", default=",".join(["cam", *MODES]), help="names with commas between")
    add_first_seed(parser)
    parser.add_argument("--aug", type=Path, help="list of more training images, for the rows of aug/")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run all modes for each seed and print the table; each mode is written as soon as it is done."""
    start = time.perf_counter()
    animals = Animals(given)
    modes = [mode for mode in given.modes.split(",") if mode]
    begins = [f"{name}/" for name in [*modes, *(["aug"] if given.aug else [])]]
    values = earlier(RESULTS, given.first_seed, begins)
    for seed in seeds_of(given):
        options = animals.options(seed)
        for mode in modes:
            one_mode(animals, mode, options, values)
            write(animals, values, time.perf_counter() - start)
        if given.aug is not None:
            augmented(animals, options, values)
            write(animals, values, time.perf_counter() - start)
    rows = rows_of(values)
    print_rows([*rows, *shares_of_full(rows)])


def write(animals: Animals, values: Values, seconds: float) -> None:
    """Put these values into the results, where other rows stay."""
    if animals.arguments.quick:
        return
    options = animals.options(0)
    ledger = replace(
        run_ledger(options, animals.train, split="see the ids", split_size=len(animals.train), tags_at_inference=True),
        seed=None,
        method="igcam and cam, see the ids: MODE/split/tags or no tags at inference",
        wall_seconds=round(seconds, 1),
        threshold_rule="cam: constant 0.15; others: background trained as a class",
        cues={kind: round(share * len(animals.train)) for kind, share in MODES.values() if kind},
        annotation_seconds=0,
    )
    rows = [row for row in with_kept_rows(RESULTS, rows_of(values)) if not row.id.endswith("/of-full")]
    write_results(RESULTS, ledger, [*rows, *shares_of_full(rows)])


def rows_of(values: Values) -> list[Row]:
    """Return a row for each name, with its unit and note."""
    return [
        Row.from_values(name, numbers, "s" if name.endswith("seconds") else "%", NOTES.get(name.split("/")[-2], ""))
        for name, numbers in values.items()
    ]


def shares_of_full(rows: list[Row]) -> list[Row]:
    """Return what each mode reaches on val of full supervision by the same seed, over the seeds that both have."""
    found = {row.id: row.by_seed for row in rows}
    best = found.get("full/val/notags/miou", ())
    shares = []
    for mode in MODES:
        pairs = list(zip(found.get(f"{mode}/val/notags/miou", ()), best, strict=False))
        if pairs and mode != "full":
            shares.append(
                Row.from_values(f"{mode}/val/notags/of-full", [100 * value / full for value, full in pairs], "%")
            )
    return shares


def one_mode(animals: Animals, mode: str, options: FitOptions, values: Values) -> None:
    """Run one mode with one seed and add its numbers."""
    add = adder(values, options.seed)
    if mode == "cam":
        run = animals.learn("cam", animals.train, replace(options, method="cam"))
        add("cam/train/tags", *scored(run.file("masks"), animals.train))
        add("cam/val/notags", *animals.on_val(run))
        return
    run, dataset = fitted(animals, mode, options)
    if mode == "full":
        # The run's own masks are those that it was given: what its head says of these images is another thing.
        add("full/train/tags", *animals.on_train(run))
        add("full/val/tags", *animals.on_val(run, use_tags=True))
    else:
        add(f"{mode}/train/tags", *scored(run.file("masks"), animals.train))
    rest = without_masks(animals.train, dataset)
    if 0 < len(rest) < len(dataset):
        add(f"{mode}/train/rest/tags", *scored(run.file("masks"), rest))
    add(f"{mode}/val/notags", *animals.on_val(run))
    ledger = run_ledger(options, dataset, split="", split_size=0, tags_at_inference=True)
    values.setdefault(f"{mode}/annotation/seconds", []).append(ledger.annotation_seconds)


def fitted(animals: Animals, mode: str, options: FitOptions) -> tuple[RunFolder, Dataset]:
    """Fit one mode of `MODES`, or go on with it; return the run and what it has learnt from."""
    kind, share = MODES[mode]
    dataset = with_cues(animals.train, kind, share, options.seed) if kind else animals.train
    # With all masks given there are no uncertain pseudo labels to weigh.
    chosen = options.leave_out(["reweight"]) if mode == "full" else options
    return animals.learn(f"igcam-{mode}", dataset, chosen), dataset


def augmented(animals: Animals, options: FitOptions, values: Values) -> None:
    """Run with more training images: tags only, and the masks of 25 of them."""
    add = adder(values, options.seed)
    more = read_voc(animals.arguments.data, str(animals.arguments.aug), animals.train.classes)
    if animals.arguments.quick:
        more = more.subset(more.names[::20])
    official = animals.train.subset([name for name in animals.train.names if name in set(more.names)])
    masks = simulate_cues(official, "mask", count=25, seed=options.seed)
    for mode, dataset in (("tags", more), ("masks25images", more.with_cues(masks))):
        run = animals.learn(f"aug-{mode}", dataset, options, split="voc-animals train_aug")
        add(f"aug/{mode}/train/tags", *scored(run.file("masks"), official))
        add(f"aug/{mode}/val/notags", *animals.on_val(run))


def adder(values: Values, seed: int) -> Callable[[str, float, float], None]:
    """Return a function that notes and prints mIoU and Boundary IoU."""

    def add(name: str, miou: float, boundary: float) -> None:
        values.setdefault(f"{name}/miou", []).append(miou)
        values.setdefault(f"{name}/boundary-iou", []).append(boundary)
        print(f"{time.strftime('%H:%M:%S')} seed {seed} {name}: {miou:.2f}, boundary {boundary:.2f}", flush=True)

    return add


if __name__ == "__main__":
    main()
