"""What activation maps are worth, by themselves and as the seeds of IG-CAM, on the animals of VOC 2012.

ResNet-50, 384 px, image tags. Seeds are scored on train with known tags; IG-CAM, guided by them, on val without tags.
Chosen on folds of train only. The table goes to benchmarks/results/seeds.json, where rows of other methods stay.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from animals import Animals, Values, add_first_seed, arguments, call, earlier, print_rows, progress, scored, seeds_of
from guidance import adder
from tables import with_kept_rows
from voc_animals import constant_background

from igcam.commands.fit import fit
from igcam.core.validation import with_setting
from igcam.data.sample import Dataset
from igcam.metrics.results import Row, write_results
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "seeds.json"
METHODS = ("cam-tail", "hfpl")
LEVELS = tuple(0.05 * step for step in range(1, 13))
"""Background scores that the true masks choose from."""
NOTES = {
    "seed": "masks of the maps on train, tags known, background constant 0.15",
    "seed-oracle": "the same, background constant picked with the true masks",
    "igcam": "IG-CAM guided by the maps",
}


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.add_argument("--methods", default=",".join(METHODS), help="names with commas between")
    parser.add_argument("--set", action="append", default=[], help="METHOD.OPTION=VALUE, to try others than defaults")
    add_first_seed(parser)
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run all methods for each seed and print the table; each method is written as soon as it is done."""
    animals, seconds = Animals(given), 0.0
    methods = given.methods.split(",")
    values = earlier(RESULTS, given.first_seed, [f"{method}/" for method in methods])
    for seed in seeds_of(given):
        for method in methods:
            seconds += one_method(animals, method, seed, values)
            if not given.quick:
                write(animals, values, seconds)
    print_rows(rows_of(values))


def one_method(animals: Animals, method: str, seed: int, values: Values) -> float:
    """Fit a method, and IG-CAM guided by its maps, and add their numbers.

    Returns:
        Seconds of their stages as the runs noted them, so that a resumed benchmark tells the same.
    """
    add, options = adder(values, seed), animals.options(seed)
    settings = [setting for setting in animals.arguments.set if setting.startswith(f"{method}.")]
    seeds = animals.learn(method, animals.train, with_setting(replace(options, method=method), *settings))
    add(f"{method}/seed/train", *scored(seeds.file("masks"), animals.train))
    values.setdefault(f"{method}/seed-oracle/train/miou", []).append(oracle(seeds, animals.train))
    values.setdefault(f"{method}/minutes", []).append(float(seeds.facts(method)["seconds"]) / 60)
    guided = fit(
        animals.train,
        animals.folder(f"seed-{seed}") / f"igcam-{method}",
        with_setting(
            options, f"igcam.maps={method}", *(setting.replace(method, "igcam.maps", 1) for setting in settings)
        ),
        bank=animals.arguments.bank,
        earlier=seeds.path,
        split="voc-animals train",
        progress=progress(),
    )
    add(f"{method}/igcam/val/notags", *animals.on_val(guided))
    # Of stages that both have, the first run did the work.
    stages = {stage.name: run for run in (guided, seeds) for stage in run.options.stages}
    return sum(float(run.facts(stage)["seconds"]) for stage, run in stages.items())


def oracle(run: RunFolder, dataset: Dataset) -> float:
    """Return the mIoU in percent of the constant background that the true masks prefer."""
    maps = RunArtefacts(run).load_array(run.options.entry.maps)[:, 1:].astype(np.float32)
    return max(constant_background(maps, dataset, level)[0] for level in LEVELS)


def rows_of(values: Values) -> list[Row]:
    """Return a row for each name, with its unit and note."""
    return [
        Row.from_values(name, numbers, "min" if name.endswith("/minutes") else "%", NOTES.get(name.split("/")[1], ""))
        for name, numbers in values.items()
    ]


def write(animals: Animals, values: Values, seconds: float) -> None:
    """Put these values into the results, where other rows stay."""
    ledger = animals.ledger(
        "see the ids",
        seconds,
        method="see the ids: METHOD/seed, and METHOD/igcam, guided by its maps",
        regime="seed: tail; igcam: a frozen network, guided by the maps of the tail",
        threshold_rule="seed: constant 0.15; seed-oracle: the best constant; igcam: background trained as a class",
    )
    write_results(RESULTS, ledger, with_kept_rows(RESULTS, rows_of(values)))


if __name__ == "__main__":
    main()
