"""Built-in scenes: small pictures with exact masks that show what is hard in weakly supervised segmentation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_json
from igcam.core.validation import options
from igcam.data.images import save_jpeg, save_png
from igcam.data.masks import write_mask
from igcam.data.synthetic.creatures import HEADS, SUITS
from igcam.data.synthetic.drawing import Canvas, draw_object
from igcam.data.synthetic.textures import GROUNDS, draw_ground, rgb
from igcam.data.tags import write_tag_table

SCENE_CLASSES: tuple[str, ...] = tuple(sorted(HEADS))

_MIN_CONTRAST = 27.0
_MAX_OBJECTS = 8


@options
class SceneOptions:
    """Appearance of the scenes, and errors in their tags."""

    size: int = 128
    """Height and width in pixels, 48 to 2048."""
    classes: tuple[str, ...] = ("fox", "frog", "owl", "panda", "pig")
    """Classes in the order of their indices, from `SCENE_CLASSES`."""
    min_objects: int = 1
    """Fewest objects in a scene, at least 1."""
    max_objects: int = 3
    """Most objects in a scene, at most 8; one that nowhere shows 60% of itself is left out."""
    smallest: float = 0.34
    """Length of the smallest body, as a fraction of the side of the picture, at least 0.2."""
    largest: float = 0.56
    """Length of the largest body, as a fraction of the side of the picture, at most 0.75."""
    bound_class: str | None = "frog"
    """Class that mostly co-occurs with one background; None for no such class."""
    bound_background: str = "pond"
    """That background, a key of `GROUNDS`."""
    bound_share: float = 0.9
    """Fraction of the class's scenes with that background; scenes without the class have it with 1 - this."""
    texture: float = 1.0
    """Contrast of backgrounds and suit patterns: 0 is flat, 1 as designed."""
    wrong_tags: float = 0.0
    """Fraction of scenes that get one wrong tag."""
    missing_tags: float = 0.0
    """Fraction of scenes with two or more classes that lack one of their tags."""

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise ValueError(f"scene options: {'; '.join(problems)}")


@dataclass(frozen=True)
class Scene:
    """One picture with its full annotation; H = W = `SceneOptions.size`."""

    image: NDArray[np.uint8]
    """uint8 (H, W, 3), RGB."""
    mask: NDArray[np.uint8]
    """uint8 (H, W): 0 background, 1..C classes; exact to the pixel, so there is no 255."""
    instances: NDArray[np.uint8]
    """uint8 (H, W): 0 background, 1..n objects from front to back."""
    heads: NDArray[np.bool_]
    """bool (H, W): the heads, the only discriminative parts."""
    tags: tuple[int, ...]
    """True tags: sorted class indices, from 0."""
    given_tags: tuple[int, ...]
    """Tags with the simulated errors."""
    background: str
    """Name of the background, a key of `GROUNDS`."""


def make_scene(index: int, seed: int = 0, options: SceneOptions | None = None) -> Scene:
    """Draw one scene; it depends only on its index, the seed and the options.

    The options `wrong_tags` and `missing_tags` do not change the picture. IgcamError: the index or seed is negative.
    """
    options = options or SceneOptions()
    if index < 0 or seed < 0:
        raise IgcamError(f"scene: index and seed must be at least 0, got {index} and {seed}")
    rng = np.random.default_rng([seed, index, 0])
    count = int(rng.integers(options.min_objects, options.max_objects + 1))
    wanted = rng.integers(len(options.classes), size=count)
    names = [options.classes[label] for label in wanted]
    background = _choose_background(rng, names, options)
    suits = rng.permutation(_visible_suits(background))
    canvas = Canvas(draw_ground(background, rng, options.size, options.texture))
    # Lower objects are nearer, so place them from the bottom up.
    lows = np.sort(rng.random(count))[::-1]
    for name, label, low, suit in zip(names, wanted, lows, suits[:count], strict=True):
        unit = 0.5 * options.size * rng.uniform(options.smallest, options.largest)
        sprite = draw_object(rng, name, str(suit), unit, options.texture)
        canvas.place(rng, sprite, int(label) + 1, float(low))
    tags = tuple(sorted({label - 1 for label in canvas.labels}))
    return Scene(
        image=canvas.finish(rng),
        mask=np.array([0, *canvas.labels]).astype(np.uint8)[canvas.instances],
        instances=canvas.instances,
        heads=canvas.heads,
        tags=tags,
        given_tags=_with_tag_errors(np.random.default_rng([seed, index, 1]), tags, options),
        background=background,
    )


