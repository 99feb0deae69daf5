"""Draw a sheet of a run: photo, activation map, pseudo label, mask, truth.

python examples/draw_demo.py runs/demo/seed-0/igcam docs/images/demo.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from igcam.data.images import load_image, save_jpeg
from igcam.data.masks import read_mask_file
from igcam.reporting import heat_overlay, mask_overlay, overlay_sheet, probability_overlay
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder


def draw(run: RunFolder, output: Path, pictures: int = 4) -> None:
    """Write a sheet of the first images of a run that have a true mask."""
    dataset = read_dataset_file(run.file("samples.json"))
    maps, labels = (RunArtefacts(run).load_array(name) for name in ("cam/maps", "guide/pseudo_labels"))
    rows = []
    for index, sample in enumerate(dataset.samples[:pictures]):
        photo = load_image(sample.image)
        mask = read_mask_file(run.file("masks", f"{sample.name}.png"))
        truth = mask if sample.truth is None else sample.truth.read()
        rows.append(
            [
                photo,
                heat_overlay(photo, np.asarray(maps[index, 1:], np.float32).max(axis=0)),
                probability_overlay(photo, np.asarray(labels[index], np.float32)),
                mask_overlay(photo, mask, len(dataset.classes)),
                mask_overlay(photo, truth, len(dataset.classes)),
            ]
        )
    columns = ("photo", "activation map", "pseudo label", "mask", "truth")
    save_jpeg(output, overlay_sheet(rows, columns, classes=dataset.classes, width=150))


if __name__ == "__main__":
    draw(RunFolder.open(sys.argv[1]), Path(sys.argv[2]))
