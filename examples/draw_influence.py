"""Find wrong tags that were planted in built-in scenes, and draw what shows them.

python examples/draw_influence.py docs/images

writes influence-audit.jpg: the three most suspicious tags that are there, and the three that are not. The features
are colours at each location, so that it takes seconds; a run has those of its network.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.data.images import save_jpeg
from igcam.data.synthetic.scenes import Scene, SceneOptions, make_scene
from igcam.label_quality.suspicion import Suspicion, audit_passes, mean_suspicion
from igcam.models.linear_head import CrossFit, cross_fit
from igcam.reporting import heat_overlay, overlay_sheet, signed_overlay

COUNT, SIZE, GRID, LEVELS = 240, 128, 16, 6
PENALTY = 0.003
PLANTED = 12
"""Wrong tags of each kind."""
Picture = NDArray[np.uint8]
Array = NDArray[np.float64]


def main() -> None:
    """Plant, audit, draw."""
    folder = Path(sys.argv[1])
    scenes = [make_scene(index, options=SceneOptions(size=SIZE)) for index in range(COUNT)]
    classes = SceneOptions().classes
    truth = np.array([[float(c in scene.tags) for c in range(len(classes))] for scene in scenes])
    tags = planted(truth)
    maps = np.stack([colours(scene.image) for scene in scenes])
    maps *= 10 / np.sqrt((maps.mean(axis=(2, 3)) ** 2).sum(axis=1).mean())
    average = maps.mean(axis=(2, 3))
    passes = audit_passes(average, tags, maps.__getitem__)
    found = mean_suspicion(passes)
    fitted = cross_fit(average, tags, PENALTY)
    clear = passes[0].scores.typical(tags)
    rows, names = [], []
    for kind, given in (("wrong", 1), ("missing", 0)):
        order = np.argsort(-np.where(tags == given, found.log_odds, -np.inf), axis=None)[:3]
        for image, c in zip(*np.unravel_index(order, tags.shape), strict=True):
            rows.append(draw(scenes[image], maps[image], fitted, int(image), int(c), clear[c]))
            names.append(caption(classes[c], kind, found, bool(tags[image, c] != truth[image, c]), image, c))
    columns = ("photo", "where the class is seen", "influence: blue helps, red harms")
    sheet = overlay_sheet(rows, columns, names, width=250)
    save_jpeg(folder / "influence-audit.jpg", sheet, 85)
    hits = np.argsort(-found.log_odds, axis=None)[: 2 * PLANTED]
    share = (tags != truth).ravel()[hits].mean()
    print(f"{100 * share:.0f}% of the {2 * PLANTED} most suspicious tags were planted")
    print(f"true tags that are missing: {100 * found.lost:.1f}%, absent classes tagged: {100 * found.added:.1f}%")


def planted(truth: Array) -> Array:
    """Return tags of which PLANTED are taken away and PLANTED are added."""
    random = np.random.default_rng(0)
    tags = truth.copy()
    for value in (0, 1):
        pairs = np.argwhere(truth == value)
        chosen = pairs[random.choice(len(pairs), PLANTED, replace=False)]
        tags[tuple(chosen.T)] = 1 - value
    return tags


def colours(image: Picture) -> Array:
    """Return how much of each cell has each of 216 colours, float64 (216, GRID, GRID)."""
    bins = (image.astype(int) * LEVELS) // 256
    ids = (bins[..., 0] * LEVELS + bins[..., 1]) * LEVELS + bins[..., 2]
    cell = SIZE // GRID
    cells = ids.reshape(GRID, cell, GRID, cell).transpose(0, 2, 1, 3).reshape(GRID, GRID, -1)
    counts = np.stack([np.bincount(pixels, minlength=LEVELS**3) for pixels in cells.reshape(-1, cell * cell)])
    return np.asarray((counts / cell**2).T.reshape(-1, GRID, GRID))


def draw(scene: Scene, feature: Array, fitted: CrossFit, image: int, c: int, clear: float) -> list[Picture | None]:
    """Return the photo, the scores of heads that have not seen it, and its spatial influence."""
    head = fitted.heads[fitted.fold[image]]
    seen = np.tensordot(head.weight[c], feature, 1) + head.bias[c]
    influence = fitted.spatial(image, feature)[c]
    strength = smooth(np.clip(seen, 0, None))
    reach = float(np.quantile(np.abs(influence), 0.98))
    return [
        scene.image,
        heat_overlay(scene.image, strength / max(clear, 1e-6)),
        signed_overlay(scene.image, smooth(influence) / reach),
    ]


def smooth(values: Array) -> Array:
    """Return the map blurred by a cell, as the cells of a network overlap."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), 0.8))


def caption(label: str, kind: str, found: Suspicion, was_planted: bool, image: int, c: int) -> str:
    """Return the line above a row."""
    probability = 1 / (1 + np.exp(-found.log_odds[image, c]))
    word = "planted" if was_planted else "not planted"
    return f"{label}: probably {kind}, {100 * probability:.0f}% ({word})"


if __name__ == "__main__":
    main()
