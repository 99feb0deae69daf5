"""The schedule of benchmarks/finetuned.py, chosen on a fifth of train that is held out; val is not looked at.

A network learns the masks that runs of benchmarks/guidance.py gave four fifths of the training photos, and is scored on
the rest without tags; beside them a decoder on the frozen network, at 384 px. Rows are
`CANDIDATE/MODE/share-SHARE/miou`: SHARE is how far a tagger counts, which is fitted to the network after it has learnt.
Candidates that are done are not repeated, so that those that need a GPU can come from there. The table goes to
benchmarks/results/finetuned_choice.json.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from animals import Animals, arguments, call, print_rows, progress, scored
from finetuned import FINETUNED, cores_each, in_processes, opened, run_path

from igcam.commands.distill import distill
from igcam.commands.predicting.models import SegmenterPredictor
from igcam.core.files import read_json, write_json
from igcam.data.sample import Dataset
from igcam.metrics.results import Row, write_results
from igcam.models.image_prior import fit_tagger
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.dataset_file import dataset_to_plain, read_dataset_file
from igcam.runs.folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "finetuned_choice.json"
FOLD = 5
SHARES = (0.0, 0.5, 1.0)
CANDIDATES: dict[str, dict[str, object]] = {
    "frozen": {"regime": "frozen", "size": 384},
    "rate-5e-3": {"learning_rate": 5e-3, "backbone_rate": 0.1, "scale": (0.5, 2.0)},
    "rate-2e-3": {"learning_rate": 2e-3, "backbone_rate": 0.1, "scale": (0.5, 2.0)},
    "rate-1e-3": {"learning_rate": 1e-3, "backbone_rate": 0.1, "scale": (0.5, 2.0)},
    "rate-1e-3-scale-0.7": {"learning_rate": 1e-3, "backbone_rate": 0.1, "scale": (0.7, 1.5)},
    "rate-2e-3-backbone-0.02": {"learning_rate": 2e-3, "backbone_rate": 0.02, "scale": (0.5, 2.0)},
    "rate-1e-3-backbone-0.02-scale-0.7": {"learning_rate": 1e-3, "backbone_rate": 0.02, "scale": (0.7, 1.5)},
    "rate-2e-3-backbone-0.005-scale-0.7": {"learning_rate": 2e-3, "backbone_rate": 0.005, "scale": (0.7, 1.5)},
    "rate-5e-3-backbone-0.002-scale-0.7": {"learning_rate": 5e-3, "backbone_rate": 0.002, "scale": (0.7, 1.5)},
    "rate-5e-3-backbone-0.0005-scale-0.7": {"learning_rate": 5e-3, "backbone_rate": 0.0005, "scale": (0.7, 1.5)},
}
"""What differs from benchmarks/finetuned.py."""


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.add_argument("--modes", default="masks5", help="names with commas between, see guidance.py")
    parser.add_argument("--candidates", default=",".join(CANDIDATES), help="names with commas between")
    parser.add_argument("--jobs", type=int, default=1, help="candidates at once")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file for the table")
    parser.add_argument("--only", help="one CANDIDATE/MODE, in this process")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Run all candidates, print and write the table."""
    animals = Animals(given)
    if given.only:
        one_candidate(animals, *given.only.split("/"))
        return
    pairs = [(name, mode) for mode in given.modes.split(",") for name in given.candidates.split(",")]
    for mode in given.modes.split(","):
        part_of_run(animals, mode)
    in_processes([["--only", f"{name}/{mode}"] for name, mode in pairs], given.jobs)
    rows = [
        Row.from_values(name, [number], "%")
        for pair in pairs
        for name, number in read_json(done_file(animals, *pair)).items()
    ]
    if not given.quick:
        ledger = animals.ledger(
            "train",
            0,
            method="a segmenter distilled from igcam, see the ids",
            tags_at_inference=False,
            regime="finetune",
            resolution=f"{FINETUNED.size} x {FINETUNED.size}",
            threshold_rule="background trained as a class",
        )
        # Candidates may have been computed on other machines.
        count = len(held_out_of(animals.train, False))
        split = f"voc-animals train, every {FOLD}th photo, held out"
        write_results(given.results, replace(ledger, split=split, split_size=count, wall_seconds=None), rows)
    print_rows(rows)


def part_of_run(animals: Animals, mode: str) -> RunFolder:
    """Make a run of the photos that are not held out, from one of all, or open it."""
    source = RunFolder.open(run_path(animals, mode, 0))
    part = RunFolder(folder_of(animals) / f"part-{mode}")
    if part.is_done("masks"):
        return part
    dataset = read_dataset_file(source.file("samples.json"))
    kept = np.arange(len(dataset)) % FOLD != 0
    asked = read_json(source.file("run.json"))
    # The run's head for objects has seen those that are held out.
    write_json(part.file("run.json"), {**asked, "options": {**asked["options"], "object_prior": 0.0}})
    write_json(part.file("samples.json"), dataset_to_plain(dataset.subset(np.array(dataset.names)[kept].tolist())))
    whole, own = RunArtefacts(source), RunArtefacts(part)
    confidence = [f"{stage.name}/confidence" for stage in source.options.stages if "confidence" in stage.leaves][-1]
    own.leave(confidence, whole.load_array(confidence)[kept])
    tagger = fit_tagger(whole.load_array("features/pooled")[kept], dataset.tag_matrix()[kept], 0)
    own.leave("tagger/tagger", tagger.state_dict())
    part.path.joinpath("masks").symlink_to(source.file("masks").resolve())
    write_json(part.done_file("masks"), {})
    return part


def one_candidate(animals: Animals, name: str, mode: str) -> None:
    """Learn by one schedule, and write the scores on the photos that were held out."""
    file = done_file(animals, name, mode)
    if file.exists():
        return
    part, folder = part_of_run(animals, mode), file.parent
    options = replace(FINETUNED, **CANDIDATES[name], tag_prior=1.0)  # type: ignore[arg-type]
    if animals.arguments.quick:
        options = replace(options, size=64, epochs=1, min_steps=1)
    workers = cores_each(animals.arguments.jobs)
    distill(part, options, out=folder / "segmenter", bank=animals.arguments.bank, workers=workers, progress=progress())
    held_out = held_out_of(animals.train, animals.arguments.quick)
    values: dict[str, float] = {}
    for share in SHARES:
        predictor = SegmenterPredictor.open(folder / "segmenter")
        if predictor.segmenter.prior is not None:
            predictor.segmenter.prior.share = share
        opened(part, predictor).predict(held_out, folder / f"share-{share}")
        miou, boundary = scored(folder / f"share-{share}", held_out)
        values |= {f"{name}/{mode}/share-{share}/miou": miou, f"{name}/{mode}/share-{share}/boundary-iou": boundary}
    write_json(file, values)
    print(f"{time.strftime('%H:%M:%S')} {values}", flush=True)


def held_out_of(train: Dataset, quick: bool) -> Dataset:
    """Return the photos that are held out."""
    return train if quick else train.subset(train.names[::FOLD])


def folder_of(animals: Animals) -> Path:
    """Return the folder for all this."""
    return animals.folder("finetuned-choice")


def done_file(animals: Animals, name: str, mode: str) -> Path:
    """Return the file with the numbers of one candidate."""
    return folder_of(animals) / f"{name}-{mode}" / "values.json"


if __name__ == "__main__":
    main()
