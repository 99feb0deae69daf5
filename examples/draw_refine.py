"""Draw what each step of refinement does to coarse maps of built-in scenes.

python examples/draw_refine.py docs/images

writes refine.jpg (all steps side by side), refine-affinity.jpg, refine-walk.jpg, refine-pyramid.jpg and refine-crf.jpg.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.data.images import save_jpeg
from igcam.data.synthetic.scenes import SceneOptions, make_scene
from igcam.refine import (
    CRF_PRESETS,
    CRFParameters,
    DenseAffinityOptions,
    Level,
    by_rows,
    dense_affinity,
    dense_crf,
    local_affinity,
    sharpen,
    walk,
)
from igcam.refine.filters import guided_filter
from igcam.refine.stack import resized
from igcam.reporting import heat_overlay, mask_overlay, overlay_sheet, probability_overlay

SIZE, GRID, FINE = 256, 16, 32
"""Sides of the scenes, of their coarse maps and of the grid on which all locations are compared."""
OPTIONS = SceneOptions(size=SIZE, min_objects=2)
Picture = NDArray[np.uint8]
Array = NDArray[np.float32]
Row = list[Picture | None]


@dataclass(frozen=True)
class Case:
    """A scene and the coarse map that is refined."""

    photo: Picture
    """uint8 (SIZE, SIZE, 3)."""
    truth: Picture
    """uint8 (SIZE, SIZE)."""
    labels: Picture
    """Ids of the classes of the map, uint8 (K,)."""
    coarse: Array
    """float32 (K, GRID, GRID): the true mask, blurred."""
    position: tuple[int, int]
    """Row and column of a location of the fine grid that lies on an object."""

    @classmethod
    def of(cls, index: int, position: tuple[int, int]) -> Case:
        """Make a scene of the built-in data set."""
        scene = make_scene(index, options=OPTIONS)
        labels = np.unique(scene.mask)
        shares = np.stack([cv2.resize((scene.mask == k).astype(np.float32), (GRID, GRID)) for k in labels])
        blurred = np.stack([cv2.GaussianBlur(layer, (0, 0), 1.0) for layer in shares])
        return cls(scene.image, scene.mask, labels, blurred / blurred.sum(axis=0), position)

    def mask(self, probability: Array) -> Picture:
        """Lay the best classes of a map of any size over the photo."""
        full = resized(probability, SIZE, SIZE)
        ids = self.labels[full.argmax(axis=0)]
        return mask_overlay(self.photo, np.asarray(ids, np.uint8), len(OPTIONS.classes))

    def shares(self, probability: Array) -> Picture:
        """Lay the probabilities of a map of any size over the photo."""
        every = np.zeros((len(OPTIONS.classes) + 1, *probability.shape[1:]), np.float32)
        every[self.labels] = probability
        return probability_overlay(self.photo, every)

    def marked(self, picture: Picture) -> Picture:
        """Draw a ring around the location."""
        row, column = ((2 * at + 1) * SIZE // (2 * FINE) for at in self.position)
        ringed = cv2.circle(picture.copy(), (column, row), 7, (255, 255, 255), 3, cv2.LINE_AA)
        return np.asarray(cv2.circle(ringed, (column, row), 7, (20, 20, 20), 1, cv2.LINE_AA), np.uint8)


def affinities(case: Case) -> Row:
    """Show the affinity of a location with all others, and of a pixel with its neighbours."""
    small = np.asarray(cv2.resize(case.photo, (FINE, FINE), interpolation=cv2.INTER_AREA), np.uint8)
    flat = np.ones((1, FINE, FINE), np.float32)
    row, column = case.position
    pictures = [case.marked(case.photo)]
    for colour, radius in ((0.0, 4.0), (20.0, 1e6), (20.0, 4.0)):
        options = DenseAffinityOptions(power=0, colour=colour, radius=radius)
        alike = dense_affinity(flat, small, options)[row * FINE + column].reshape(FINE, FINE)
        pictures.append(case.marked(heat_overlay(case.photo, alike)))
    transition = local_affinity(small.astype(np.float32))[[row * FINE + column]].toarray().reshape(FINE, FINE)
    squares = cv2.resize(transition / transition.max(), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    pictures.append(case.marked(heat_overlay(case.photo, squares)))
    return list(pictures)


def walks(case: Case) -> Row:
    """Show a coarse map propagated along affinities of colour and distance."""
    small = np.asarray(cv2.resize(case.photo, (FINE, FINE), interpolation=cv2.INTER_AREA), np.uint8)
    options = DenseAffinityOptions(power=0, colour=8, radius=1.5)
    transition = by_rows(dense_affinity(np.ones((1, FINE, FINE), np.float32), small, options))
    seeds = resized(case.coarse, FINE, FINE).reshape(len(case.coarse), -1)
    forms = ({"steps": 0}, {"steps": 5}, {"steps": 40}, {"steps": 40, "restart": 0.1}, {"steps": 5, "competition": 2.0})
    ends = [walk(transition, seeds, **form) for form in forms]  # type: ignore[arg-type]
    return [case.shares((end / end.sum(axis=0)).reshape(-1, FINE, FINE)) for end in ends]


def pyramid(case: Case) -> list[Row]:
    """Show the mask of every level above its uncertainty."""
    start = Level(SIZE // GRID, case.coarse, np.zeros((GRID, GRID), np.float32), np.zeros((GRID, GRID), bool))
    levels = [start, *sharpen(case.photo, case.coarse)]
    unsure: Row = [heat_overlay(case.photo, level.uncertainty) for level in levels[1:]]
    return [[case.mask(level.probability) for level in levels], [None, *unsure]]


def crf(case: Case) -> Row:
    """Show the dense CRF after some updates, and by another parameter, on the coarse map alone."""
    start = np.clip(resized(case.coarse, SIZE, SIZE), 0, 1)
    usual = CRF_PRESETS["afa"]
    forms: list[CRFParameters] = [replace(usual, iterations=updates) for updates in (1, 3, 10)]
    forms.append(replace(usual, bilateral_colour=30))
    return [case.mask(start), *(case.mask(dense_crf(case.photo, start, form)) for form in forms)]


def overview(case: Case) -> Row:
    """Show all steps one after the other, and the truth."""
    enlarged = resized(case.coarse, SIZE, SIZE)
    levels = sharpen(case.photo, case.coarse)
    final = levels[-1].probability
    return [
        case.mask(enlarged),
        case.mask(guided_filter(case.photo, enlarged / enlarged.sum(axis=0), 16)),
        case.mask(levels[0].probability),
        case.mask(final),
        case.mask(dense_crf(case.photo, final, CRF_PRESETS["afa"])),
        mask_overlay(case.photo, case.truth, len(OPTIONS.classes)),
    ]


SCENES = ((1, (19, 23)), (4, (9, 15)), (13, (20, 8)))
"""Number of each scene, and the location in it whose affinities are drawn."""


def draw(folder: Path, scenes: tuple[tuple[int, tuple[int, int]], ...] = SCENES) -> None:
    """Write all sheets."""
    cases = [Case.of(index, position) for index, position in scenes]
    levels = sharpen(cases[0].photo, cases[0].coarse)
    steps = ["coarse map", "dense level", *(f"stride {level.stride}" for level in levels[1:])]
    sheets: dict[str, tuple[list[Row], list[str]]] = {
        "refine": (
            [overview(case) for case in cases],
            ["coarse map", "guided filter", "dense level", "pyramid", "+ CRF", "truth"],
        ),
        "refine-affinity": (
            [affinities(case) for case in cases],
            ["a location", "by distance", "by colour", "their product", "local affinity"],
        ),
        "refine-walk": (
            [walks(case) for case in cases],
            ["seeds", "5 steps", "40 steps", "40, restart 0.1", "5, competition 2"],
        ),
        "refine-pyramid": ([row for case in cases[:2] for row in pyramid(case)], steps),
        "refine-crf": (
            [crf(case) for case in cases],
            ["coarse map", "1 update", "3 updates", "10 updates", "colour width 30"],
        ),
    }
    for name, (rows, columns) in sheets.items():
        save_jpeg(folder / f"{name}.jpg", overlay_sheet(rows, columns, width=150), quality=85)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
