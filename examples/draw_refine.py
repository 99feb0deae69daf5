"""Draw what each step of refinement does to a coarse map of a built-in scene.

python examples/draw_refine.py docs/images/refine.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from igcam.data.images import save_jpeg
from igcam.data.scenes import SceneOptions, make_scene
from igcam.refine import CRF_PRESETS, dense_crf, sharpen
from igcam.refine.guided_filter import guided_filter
from igcam.reporting import mask_overlay, overlay_sheet


def draw(output: Path, size: int = 256, grid: int = 16) -> None:
    """Write a sheet of three scenes."""
    options = SceneOptions(size=size, min_objects=2)
    rows = []
    for index in (1, 4, 13):
        scene = make_scene(index, options=options)
        labels = np.unique(scene.mask)
        shares = np.stack([cv2.resize((scene.mask == k).astype(np.float32), (grid, grid)) for k in labels])
        blurred = np.stack([cv2.GaussianBlur(layer, (0, 0), 1.0) for layer in shares])
        coarse = blurred / blurred.sum(axis=0)
        enlarged = np.stack([cv2.resize(layer, (size, size)) for layer in coarse])
        steps = [
            enlarged,
            guided_filter(scene.image, enlarged / enlarged.sum(axis=0), 16),
            np.stack([cv2.resize(layer, (size, size)) for layer in sharpen(scene.image, coarse)[0].probability]),
            sharpen(scene.image, coarse)[-1].probability,
        ]
        steps.append(dense_crf(scene.image, np.clip(steps[-1], 0, 1), CRF_PRESETS["afa"]))
        masks = [labels[step.argmax(axis=0)].astype(np.uint8) for step in steps]
        rows.append([mask_overlay(scene.image, mask, len(options.classes)) for mask in [*masks, scene.mask]])
    columns = ("coarse map", "guided filter", "dense level", "pyramid", "+ CRF", "truth")
    save_jpeg(output, overlay_sheet(rows, columns, classes=options.classes, width=150), quality=88)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
