"""What a distilled segmenter is worth beside the head whose masks it has learnt, on the animals of VOC 2012, no tags.

Runs are those of benchmarks/guidance.py, and go on where they are; frozen ResNet-50, 384 px. Options were chosen on
train, by photos that were held out; val is scored once. The table goes to benchmarks/results/distill.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from animals import Animals, Values, arguments, call, print_rows, progress, scored
from guidance import MODES, adder, fitted
from tables import with_kept_rows

from igcam.commands.distill import distill
from igcam.commands.predict import PredictOptions, predict
from igcam.core.files import read_json
from igcam.methods.distill import DistillOptions
from igcam.metrics.results import Row, write_results

RESULTS = Path(__file__).parent / "results" / "distill.json"
NOTES = {
    "head": "the head of the run, by igcam label",
    "segmenter": "the segmenter, by igcam predict; drawn by the same steps",
    "minutes": "distillation on this machine, its features included where no other run has computed them",
}


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.add_argument("--modes", default="tags,masks5,full", help="names with commas between, see guidance.py")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run all modes for each seed, print and write the table."""
    start = time.perf_counter()
    animals = Animals(given)
    values: Values = {}
    for seed in range(given.seeds):
        for mode in given.modes.split(","):
            one_mode(animals, mode, seed, values)
    rows = [
        Row.from_values(name, numbers, "min" if name.endswith("minutes") else "%", NOTES[name.split("/")[1]])
        for name, numbers in values.items()
    ]
    asked = {mode: MODES[mode] for mode in given.modes.split(",")}
    ledger = animals.ledger(
        "val",
        time.perf_counter() - start,
        method=f"igcam and {DistillOptions().segmenter.decoder} distilled from it, see the ids: MODE/model/split",
        cues={kind: round(share * len(animals.train)) for kind, share in asked.values() if kind},
        annotation_seconds=0,
    )
    if not given.quick:
        write_results(RESULTS, ledger, with_kept_rows(RESULTS, rows))
    print_rows(rows)


def one_mode(animals: Animals, mode: str, seed: int, values: Values) -> None:
    """Fit and distil one mode with one seed, and add the numbers of both models."""
    run_of_mode, _ = fitted(animals, mode, animals.options(seed))
    add = adder(values, seed)
    add(f"{mode}/head/val/notags", *animals.on_val(run_of_mode))
    quick = DistillOptions(seed=seed, epochs=1, min_steps=10)
    chosen = quick if animals.arguments.quick else DistillOptions(seed=seed)
    folder = distill(run_of_mode, chosen, bank=animals.arguments.bank, progress=progress())
    masks = run_of_mode.file("val-segmenter")
    predict(animals.val, run_of_mode, masks, PredictOptions(model="segmenter"), progress=progress())
    add(f"{mode}/segmenter/val/notags", *scored(masks, animals.val))
    values.setdefault(f"{mode}/minutes", []).append(read_json(folder / "training.json")["seconds"] / 60)


if __name__ == "__main__":
    main()
