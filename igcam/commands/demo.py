"""`demo`: CAM, IG-CAM by stage and full supervision on built-in pictures, with nothing to download."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from igcam.commands.evaluate import evaluate
from igcam.commands.fit import fit
from igcam.commands.label import LABEL, label
from igcam.core.files import read_json
from igcam.core.progress import Progress
from igcam.data.formats.folder import read_folder
from igcam.data.sample import Dataset
from igcam.data.synthetic.scenes import SceneOptions, write_scenes
from igcam.data.synthetic.simulate import simulate_cues
from igcam.methods.igcam.guidance import GuideOptions, ObjectnessOptions
from igcam.methods.igcam.method import IgcamOptions
from igcam.methods.igcam.reweighting import ReweightOptions
from igcam.methods.igcam.rounds import RoundOptions
from igcam.methods.options import FitOptions
from igcam.methods.training.finetuning import FinetuneOptions
from igcam.metrics.results import Row, write_results
from igcam.models.backbone import BackboneOptions
from igcam.proposals.objectness import ObjectScoreOptions
from igcam.refine.affinity import DenseAffinityOptions
from igcam.runs.folder import RunFolder
from igcam.runs.ledger import run_ledger
from igcam.supervision.pseudo_labels import PseudoLabelOptions

MASK_SHARE = 0.05
"""Share of the pictures whose mask is given in the mixed mode."""
NAMES = {
    "cam": "CAM",
    "guide": "IG-CAM: guide",
    "reweight": "IG-CAM: + reweight",
    "sharpen": "IG-CAM: + sharpen",
    "crf": "IG-CAM: + CRF",
    "masks5": "IG-CAM: + masks of 5% of the images",
    "full": "full supervision, same head",
}


def demo_options(seed: int) -> FitOptions:
    """Return options for small pictures: a small network, trained from random weights on the tags."""
    # A small network that has seen tags alone groups heads at best: colours tell the objects here.
    colours = DenseAffinityOptions(power=0, colour=14)
    # What it has learnt of a few masks carries less far than with a large network.
    rounds = RoundOptions(rounds=1, mask_weight=0.25, pseudo_labels=PseudoLabelOptions(size=128))
    network = {"channels": [32, 64, 96, 128], "stem_width": 16}
    return FitOptions(
        regime="finetune",
        backbone=BackboneOptions(
            "resnet10t", output_stride=8, pretrained=False, levels=(-3, -2, -1), arguments=network
        ),
        size=128,
        components=(64, 96, 128),
        finetune=FinetuneOptions(
            epochs=6, batch_size=8, learning_rate=3e-3, weight_decay=1e-3, pooling="top", scale=(1, 1), colour=0
        ),
        method=IgcamOptions(
            guide=GuideOptions(
                objectness=ObjectnessOptions(
                    object_score=ObjectScoreOptions(segment_weight=0, border_width=0.9, affinity=colours),
                    affinity=colours,
                    foreground_level=0.3,
                ),
                learn=replace(rounds, rounds=2),
            ),
            reweight=ReweightOptions(learn=rounds),
        ),
        seed=seed,
    )


def demo(
    out: str | Path,
    *,
    seeds: int = 3,
    images: int = 300,
    console: Console,
    progress: Progress,
    after_seed: Callable[[Path], object] = lambda run: None,
) -> Path:
    """Run the demonstration, print its table, and write OUT/summary.json.

    Args:
        out: Holds OUT/seed-S/{scenes,igcam,masks5,full}; the same call goes on where it stopped.
        seeds: Repetitions with other pictures and networks.
        images: Training pictures.
        console: Where the table goes.
        progress: Called with what is being done, the number done and the number to do.
        after_seed: Called with the IG-CAM run of each seed, such as to write its report.

    Returns:
        The summary.
    """
    out = Path(out)
    start = time.perf_counter()
    values: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
    for seed in range(seeds):
        for name, result in _one_seed(out / f"seed-{seed}", seed, images, progress).items():
            values[name].append(result)
        after_seed(out / f"seed-{seed}" / "igcam")
        console.print(f"seed {seed}: done after {time.perf_counter() - start:.0f} s", highlight=False)
        # The first table stands early; what the other seeds say joins it at the end.
        if seed in (0, seeds - 1):
            _print(values, console)
    summary = out / "summary.json"
    _write_summary(summary, values, out / "seed-0" / "igcam", images, time.perf_counter() - start)
    console.print(f"masks: {out / 'seed-0' / 'igcam' / 'masks'}", highlight=False, soft_wrap=True)
    return summary


def _one_seed(folder: Path, seed: int, images: int, progress: Progress) -> dict[str, dict[str, float]]:
    scenes = write_scenes(folder / "scenes", images, seed)
    dataset = read_folder(scenes / "photos", scenes / "tags.csv", scenes / "masks", SceneOptions().classes)
    options = demo_options(seed)
    bank = folder / "bank"
    run = fit(dataset, folder / "igcam", options, bank=bank, split="built-in scenes", progress=progress)
    results = {stage: _means(run, stage) for stage in options.mask_stages}
    # The same trained backbone, so that only the supervision of the head differs.
    trained = run.file("stages", "finetune", "backbone.safetensors")
    frozen = replace(options, regime="frozen", backbone=replace(options.backbone, weights=trained))
    few = dataset.with_cues(simulate_cues(dataset, "mask", share=MASK_SHARE, seed=seed))
    mixed = fit(_blind(few), folder / "masks5", frozen, bank=bank, split="built-in scenes", progress=progress)
    results["masks5"] = _scores(mixed.file("masks"), dataset)
    every = dataset.with_cues(simulate_cues(dataset, "mask", seed=seed))
    # Its own masks are those that it was given, so that they need no refinement.
    full = replace(frozen, without=("reweight", "sharpen", "crf"))
    taught = fit(_blind(every), folder / "full", full, bank=bank, split="built-in scenes", progress=progress)
    refined = replace(LABEL, stages=("sharpen", "crf"))
    label(dataset, taught, folder / "full" / "predicted", refined, bank=bank, progress=progress)
    results["full"] = _scores(folder / "full" / "predicted", dataset)
    return results


def _blind(dataset: Dataset) -> Dataset:
    """Return the data set without its truth, so that only the last masks are scored."""
    return Dataset(dataset.classes, tuple(replace(sample, truth=None) for sample in dataset))


def _scores(masks: Path, dataset: Dataset) -> dict[str, float]:
    result = evaluate(masks, dataset)
    return {"miou": 100 * result.scores.miou, "boundary_iou": 100 * result.boundary.miou}


def _means(run: RunFolder, stage: str) -> dict[str, float]:
    rows = read_json(run.file("metrics.json"))["stages"][stage]["rows"]
    return {row["id"]: row["value"] for row in rows}


def _print(values: dict[str, list[dict[str, float]]], console: Console) -> None:
    seeds = len(values["cam"])
    table = Table(title=f"built-in scenes, training images with their tags, mean of {seeds} seeds [95% interval]")
    table.add_column("")
    table.add_column("mIoU", justify="right")
    table.add_column("Boundary IoU", justify="right")
    for name, words in NAMES.items():
        cells = []
        for metric in ("miou", "boundary_iou"):
            row = Row.from_values(name, [value[metric] for value in values[name]], "%")
            reach = f" [{row.low:.1f}, {row.high:.1f}]" if row.low is not None else ""
            cells.append(f"{row.value:.1f}{reach}")
        table.add_row(words, *cells)
    console.print(table)


def _write_summary(
    path: Path, values: dict[str, list[dict[str, float]]], run: Path, images: int, seconds: float
) -> None:
    opened = RunFolder.open(run)
    dataset = Dataset(opened.classes, ())
    ledger = replace(
        run_ledger(opened.options, dataset, split="built-in scenes", split_size=images, tags_at_inference=True),
        seed=None,
        annotation_seconds=20.0 * images,
        wall_seconds=round(seconds, 1),
    )
    last = {"cam": "cam", "igcam": "sharpen", "igcam-crf": "crf", "masks5": "masks5", "full": "full"}
    last |= {f"igcam/{stage}": stage for stage in ("guide", "reweight", "sharpen")}
    rows = [
        Row.from_values(f"{name}/{key}", [value[metric] for value in values[stage]], "%")
        for name, stage in last.items()
        for key, metric in (("miou", "miou"), ("boundary-iou", "boundary_iou"))
    ]
    rows.append(Row("seconds", seconds, "s", note="all seeds, without installation"))
    write_results(path, ledger, rows)
