"""Networks fine-tuned as a whole on the masks of each kind of cue, on the animals of VOC 2012; for a GPU.

The masks are those of finished runs of benchmarks/guidance.py (frozen ResNet-50, 384 px); here ResNet-50 and decoder
learn them together at 448 px, beside full supervision by the same schedule. The schedule was chosen by
benchmarks/finetuned_choice.py on photos held out of train; val is scored once. Several modes run at once, each in a
process of its own. The table goes to benchmarks/results/guidance_gpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from animals import Animals, Values, add_first_seed, arguments, call, earlier, print_rows, progress, scored, seeds_of
from guidance import MODES, shares_of_full

from igcam.commands.distill import distill
from igcam.commands.predict import PhotoPredictor, PredictOptions, without_tags
from igcam.commands.predicting.models import SegmenterPredictor
from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_json
from igcam.core.parallel import available_cores, default_workers, in_parallel, shared_cores
from igcam.data.images import load_image
from igcam.data.masks import write_mask
from igcam.data.sample import Dataset, Sample
from igcam.methods.base import Refinement
from igcam.methods.distill import DistillOptions
from igcam.metrics.results import Row, write_results
from igcam.runs.folder import RunFolder
from igcam.runs.refined_masks import final_mask
from igcam.supervision.pseudo_labels import restrict_to_tags

RESULTS = Path(__file__).parent / "results" / "guidance_gpu.json"
FINETUNED = DistillOptions(regime="finetune", size=448)
"""What was chosen on photos held out of train."""
NOTES = {
    "train": "the network's own masks of the training photos, tags known; drawn cues are not put in",
    "val": "photos that nothing was chosen on, no tags",
}


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    modes = [mode for mode in MODES if mode not in ("masks2.5", "masks50")]
    parser.add_argument("--modes", default=",".join(modes), help="names with commas between, see guidance.py")
    parser.add_argument("--jobs", type=int, default=1, help="modes at once")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file for the table")
    parser.add_argument("--only", help="one mode of the first seed, in this process")
    add_first_seed(parser)
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run all modes for each seed, print and write the table."""
    if given.only:
        one_mode(Animals(given), given.only, given.first_seed)
        return
    start = time.perf_counter()
    modes = given.modes.split(",")
    tasks = [(mode, seed) for seed in seeds_of(given) for mode in modes]
    in_processes([["--only", mode, "--first-seed", str(seed)] for mode, seed in tasks], given.jobs)
    animals = Animals(given)
    values = earlier(given.results, given.first_seed, [f"gpu/{mode}/" for mode in modes])
    devices = set()
    for mode, seed in tasks:
        done = read_json(done_file(animals, mode, seed))
        devices.add(done["device"])
        for name, number in done["values"].items():
            values.setdefault(name, []).append(number)
    write(animals, values, ", ".join(sorted(devices)), time.perf_counter() - start)


