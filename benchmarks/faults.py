"""Malformed files and kill -9: how many of those of tests/suites are refused in a clear line or survived.

Every malformed file goes through each function of igcam that reads its kind. Commands are killed at seeded moments, and
survive if the same command then ends like an undisturbed one, bit by bit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "suites"))

import kills  # noqa: E402
import malformed  # noqa: E402
import tiny_runs  # noqa: E402
from tables import with_kept_rows  # noqa: E402

from igcam.commands.fit import fit  # noqa: E402
from igcam.core.errors import IgcamError  # noqa: E402
from igcam.core.files import read_array, read_json, read_tensors  # noqa: E402
from igcam.data.check import check_folder, has_errors  # noqa: E402
from igcam.data.cues import read_cues  # noqa: E402
from igcam.data.formats.coco import coco_cues, read_coco  # noqa: E402
from igcam.data.formats.folder import read_folder  # noqa: E402
from igcam.data.images import image_size, inspect_image, load_image  # noqa: E402
from igcam.data.masks import MaskFile, class_lookup, read_mask_file  # noqa: E402
from igcam.data.synthetic.scenes import write_scenes  # noqa: E402
from igcam.methods.classifier import Classifier  # noqa: E402
from igcam.metrics.ledger import Ledger  # noqa: E402
from igcam.metrics.results import Row, read_results, write_results  # noqa: E402
from igcam.models.backbone import BackboneOptions, build_backbone  # noqa: E402
from igcam.models.reduction import Reduction  # noqa: E402
from igcam.models.segmentation_head import SegmentationHead  # noqa: E402
from igcam.models.weights import read_weights  # noqa: E402
from igcam.runs.artefacts import RunArtefacts  # noqa: E402
from igcam.runs.dataset_file import read_dataset_file  # noqa: E402
from igcam.runs.folder import RunFolder  # noqa: E402

RESULTS = HERE / "results" / "faults.json"
PARTS = ("inputs", "kills")
ROWS = ("bad-inputs", "clean-errors", "kills", "survived")
KILLS = {"fit": 5, "label": 5, "predict": 5, "distill": 5}
"""How often each command is killed."""

Read = Callable[[Path], object]


def main() -> None:
    """Parse the command line, go through the corpus, print and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="repeatable; default: all")
    parser.add_argument("--quick", action="store_true", help="every fifth file, one kill; writes no results")
    arguments = parser.parse_args()
    quick = arguments.quick
    start = time.perf_counter()
    parts = arguments.part or PARTS
    rows = input_rows(quick) if "inputs" in parts else []
    rows += kill_rows(quick) if "kills" in parts else []
    for row in rows:
        print(f"{row.id:16s} {row.value:8.1f} {row.unit:6s} {row.note}")
    if not quick:
        seconds = round(time.perf_counter() - start, 1)
        everything = sorted(with_kept_rows(RESULTS, rows), key=lambda row: ROWS.index(row.id))
        total = sum(int(row.value) for row in everything if row.id in ("bad-inputs", "kills"))
        ledger = Ledger("faults", "tests/faults", total, False, wall_seconds=seconds)
        write_results(RESULTS, ledger, everything)


