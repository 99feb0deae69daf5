"""What a distilled segmenter is worth beside the head whose masks it has learnt, on the animals of VOC 2012, no tags.

Runs are those of benchmarks/guidance.py, and go on where they are; frozen ResNet-50, 384 px. Options were chosen on
train, by photos that were held out; val is scored once. The table goes to benchmarks/results/distill.json.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from animals import Animals, arguments, call, print_rows, progress, scored, with_cues, without_reweight
from guidance import MODES

from igcam.files import read_json
from igcam.methods.distill import DistillOptions
from igcam.metrics.results import Row, write_results
from igcam.pipeline.distill import distill
from igcam.pipeline.predict import PredictOptions, predict
from igcam.pipeline.run_ledger import run_ledger

HERE = Path(__file__).parent
Values = dict[str, list[float]]
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
    options, train = animals.options(0), animals.train
    ledger = replace(
        run_ledger(options, train, split="voc-animals val", split_size=len(animals.val), tags_at_inference=False),
        seed=None,
        method=f"igcam and {DistillOptions().segmenter.decoder} distilled from it, see the ids: MODE/model/split",
        wall_seconds=round(time.perf_counter() - start, 1),
        cues={
            kind: round(share * len(train))
            for mode, (kind, share) in MODES.items()
            if kind and mode in given.modes.split(",")
        },
        annotation_seconds=0,
    )
    if not given.quick:
        write_results(HERE / "results" / "distill.json", ledger, rows)
    print_rows(rows)


def one_mode(animals: Animals, mode: str, seed: int, values: Values) -> None:
    """Fit and distil one mode with one seed, and add the numbers of both models."""
    options = animals.options(seed)
    kind, share = MODES[mode]
    dataset = with_cues(animals.train, kind, share, seed) if kind else animals.train
    fitted = animals.learn(f"igcam-{mode}", dataset, without_reweight(options) if mode == "full" else options)
    add(values, f"{mode}/head/val/notags", seed, *animals.on_val(fitted))
    quick = DistillOptions(seed=seed, epochs=1, least_steps=10)
    chosen = quick if animals.arguments.quick else DistillOptions(seed=seed)
    folder = distill(fitted, chosen, bank=animals.arguments.bank, progress=progress())
    masks = fitted.file("val-segmenter")
    predict(animals.val, fitted, masks, PredictOptions(model="segmenter"), progress=progress())
    add(values, f"{mode}/segmenter/val/notags", seed, *scored(masks, animals.val))
    values.setdefault(f"{mode}/minutes", []).append(read_json(folder / "training.json")["seconds"] / 60)


def add(values: Values, name: str, seed: int, miou: float, boundary: float) -> None:
    """Note and print mIoU and Boundary IoU."""
    values.setdefault(f"{name}/miou", []).append(miou)
    values.setdefault(f"{name}/boundary-iou", []).append(boundary)
    print(f"{time.strftime('%H:%M:%S')} seed {seed} {name}: {miou:.2f}, boundary {boundary:.2f}", flush=True)


if __name__ == "__main__":
    main()
