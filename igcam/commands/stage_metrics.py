"""Step `metrics`: the scores of the training images after each stage, where their truth is known."""

from __future__ import annotations

import math

from igcam.commands.evaluate import evaluate
from igcam.core.files import read_json, write_json
from igcam.core.progress import Progress
from igcam.data.sample import Dataset
from igcam.methods.options import FitOptions
from igcam.runs.folder import RunFolder
from igcam.runs.ledger import run_ledger


def write_stage_metrics(run: RunFolder, options: FitOptions, dataset: Dataset, split: str, progress: Progress) -> None:
    """Write metrics.json in each stage's folder and in the run's, and images.json for the last stage.

    Nothing is written where no image has a true mask.
    """
    known = sum(sample.truth is not None for sample in dataset)
    if not known or run.file("metrics.json").exists():
        return
    results = {}
    seconds, steps = 0.0, [stage.name for stage in options.stages]
    for position, stage in enumerate(options.mask_stages):
        seconds += sum(run.facts(name)["seconds"] for name in steps[: steps.index(stage) + 1])
        steps = steps[steps.index(stage) + 1 :]
        ledger = run_ledger(
            options,
            dataset,
            split=split,
            split_size=known,
            tags_at_inference=True,
            stages=options.mask_stages[: position + 1],
            wall_seconds=round(seconds, 1),
        )
        file = run.file("stages", stage, "metrics.json")
        result = evaluate(run.file("stages", stage, "masks"), dataset, ledger, file, progress=progress)
        results[stage] = read_json(file)
        run.log(f"{stage}: mIoU {100 * result.scores.miou:.2f}, Boundary IoU {100 * result.boundary.miou:.2f}")
        if position == len(options.mask_stages) - 1:
            scores = [
                {"name": name, "miou": 100 * value} for name, value in result.images.items() if not math.isnan(value)
            ]
            write_json(run.file("images.json"), {"scores": scores})
    write_json(run.file("metrics.json"), {"method": options.entry.name, "stages": results})
