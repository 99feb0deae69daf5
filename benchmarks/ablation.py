"""Guidance, influence and boundary enhancement on and off in all eight combinations, tags only, with two controls.

Animals of VOC 2012, frozen ResNet-50, 384 px. Ids are ablation/GIB/..., each letter 0 or 1: G the guide stage, I the
weights from influence, B the multi-scale boundary enhancement; the CRF is off in all of them. With I off the last
round of learning still takes place, unweighted, so that no combination has more rounds. Val is scored without tags.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from animals import Animals, Values, add_first_seed, arguments, call, earlier, maps_only, print_rows, seeds_of

from igcam.methods.options import FitOptions
from igcam.metrics.results import Row, write_results

RESULTS = Path(__file__).parent / "results" / "ablation.json"
NOTES = {
    "shuffled-weights": "control of 111: the images' influence weights dealt out at random",
    "shuffled-proposals": "control of 111: every image has the proposals of another",
}


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    add_first_seed(parser)
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run all combinations for each seed, print and write the table; each seed is written as soon as it is done."""
    start = time.perf_counter()
    animals = Animals(given)
    values = earlier(RESULTS, given.first_seed, ["ablation/"])
    for seed in seeds_of(given):
        options = animals.options(seed)
        for guidance in (0, 1):
            for influence in (0, 1):
                name = f"ablation-{guidance}{influence}"
                run = animals.learn(name, animals.train, switched(options, bool(guidance), bool(influence)))
                for boundary in (0, 1):
                    add(values, animals, run, f"{guidance}{influence}{boundary}", boundary)
        for control in NOTES:
            run = animals.learn(f"ablation-{control}", animals.train, controlled(options, control))
            add(values, animals, run, control, 1)
        rows = [
            Row.from_values(name, numbers, "%", NOTES.get(name.split("/")[1], "")) for name, numbers in values.items()
        ]
        seconds = time.perf_counter() - start
        ledger = animals.ledger("val", seconds, crf=None, stages=(), threshold_rule="background trained as a class")
        if not given.quick:
            write_results(RESULTS, ledger, rows)
        print_rows(rows)


def switched(options: FitOptions, guidance: bool, influence: bool) -> FitOptions:
    """Return the options with guidance and influence on or off."""
    short = maps_only(options).leave_out([] if guidance else ["guide"])
    reweight = replace(short.chosen.reweight, images=influence, locations=influence)
    return replace(short, method=replace(short.chosen, reweight=reweight))


def controlled(options: FitOptions, control: str) -> FitOptions:
    """Return the options of all three innovations with one of them dealt out at random."""
    whole = switched(options, True, True)
    if control == "shuffled-weights":
        shuffled = replace(whole.chosen.reweight, shuffled=True, locations=False)
        return replace(whole, method=replace(whole.chosen, reweight=shuffled))
    guide = whole.chosen.guide
    guide = replace(guide, objectness=replace(guide.objectness, shuffled=True))
    return replace(whole, method=replace(whole.chosen, guide=guide))


def add(values: Values, animals: Animals, run: object, name: str, boundary: int) -> None:
    """Score one combination on val, without tags."""
    miou, bands = animals.on_val(run, stages=("sharpen",) if boundary else ())  # type: ignore[arg-type]
    values.setdefault(f"ablation/{name}/val/notags/miou", []).append(miou)
    values.setdefault(f"ablation/{name}/val/notags/boundary-iou", []).append(bands)
    print(f"{time.strftime('%H:%M:%S')} {name}: {miou:.2f}, boundary {bands:.2f}", flush=True)


if __name__ == "__main__":
    main()