def input_rows(quick: bool) -> list[Row]:
    """Go through the corpus."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for file, corpus, readers in kinds(Path(folder)):
            for name, content in list(corpus.items())[:: 5 if quick else 1]:
                worst = through_all(Path(folder) / file, content, readers)
                counts[worst] += 1
                if worst == "other":
                    print(f"{file}: {name}: neither read nor refused in a clear line")
    total = counts.total()
    clean = total - counts["other"]
    note = f"{counts['read']} are read as they are, {counts['refused']} refused in a clear line by at least one reader"
    what = "photos, masks, tables, cues, JSON, arrays, checkpoints, map stores"
    return [Row("bad-inputs", total, "files", note=what), Row("clean-errors", clean, "files", note=note)]


def kill_rows(quick: bool) -> list[Row]:
    """Kill commands and repeat them."""
    counts = {"predict": 1} if quick else KILLS
    killed: Counter[str] = Counter()
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        scenes = write_scenes(Path(folder) / "scenes", tiny_runs.COUNT, options=tiny_runs.SCENES)
        run = fit(tiny_runs.tiny_dataset(scenes), Path(folder) / "run", tiny_runs.tiny_options(), split="scenes")
        works = kills.works(scenes, run.path, run.file("stages", "finetune", "backbone.safetensors"))
        for name, count in counts.items():
            for kill, problem in kills.killed(works[name], Path(folder) / name, count, seed=0):
                killed[name] += 1
                survived += not problem
                if problem:
                    print(f"{name}, {kill}: {problem}")
    note = ", ".join(f"{name} {count}" for name, count in killed.items())
    return [
        Row("kills", killed.total(), "kills", note=f"kill -9 at seeded moments: {note}"),
        Row("survived", survived, "kills", note="repeated, the command gives the undisturbed files, bit by bit"),
    ]


def kinds(folder: Path) -> list[tuple[str, malformed.Corpus, Sequence[Read]]]:
    """Return the name of the file, what may be in it, and what reads it; `folder` gets sound files beside it."""
    photos, run = folder / "photos", folder / "run"
    for name in ("a", "b"):
        (photos / f"{name}.jpg").parent.mkdir(exist_ok=True)
        (photos / f"{name}.jpg").write_bytes(malformed.picture("JPEG"))
    (folder / "m.png").write_bytes(malformed.mask((0, 1)))
    (folder / "sound.csv").write_text("image,tags\na.jpg,x\nb.jpg,y\n")
    run.joinpath("stages", "x").mkdir(parents=True)
    dataset = read_folder(photos, folder / "sound.csv")
    checkpoints = malformed.checkpoints(safetensors.numpy.save({"a": np.ones((2, 3), np.float32)}))
    masks = class_lookup(3)
    return [
        ("x.jpg", malformed.photos(), (inspect_image, load_image, image_size)),
        ("x.png", malformed.masks(), (read_mask_file, lambda path: MaskFile(path, masks).read())),
        ("tags.csv", malformed.tables(), (lambda path: read_folder(photos, path), lambda path: checked(photos, path))),
        ("cues.jsonl", malformed.cue_lines(), (lambda path: read_cues(path, dataset),)),
        ("coco.json", malformed.coco_files(), (lambda path: drawn(photos, path), coco_cues)),
        (
            "x.json",
            malformed.json_files(),
            (read_json, read_results, read_dataset_file, lambda path: drawn(photos, path)),
        ),
        ("run/run.json", malformed.json_files(), (lambda _: RunFolder(run).options, lambda _: RunFolder(run).classes)),
        ("x.npy", malformed.arrays(), (read_array, lambda path: read_array(path, mmap=True))),
        (
            "run/stages/x/x.safetensors",
            checkpoints,
            (
                read_tensors,
                read_weights,
                lambda _: RunArtefacts(RunFolder(run)).load("x/x", Classifier.from_tensors),
                lambda _: RunArtefacts(RunFolder(run)).load("x/x", SegmentationHead.from_tensors),
                lambda _: RunArtefacts(RunFolder(run)).load("x/x", Reduction.from_tensors),
                network,
            ),
        ),
    ]


def through_all(path: Path, content: bytes, readers: Sequence[Read]) -> str:
    """Write a file, read it, and return `other` where a reader fails, `refused` where one refuses, or `read`."""
    path.write_bytes(content)
    outcomes = [outcome(read, path) for read in readers]
    return next((worst for worst in ("other", "refused") if worst in outcomes), "read")


def outcome(read: Read, path: Path) -> str:
    """Read, and tell how it went; a clear refusal is a line, or a headline with one line a finding below it."""
    try:
        read(path)
    except IgcamError as error:
        lines = str(error).splitlines()
        clear = bool(lines[0].strip()) and all(line.startswith("  ") and line.strip() for line in lines[1:])
        return "refused" if clear else "other"
    except Exception as error:
        print(f"{path.name}: {error!r}")
        return "other"
    return "read"


def drawn(photos: Path, path: Path) -> None:
    """Read a COCO file and draw its masks."""
    for sample in read_coco(photos, path):
        if sample.truth is not None:
            sample.truth.read()


def checked(photos: Path, path: Path) -> None:
    """Refuse what `igcam check` finds."""
    if has_errors(check_folder(photos, path)):
        raise IgcamError(f"{path}: has errors")


def network(path: Path) -> None:
    """Load weights into a network."""
    build_backbone(BackboneOptions("resnet10t", weights=path, pretrained=False))


if __name__ == "__main__":
    main()