def write_scenes(
    folder: str | Path, count: int, seed: int = 0, options: SceneOptions | None = None, *, masks: bool = True
) -> Path:
    """Write scenes to a new or empty folder of photos with a table of tags, all of it or nothing; return the folder.

    Files: photos/NAME.jpg, tags.csv (`image,tags`, with the simulated errors), scenes.json (the request; for
    each scene its background, true and given tags) and, with `masks`, masks/NAME.png (palette) and
    instances/NAME.png (grey). A folder that holds the same request already is left as it is. Pass
    `options.classes` to `read_folder`, which otherwise sorts the names. More scenes begin with the same ones.

    Raises:
        IgcamError: The folder has other content or cannot be written, or the count is below 1.
    """
    options = options or SceneOptions()
    folder = Path(folder)
    if count < 1:
        raise IgcamError(f"scenes: count must be at least 1, got {count}")
    plain = {**asdict(options), "classes": list(options.classes)}
    request = {"count": count, "seed": seed, "masks": masks, "options": plain}
    if _holds(folder, request):
        return folder
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        _write_all(part, request, options)
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except OSError as error:
        raise IgcamError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _write_all(folder: Path, request: dict[str, Any], options: SceneOptions) -> None:
    table: dict[str, list[str]] = {}
    rows = []
    for index in range(request["count"]):
        name = f"scene-{index:05d}"
        scene = make_scene(index, request["seed"], options)
        given = [options.classes[tag] for tag in scene.given_tags]
        true = [options.classes[tag] for tag in scene.tags]
        table[f"{name}.jpg"] = given
        rows.append({"name": name, "background": scene.background, "tags": true, "given_tags": given})
        save_jpeg(folder / "photos" / f"{name}.jpg", scene.image)
        if request["masks"]:
            write_mask(folder / "masks" / f"{name}.png", scene.mask)
            save_png(folder / "instances" / f"{name}.png", scene.instances)
    write_tag_table(folder / "tags.csv", table)
    write_json(folder / "scenes.json", {**request, "scenes": rows})


def _holds(folder: Path, request: dict[str, Any]) -> bool:
    """Return whether a folder holds these scenes already; other content is an error."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    written = folder / "scenes.json"
    found = read_json(written) if written.is_file() else None
    if not isinstance(found, dict) or any(found.get(key) != value for key, value in request.items()):
        raise IgcamError(f"{folder}: must be new, empty or hold the same scenes, but has other content")
    return True


def _problems(options: SceneOptions) -> Iterator[str]:
    known, classes = ", ".join(SCENE_CLASSES), options.classes
    if not 48 <= options.size <= 2048:
        yield f"size must be 48 to 2048 pixels, got {options.size}"
    if not classes or len(set(classes)) != len(classes) or not set(classes) <= set(SCENE_CLASSES):
        yield f"classes must be one or more of {known}, each once, got {', '.join(classes) or 'none'}"
    if not 1 <= options.min_objects <= options.max_objects <= _MAX_OBJECTS:
        limits = f"{options.min_objects} to {options.max_objects}"
        yield f"objects must be 1 <= min <= max <= {_MAX_OBJECTS}, got {limits}"
    if not 0.2 <= options.smallest <= options.largest <= 0.75:
        yield f"sizes must be 0.2 <= smallest <= largest <= 0.75, got {options.smallest} to {options.largest}"
    if options.bound_class is not None and options.bound_class not in classes:
        yield f"bound_class must be one of the classes or None, got {options.bound_class}"
    if options.bound_background not in GROUNDS:
        yield f"bound_background must be one of {', '.join(GROUNDS)}, got {options.bound_background}"
    for name in ("bound_share", "texture", "wrong_tags", "missing_tags"):
        if not 0 <= getattr(options, name) <= 1:
            yield f"{name} must be 0 to 1, got {getattr(options, name)}"
    if options.wrong_tags > 0 and len(classes) <= options.max_objects:
        yield f"wrong_tags need more classes than objects, got {len(classes)} and {options.max_objects}"
    if options.missing_tags > 0 and min(len(classes), options.max_objects) < 2:
        yield f"missing_tags need two objects of two classes, got {options.max_objects} of {len(classes)}"


def _choose_background(rng: np.random.Generator, present: list[str], options: SceneOptions) -> str:
    if options.bound_class is None:
        return str(rng.choice(list(GROUNDS)))
    others = [name for name in GROUNDS if name != options.bound_background]
    share = options.bound_share if options.bound_class in present else 1 - options.bound_share
    return options.bound_background if rng.random() < share else str(rng.choice(others))


@cache
def _visible_suits(background: str) -> tuple[str, ...]:
    """Return the suit colours with enough contrast to a background in CIE Lab."""
    ground = draw_ground(background, np.random.default_rng(0), 64, 1.0)
    colours = np.array([ground.mean(axis=(0, 1)), *(rgb(code) for code in SUITS.values())])
    lab = cv2.cvtColor((colours[None] / 255).astype(np.float32), cv2.COLOR_RGB2Lab)[0]
    distance = np.linalg.norm(lab[1:] - lab[0], axis=1)
    return tuple(name for name, far in zip(SUITS, distance, strict=True) if far >= _MIN_CONTRAST)


def _with_tag_errors(rng: np.random.Generator, tags: tuple[int, ...], options: SceneOptions) -> tuple[int, ...]:
    """Return the tags with a true one dropped and a wrong one added, each with its probability."""
    wrong, missing = rng.random(2) < (options.wrong_tags, options.missing_tags)
    given = set(tags)
    if missing and len(tags) > 1:
        given.remove(int(rng.choice(tags)))
    absent = [label for label in range(len(options.classes)) if label not in tags]
    if wrong and absent:
        given.add(int(rng.choice(absent)))
    return tuple(sorted(given))
