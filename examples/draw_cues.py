"""Draw each kind of cue on built-in scenes, above the constraints it puts on locations.

python examples/draw_cues.py docs/images

writes cues.jpg.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.data.cue import BoxCue, Cue, MaskCue, PointCue, ScribbleCue
from igcam.data.images import save_jpeg
from igcam.data.sample import Dataset, Sample
from igcam.data.synthetic.scenes import Scene, SceneOptions, make_scene
from igcam.data.synthetic.simulate import SimulatedKind, SimulateOptions, simulate_cues
from igcam.data.true_objects import TrueObject
from igcam.reporting import mask_overlay, overlay_sheet
from igcam.reporting.overlay import class_colours
from igcam.supervision.constraints import AnnotatedImage

SIZE, GRID = 288, 24
"""Sides of the scenes and of the grid of locations."""
OPTIONS = SceneOptions(size=SIZE, min_objects=3)
COLOURS = class_colours(len(OPTIONS.classes))
HEADINGS = {
    "point": "a point",
    "scribble": "a scribble",
    "box": "a box",
    "object-mask": "mask of an object",
    "mask": "mask of the photo",
}
"""Kind -> what stands above its column."""
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class SceneTruth:
    """The true mask of a scene, which knows its objects."""

    scene: Scene

    def read(self) -> NDArray[np.uint8]:
        """Return the class ids, uint8 (SIZE, SIZE)."""
        return self.scene.mask

    def objects(self) -> list[TrueObject]:
        """Return the objects from front to back."""
        found = []
        for instance in np.unique(self.scene.instances[self.scene.instances > 0]).tolist():
            region = self.scene.instances == instance
            found.append(TrueObject(int(self.scene.mask[region][0]), instance, region))
        return found


def draw(folder: Path, scenes: Sequence[int]) -> None:
    """Write cues.jpg: two rows for each scene."""
    rows: list[list[Picture | None]] = []
    for index in scenes:
        scene = make_scene(index, options=OPTIONS)
        sample = Sample("scene", Path("scene.jpg"), scene.tags, truth=SceneTruth(scene))
        dataset = Dataset(OPTIONS.classes, (sample,))
        cues = {
            kind: simulate_cues(dataset, kind, options=SimulateOptions(pen=5, background_point=True))["scene"]
            for kind in get_args(SimulatedKind)
        }
        rows.append([drawn_on(scene.image, cues[kind]) for kind in HEADINGS])
        rows.append([constrained_locations(scene.image, cues[kind]) for kind in HEADINGS])
    names = ["cues", "constrained locations"] * len(scenes)
    sheet = overlay_sheet(rows, list(HEADINGS.values()), names, OPTIONS.classes, width=200)
    save_jpeg(folder / "cues.jpg", sheet)


def drawn_on(photo: Picture, cues: Sequence[Cue]) -> Picture:
    """Draw cues in the colours of their classes; those of the background are white."""
    masks = np.zeros(photo.shape[:2], np.uint8)
    for cue in cues:
        if isinstance(cue, MaskCue):
            masks = np.maximum(masks, cue.source.read() * np.uint8(cue.label or 1))
    picture = mask_overlay(photo, masks, len(COLOURS) - 1) if masks.any() else photo.copy()
    if any(cue.label is None for cue in cues):
        # A mask of the whole photo constrains its background too.
        picture[masks == 0] //= 3
    for cue in cues:
        colour = COLOURS[cue.label].tolist() if cue.label else (255, 255, 255)
        if isinstance(cue, BoxCue):
            first, last = (round(cue.left), round(cue.top)), (round(cue.right), round(cue.bottom))
            cv2.rectangle(picture, first, last, (20, 20, 20), 5)
            cv2.rectangle(picture, first, last, colour, 3)
        elif isinstance(cue, PointCue):
            cv2.circle(picture, (int(cue.x), int(cue.y)), 9, (20, 20, 20), -1, cv2.LINE_AA)
            cv2.circle(picture, (int(cue.x), int(cue.y)), 7, colour, -1, cv2.LINE_AA)
        elif isinstance(cue, ScribbleCue):
            line = cue.region(*photo.shape[:2]).astype(np.uint8)
            picture[cv2.dilate(line, np.ones((3, 3), np.uint8)) > 0] = 20
            picture[line > 0] = colour
    return picture


def constrained_locations(photo: Picture, cues: Sequence[Cue]) -> Picture:
    """Colour locations of known class, background in black, and darken those where no class is allowed."""
    constraint = AnnotatedImage(tuple(cues), SIZE, SIZE, len(COLOURS) - 1).at(GRID, GRID)
    boxed = {box.label for box in constraint.boxes}
    open_to = constraint.allowed[sorted(boxed)].max(axis=0) if boxed else np.ones((GRID, GRID), np.float32)
    certain = COLOURS.copy()
    certain[0] = 0
    colours = np.tensordot(constraint.probability, certain.astype(np.float32), (0, 0))
    faded = 0.5 * photo.astype(np.float32) + 110
    faded *= 0.35 + 0.65 * _enlarged(open_to)[..., None]
    opacity = 0.8 * _enlarged(constraint.confidence)[..., None]
    return np.asarray((faded * (1 - opacity) + _enlarged(colours) * opacity).clip(0, 255), np.uint8)


def _enlarged(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(values.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST_EXACT))


if __name__ == "__main__":
    draw(Path(sys.argv[1]), (4,))
