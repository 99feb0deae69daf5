"""Draw a contact sheet of built-in scenes, each above its true mask.

python examples/draw_scenes.py docs/images/scenes.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from igcam.data.synthetic.scenes import Scene, SceneOptions, make_scene

_CLASS_COLOURS = ("45424d", "e5733a", "6fb552", "a97f63", "e9e7df", "f4aebb", "8fb8d8", "d8b45c", "8d7bb0")


def main() -> None:
    """Read the command line and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sheet", type=Path, help="the PNG to write")
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="index of the first scene")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    options = SceneOptions()
    indices = arguments.first + np.arange(arguments.rows * arguments.columns).reshape(arguments.rows, -1)
    scenes = [[make_scene(int(index), arguments.seed, options) for index in row] for row in indices]
    lines = [line for row in scenes for line in ([scene.image for scene in row], [truth(scene) for scene in row])]
    sheet = np.concatenate([np.concatenate(line, axis=1) for line in lines])
    # Without the two lowest bits, which hold little but grain, the file is a third smaller.
    Image.fromarray(sheet & 0xFC | 0x02).save(arguments.sheet, optimize=True)


def truth(scene: Scene) -> np.ndarray:
    """Colour the true mask by class, bodies darker than heads, with a line around every object."""
    palette = np.array([list(bytes.fromhex(code)) for code in _CLASS_COLOURS], dtype=np.float32)
    picture = palette[scene.mask]
    picture[~scene.heads & (scene.mask > 0)] *= 0.72
    kernel = np.ones((3, 3), dtype=np.uint8)
    picture[cv2.dilate(scene.instances, kernel) != cv2.erode(scene.instances, kernel)] = palette[0] * 0.6
    return np.asarray(picture.round()).astype(np.uint8)


if __name__ == "__main__":
    main()