def in_processes(tasks: Sequence[Sequence[str]], jobs: int) -> None:
    """Run this script again for each task, with its arguments added, so many at once on a share of the cores each.

    Raises:
        IgcamError: One has failed.
    """
    # Threads of several processes on the same cores wait for each other.
    threads = str(cores_each(jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    command = [sys.executable, "-u", str(Path(sys.argv[0]).resolve()), *sys.argv[1:]]

    def work(task: Sequence[str]) -> int:
        return subprocess.run([*command, *task], check=False, env=environment).returncode

    with ThreadPoolExecutor(jobs) as threads_of_jobs:
        for task, code in zip(tasks, threads_of_jobs.map(work, tasks), strict=True):
            if code != 0:
                raise IgcamError(f"{' '.join(task)}: has failed, see above")


def cores_each(jobs: int) -> int:
    """Return how many cores each of so many processes at once has."""
    return max(1, available_cores() // jobs)


def write(animals: Animals, values: Values, device: str, seconds: float) -> None:
    """Print the table, and write it with its ledger."""
    rows = [
        Row.from_values(name, numbers, "s" if name.endswith("seconds") else "%", NOTES.get(name.split("/")[2], ""))
        for name, numbers in values.items()
    ]
    shares = shares_of_full([replace(row, id=row.id.removeprefix("gpu/")) for row in rows])
    rows += [replace(row, id=f"gpu/{row.id}") for row in shares]
    ledger = animals.ledger(
        "val",
        seconds,
        threshold_rule="background trained as a class",
        method=f"{FINETUNED.segmenter.decoder}, fine-tuned as a whole on the masks of igcam, on {device}; see the ids",
        resolution=f"{FINETUNED.size} x {FINETUNED.size}",
        regime="finetune",
        annotation_seconds=0,
    )
    if not animals.arguments.quick:
        write_results(animals.arguments.results, ledger, rows)
    print_rows(rows)


def one_mode(animals: Animals, mode: str, seed: int) -> None:
    """Distil one run and write its numbers; nothing is done where they are written."""
    file = done_file(animals, mode, seed)
    if file.exists():
        return
    source, folder = RunFolder.open(run_path(animals, mode, seed)), file.parent
    options = replace(FINETUNED, seed=seed)
    if animals.arguments.quick:
        options = replace(options, size=64, epochs=1, min_steps=1)
    start = time.perf_counter()
    workers = cores_each(animals.arguments.jobs)
    distill(source, options, out=folder / "segmenter", workers=workers, progress=progress())
    seconds = time.perf_counter() - start
    predictor = SegmenterPredictor.open(folder / "segmenter", PredictOptions().batch_size)
    opened(source, predictor).predict(animals.val, folder / "val")
    draw_tagged(animals.train, predictor, source.options.refinements, folder / "train")
    values = {f"gpu/{mode}/distill/seconds": seconds}
    for name, dataset in (("train/tags", animals.train), ("val/notags", animals.val)):
        miou, boundary = scored(folder / name.split("/")[0], dataset)
        values |= {f"gpu/{mode}/{name}/miou": miou, f"gpu/{mode}/{name}/boundary-iou": boundary}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    write_json(file, {"device": device, "values": values})
    print(f"{time.strftime('%H:%M:%S')} seed {seed}: {json.dumps(values)}", flush=True)


def run_path(animals: Animals, mode: str, seed: int) -> Path:
    """Return the folder of the run whose masks are learnt."""
    return animals.arguments.out / f"seed-{seed}" / f"igcam-{mode}"


def done_file(animals: Animals, mode: str, seed: int) -> Path:
    """Return the file with the numbers of one mode and seed."""
    return animals.folder(f"seed-{seed}") / f"finetuned-{mode}" / "values.json"


def opened(run: RunFolder, predictor: SegmenterPredictor) -> PhotoPredictor:
    """Return what writes masks by a segmenter, with the refinements of a run."""
    options = PredictOptions(model="segmenter")
    return PhotoPredictor("segmenter", without_tags(predictor), run.options.refinements, options)


def draw_tagged(dataset: Dataset, predictor: SegmenterPredictor, refinements: Sequence[Refinement], out: Path) -> None:
    """Write masks of photos whose tags are known."""
    size = predictor.batch_size
    groups = [[*dataset][start : start + size] for start in range(0, len(dataset), size)]
    tags = dict(zip(dataset.names, dataset.tag_matrix(), strict=True))

    def work(group: Sequence[Sample]) -> None:
        images = [load_image(sample.image) for sample in group]
        for sample, image, found in zip(group, images, predictor.predict(images), strict=True):
            scores = restrict_to_tags(found.scores[None], tags[sample.name][None])[0]
            write_mask(out / f"{sample.name}.png", final_mask(image, scores, refinements, found.features))

    workers = default_workers()
    with shared_cores(workers):
        for _ in in_parallel(work, groups, workers):
            pass


if __name__ == "__main__":
    main()
