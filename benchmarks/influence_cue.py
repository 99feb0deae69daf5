"""Masks where `igcam audit --budget` asks for them, against masks on random images, at equal seconds.

Rows cue/... of benchmarks/results/influence.json, where the others stay, and docs/images/next_cues.svg. Animals of
VOC 2012, frozen ResNet-50, 384 px; val is scored without tags. The run of tags alone chooses, and sees no mask. Random
masks are the modes of guidance.py, whose runs are taken where they are finished. About 15 minutes a seed on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from animals import Animals, Values, arguments, call, maps_only, print_rows, with_cues
from chart import LEFT, Chart
from guidance import MODES, fitted
from influence_weights import write

from igcam.commands.next_cues import propose_cues
from igcam.core.files import write_text
from igcam.data.cue import MaskCue
from igcam.data.sample import Dataset
from igcam.methods.options import FitOptions
from igcam.metrics.ledger import ANNOTATION_SECONDS
from igcam.metrics.results import Row
from igcam.runs.folder import RunFolder

FIGURE = Path(__file__).parent.parent / "docs" / "images" / "next_cues.svg"
WIDTH, HEIGHT = 640, 360
SHARES = (0.025, 0.05, 0.1)
"""Budgets: the price of masks on this share of the training images."""
HOWS = {"chosen": "#c1440e", "random": "#2a6f97"}
"""Which images get a mask, and the colour of their line."""
PRICE = ANNOTATION_SECONDS["mask"] - ANNOTATION_SECONDS["tags"]
"""Seconds a mask, beyond the tags."""
REFINEMENTS = ("sharpen", "crf")
"""How all masks of val are drawn."""
Curves = Mapping[str, Sequence[float]]
"""Of each way of choosing, mIoU with no mask and at every budget."""


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.set_defaults(seeds=5)
    parser.add_argument("--curves", type=int, default=5, help="seeds with all budgets; the others go without the last")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run all budgets for each seed; each seed is written when it is done."""
    start = time.perf_counter()
    animals = Animals(given)
    values: Values = {}
    counts = {share: round(share * len(animals.train)) for share in SHARES}
    for seed in range(1 if given.quick else given.seeds):
        shares = SHARES if seed < given.curves else SHARES[:-1]
        add_seed(animals, seed, {share: counts[share] for share in shares}, values)
        if not given.quick:
            write(rows_of(values, counts))
            write_text(FIGURE, drawn(mean_curves(values, SHARES), counts))
    print_rows(rows_of(values, counts))
    print(f"{time.perf_counter() - start:.0f} s")


def add_seed(animals: Animals, seed: int, counts: Mapping[float, int], values: Values) -> None:
    """Add mIoU and gain with one seed, for masks on these shares and numbers of images."""
    options = animals.options(seed)

    def score(how: str, mode: str, dataset: Dataset) -> tuple[RunFolder, float]:
        run = trained(animals, how, mode, dataset, options)
        stages = None if REFINEMENTS[-1] in run.options.mask_stages else REFINEMENTS
        found = animals.on_val(run, stages=stages)[0]
        print(f"{time.strftime('%H:%M:%S')} seed {seed} {how} {mode}: {found:.2f}", flush=True)
        return run, found

    tags, floor = score("random", "tags", animals.train)
    values.setdefault("cue/0/miou", []).append(floor)
    for share, count in counts.items():
        mode, name = f"masks{100 * share:g}", f"cue/{100 * share:g}"
        images = [item.image for item in propose_cues(tags, count * PRICE + 1, kinds=["mask"])]
        _, chosen = score("chosen", mode, masks_on(animals.train, images))
        _, random = score("random", mode, with_cues(animals.train, *MODES[mode], seed))
        for row, value in (("chosen/miou", chosen), ("random/miou", random), ("gain", chosen - random)):
            values.setdefault(f"{name}/{row}", []).append(value)


def trained(animals: Animals, how: str, mode: str, dataset: Dataset, options: FitOptions) -> RunFolder:
    """Return a trained run; random ones of guidance.py are reused, new ones refine no training masks."""
    if how == "random" and RunFolder(animals.folder(f"seed-{options.seed}") / f"igcam-{mode}").is_done("masks"):
        return fitted(animals, mode, options)[0]
    return animals.learn(f"{how}-{mode}", dataset, maps_only(options), after=("igcam-tags", "random-tags", "cam"))


def masks_on(dataset: Dataset, images: Sequence[int]) -> Dataset:
    """Give the true masks of these images as cues."""
    samples = [dataset.samples[image] for image in images]
    return dataset.with_cues({item.name: (MaskCue(source=item.truth),) for item in samples if item.truth})


def mean_curves(values: Values, shares: Sequence[float]) -> Curves:
    """Return the curve of each way of choosing over these budgets, mean over the seeds that have them all."""
    names = {how: ["cue/0/miou", *(f"cue/{100 * share:g}/{how}/miou" for share in shares)] for how in HOWS}
    seeds = min(len(values[name]) for row in names.values() for name in row)
    return {how: [float(np.mean(values[name][:seeds])) for name in row] for how, row in names.items()}


def rows_of(values: Values, counts: Mapping[float, int]) -> list[Row]:
    """Return the rows of every seed, and at what price chosen masks reach what random ones do in the mean.

    Where they do not within the budget, there is no such row.
    """
    rows = [Row.from_values(name, found, "mIoU" if name.endswith("gain") else "%") for name, found in values.items()]
    prices = [0.0, *(count * PRICE for count in counts.values())]
    for position, share in enumerate(SHARES, start=1):
        curves = mean_curves(values, SHARES[:position])
        seconds = seconds_to_reach(curves["random"][position], curves["chosen"], prices)
        if seconds is not None:
            note = "price of the same mIoU, chosen / random, on the curves of the means over seeds"
            rows.append(Row(f"cue/{100 * share:g}/seconds-ratio", seconds / prices[position], "x", note=note))
    return rows


def seconds_to_reach(wanted: float, points: Sequence[float], prices: Sequence[float]) -> float | None:
    """Return the price at which a curve, straight between its points, first reaches a score, or None."""
    if points[0] >= wanted:
        return prices[0]
    for position in range(1, len(points)):
        if points[position] >= wanted:
            share = (wanted - points[position - 1]) / (points[position] - points[position - 1])
            return prices[position - 1] + share * (prices[position] - prices[position - 1])
    return None


def drawn(curves: Curves, counts: Mapping[float, int]) -> str:
    """Return the figure as SVG: hours spent on masks against mIoU, a line each way of choosing."""
    hours = [0.0, *(count * PRICE / 3600 for count in counts.values())]
    room = WIDTH - LEFT - 110
    every = [score for points in curves.values() for score in points]
    chart = Chart(WIDTH, HEIGHT, every, lambda hour: LEFT + 15 + room * hour / hours[-1])
    parts = []
    for how, colour in HOWS.items():
        points = [chart.position(hour, score) for hour, score in zip(hours, curves[how], strict=True)]
        parts.append(chart.line(points, colour))
        parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>' for x, y in points]
        parts.append(f'<text x="{points[-1][0] + 10}" y="{points[-1][1] + 4}" fill="{colour}">{how}</text>')
    marks = {hour: f"{hour:.1f} h ({count})" for hour, count in zip(hours, (0, *counts.values()), strict=True)}
    return chart.drawn(parts, marks, 1, "hours spent on masks (images)")


if __name__ == "__main__":
    main()
