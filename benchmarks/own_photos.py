"""The way of a user with photos and tags only, command by command, with what each prints: the page docs/own-photos.md.

200 photos of the animals of VOC 2012 and a table of their tags: check, fit, label, distill, predict other photos,
export to COCO, and open that with pycocotools. Everything goes by the command line, as a user would.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from animals import CLASSES, SHARED

from igcam.data.formats.voc import read_voc
from igcam.data.masks import write_mask
from igcam.data.sample import Dataset
from igcam.data.tags import write_tag_table

OPENED = """\
from pycocotools.coco import COCO
coco = COCO("coco/annotations.json")
print(len(coco.imgs), "photos,", len(coco.anns), "objects of", ", ".join(item["name"] for item in coco.cats.values()))
print("mask of the first:", coco.annToMask(next(iter(coco.anns.values()))).shape)
"""


def main() -> None:
    """Parse the command line, lay out the photos and run the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "voc-animals", help="VOC root")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights" / "resnet50_imagenet_v1.safetensors")
    parser.add_argument("--out", type=Path, default=Path("runs/own-photos"), help="working folder, new or empty")
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--other", type=int, default=222, help="photos to predict")
    arguments = parser.parse_args()
    if arguments.out.exists() and any(arguments.out.iterdir()):
        sys.exit(f"{arguments.out}: must be new or empty, as its commands are timed")
    train, val = (read_voc(arguments.data, split, CLASSES) for split in ("train", "val"))
    lay_out(train.subset(train.names[: arguments.photos]), arguments.out / "photos", arguments.out / "tags.csv")
    lay_out(val.subset(val.names[: arguments.other]), arguments.out / "other", None)
    (arguments.out / "truth").mkdir()
    for sample in val.samples[: arguments.other]:
        if sample.truth is not None:
            # VOC's masks have further classes; here these are background.
            write_mask(arguments.out / "truth" / f"{sample.name}.png", sample.truth.read())
    classes = ",".join(CLASSES)
    weights = arguments.weights.resolve()
    for command in (
        "igcam check photos --tags tags.csv",
        f"igcam fit photos --tags tags.csv --out run --weights {weights}",
        "igcam label photos --tags tags.csv --run run --out masks",
        "igcam distill --run run",
        "igcam predict other --run run --out predicted --model segmenter",
        f"igcam export predicted --images other --classes {classes} --format coco --min-area 400 --out coco",
        f"igcam evaluate predicted --truth truth --classes {classes}",
    ):
        show(command, command.split(), arguments.out, hidden=str(weights))
    show("python opened.py", [sys.executable, "-c", OPENED], arguments.out)


def lay_out(dataset: Dataset, folder: Path, table: Path | None) -> None:
    """Make a folder of photos, and a table of their tags."""
    folder.mkdir(parents=True)
    for sample in dataset:
        (folder / sample.image.name).symlink_to(sample.image.resolve())
    if table is not None:
        write_tag_table(table, {item.name: [dataset.classes[tag] for tag in item.tags or ()] for item in dataset})


def show(shown: str, words: list[str], folder: Path, hidden: str = "") -> None:
    """Print a command, what it prints, and how long it took; end where it fails."""
    start = time.perf_counter()
    # The igcam of this environment, whether it is active or not.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    text = (done.stdout + done.stderr).rstrip()
    seconds = time.perf_counter() - start
    print(f"$ {shown.replace(hidden, 'resnet50.safetensors') if hidden else shown}")
    print(f"{text}\n# {seconds:.0f} s\n", flush=True)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
