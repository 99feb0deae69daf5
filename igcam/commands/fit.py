"""`fit`: from photos, tags and cues to a run folder with heads, masks and metrics, stage by stage, for any method."""

from __future__ import annotations

import math
from pathlib import Path

from igcam.commands.evaluate import evaluate
from igcam.commands.run import Run
from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_json
from igcam.core.progress import Progress, no_progress
from igcam.data.sample import Dataset
from igcam.methods.options import FitOptions
from igcam.runs.folder import RunFolder
from igcam.runs.ledger import run_ledger
from igcam.runs.reuse import reuse_stages
from igcam.runs.stage_masks import write_stage_masks
from igcam.runs.work import RunWork, run_stages


def fit(
    dataset: Dataset,
    out: str | Path,
    options: FitOptions | None = None,
    *,
    bank: str | Path | None = None,
    earlier: str | Path | None = None,
    split: str = "train",
    progress: Progress = no_progress,
) -> Run:
    """Train on tags and cues, and write masks of the training images.

    The same call again resumes an interrupted run: finished stages are not repeated, and the result is that of an
    undisturbed run.

    Args:
        dataset: Images without tags are left out. Cues of all kinds guide; truth is only used for metrics.
        out: The run folder.
        options: Method, network and all else; defaults to `FitOptions()`.
        bank: Folder of the feature bank, which runs may share; default: OUT/bank.
        earlier: Another run, whose stages are reused where they would come out the same: new cues change neither
            features nor classifier.
        split: Name of these images in the ledger.
        progress: Called with what is being done, the number done and the number to do.

    Returns:
        The finished run.

    >>> dataset = igcam.read_folder("photos", "tags.csv", "masks")
    >>> run = igcam.fit(dataset, "runs/new", small)
    >>> list(run.metrics())
    ['cam', 'guide', 'reweight', 'sharpen', 'crf']

    Raises:
        IgcamError: There are no tagged images, a class has none, weights cannot be had, OUT holds another run,
            or a file cannot be read or written.
    """
    options = options or FitOptions()
    dataset = dataset.tagged()
    _check_tags(dataset)
    source = None if earlier is None else RunFolder.open(earlier)
    with Run(out).locked():
        run = Run.begin(out, options, dataset)
        run.log(f"fit: {len(dataset)} images, classes {', '.join(dataset.classes)}")
        if source is not None:
            reuse_stages(run, source, dataset, bank=bank is None)
        work = RunWork(run, options, dataset, bank, progress)
        run_stages(work, options.stages)
        write_stage_masks(work, dataset)
        _write_metrics(run, options, dataset, split, progress)
    return run


def _check_tags(dataset: Dataset) -> None:
    if len(dataset) < 2:
        raise IgcamError(f"fit: needs at least 2 tagged images, got {len(dataset)}")
    counts = dataset.tag_matrix().sum(axis=0)
    empty = [name for name, count in zip(dataset.classes, counts, strict=True) if count == 0]
    if empty:
        raise IgcamError(f"fit: no image is tagged with {', '.join(empty)}; leave the class out of --classes")


def _write_metrics(run: RunFolder, options: FitOptions, dataset: Dataset, split: str, progress: Progress) -> None:
    """Write metrics.json of each stage and of the run, and images.json of the last stage, where truth is known."""
    known = sum(sample.truth is not None for sample in dataset)
    if not known or run.file("metrics.json").exists():
        return
    results = {}
    seconds, steps = 0.0, [stage.name for stage in options.stages]
    for position, stage in enumerate(options.mask_stages):
        seconds += sum(run.facts(name)["seconds"] for name in steps[: steps.index(stage) + 1])
        steps = steps[steps.index(stage) + 1 :]
        shown, spent = options.mask_stages[: position + 1], round(seconds, 1)
        ledger = run_ledger(
            options, dataset, split=split, split_size=known, tags_at_inference=True, stages=shown, wall_seconds=spent
        )
        file = run.file("stages", stage, "metrics.json")
        result = evaluate(run.file("stages", stage, "masks"), dataset, ledger, file, progress=progress)
        results[stage] = read_json(file)
        run.log(f"{stage}: mIoU {100 * result.scores.miou:.2f}, Boundary IoU {100 * result.boundary.miou:.2f}")
        known_images = {name: value for name, value in result.images.items() if not math.isnan(value)}
        scores = [{"name": name, "miou": 100 * value} for name, value in known_images.items()]
        write_json(run.file("images.json"), {"scores": scores})
    write_json(run.file("metrics.json"), {"method": options.entry.name, "stages": results})
