"""Drawing of the creatures of the built-in scenes, and their layout in a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from igcam.data.synthetic.creatures import BODIES, FIRST_HEAD_SLOT, HEAD_COLOURS, HEADS, SUITS, Body, Patch, disc
from igcam.data.synthetic.textures import PATTERNS, rgb

_SUIT, _ACCENT, _EDGE, _LIMB, _SCARF, _SCARF_EDGE = range(1, 7)
_EDGES = {_SUIT: _EDGE, _SCARF: _SCARF_EDGE}
_SUPERSAMPLING = 4
_SHIFT = 4
_LIKES_TO_BE_ALONE = 0.7
_MIN_SHOWN = 0.6
_MIN_FACE_SHOWN = 0.9
_ATTEMPTS = 100


@dataclass(frozen=True)
class Sprite:
    """One object with its alpha channel."""

    colour: np.ndarray
    """float32 (h, w, 3), 0..255, premultiplied by the cover."""
    cover: np.ndarray
    """float32 (h, w): fraction of each pixel that the object covers."""
    head: np.ndarray
    """float32 (h, w): fraction that its head covers."""


def _turn(rng: np.random.Generator, tilt: float) -> np.ndarray:
    """Return a random 2x2 transform: a tilt of up to `tilt` degrees and a little stretch."""
    angle = np.radians(rng.uniform(-tilt, tilt))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(rotation * rng.uniform(0.92, 1.08, 2))


def _darker(colour: np.ndarray, share: float) -> np.ndarray:
    return np.asarray(colour * share + np.array([50.0, 40.0, 55.0]) * (1 - share))


def _palette(rng: np.random.Generator, suit: str, strength: float) -> np.ndarray:
    """Return the colour of every slot: uint8 (256, 3)."""
    palette = np.zeros((256, 3))
    names = [name for name in SUITS if name != suit]
    base, other, scarf = (
        np.array(rgb(SUITS[name]), dtype=float) for name in (suit, *rng.choice(names, 2, replace=False))
    )
    light = np.array(rgb("fff6e6"), dtype=float)
    accent = (0.45 * base + 0.55 * light, _darker(base, 0.72), 0.5 * base + 0.5 * other)[rng.integers(3)]
    palette[_SUIT] = base
    palette[_ACCENT] = base + strength * (accent - base)
    palette[_EDGE] = _darker(base, 0.62)
    palette[_LIMB] = _darker(base, 0.82)
    palette[_SCARF] = scarf
    palette[_SCARF_EDGE] = _darker(scarf, 0.7)
    for index, code in enumerate(HEAD_COLOURS):
        palette[FIRST_HEAD_SLOT + index] = rgb(code)
    return np.asarray(palette.round()).astype(np.uint8)


def draw_object(rng: np.random.Generator, name: str, suit: str, unit: float, strength: float) -> Sprite:
    """Draw one creature of a class of `HEADS` on a random body, suit pattern, tilt and side; return it cropped.

    `suit` is a key of `SUITS`, `unit` half the length of the body in pixels, and `strength` the contrast of the
    suit's pattern: 0 is plain, 1 as designed.
    """
    body = BODIES[str(rng.choice(list(BODIES)))]
    pattern = str(rng.choice(list(PATTERNS)))
    repeats = rng.uniform(2.6, 3.8)
    pose = _turn(rng, 14) * (rng.choice([-1.0, 1.0]), 1.0) * unit
    nod = _turn(rng, 12) * body.head * rng.uniform(0.95, 1.1)
    patches = [Patch(outline, _LIMB) for outline in body.limbs]
    patches += [Patch(body.outline, _SUIT), Patch(_scarf(body), _SCARF)]
    patches += [Patch(patch.points @ nod.T + body.neck, patch.slot) for patch in HEADS[name]]
    return _render(patches, pose, pattern, repeats, _palette(rng, suit, strength))


def _scarf(body: Body) -> np.ndarray:
    """Return an ellipse on the line from the neck to the centre of the body, across it."""
    neck = np.array(body.neck)
    tilt = np.degrees(np.arctan2(-neck[0], -neck[1]))
    shift = 0.62 * neck / np.linalg.norm(neck)
    return np.asarray(neck + body.head * (disc(0, 0, 0.95, 0.5, tilt) - shift))


def _render(patches: list[Patch], pose: np.ndarray, pattern: str, repeats: float, palette: np.ndarray) -> Sprite:
    """Fill the patches from back to front on a fine grid of palette slots, then average to pixels."""
    fine = pose * _SUPERSAMPLING
    outlines = [patch.points @ fine.T for patch in patches]
    line = max(1, round(0.035 * math.sqrt(abs(np.linalg.det(fine)))))
    corners = np.concatenate(outlines)
    low = (np.floor((corners.min(axis=0) - line) / _SUPERSAMPLING) - 1) * _SUPERSAMPLING
    width, height = np.ceil((corners.max(axis=0) - low + line) / _SUPERSAMPLING).astype(int) + 1
    slots = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), dtype=np.uint8)
    for outline, patch in zip(outlines, patches, strict=True):
        points = [np.round((outline - low) * (1 << _SHIFT)).astype(np.int32)]
        cv2.fillPoly(slots, points, patch.slot, cv2.LINE_8, _SHIFT)
        if patch.slot == _SUIT:
            # Coordinates of every cell of the fine grid on the body, in repeats of the pattern.
            sides = zip(slots.shape, low[::-1], strict=True)
            y, x = (np.arange(side, dtype=np.float32) + np.float32(start) for side, start in sides)
            back = (np.linalg.inv(fine) * repeats).astype(np.float32)
            u, v = (row[0] * x[None] + row[1] * y[:, None] for row in back)
            slots[(slots == _SUIT) & PATTERNS[pattern](u, v)] = _ACCENT
        if patch.slot in _EDGES:
            cv2.polylines(slots, points, True, _EDGES[patch.slot], line, cv2.LINE_8, _SHIFT)

    white = np.uint8(255)
    colour, filled, face = (
        cv2.resize(layer, (int(width), int(height)), interpolation=cv2.INTER_AREA).astype(np.float32)
        for layer in (np.take(palette, slots, axis=0), white * (slots > 0), white * (slots >= FIRST_HEAD_SLOT))
    )
    light = np.linspace(1.12, 0.86, height)[:, None] + np.linspace(0.04, -0.04, width)[None]
    shaded = np.minimum(colour * light[..., None], filled[..., None]).astype(np.float32)
    return Sprite(shaded, filled / 255, face / 255)


class Canvas:
    """A picture in progress: objects are placed from front to back, then painted from back to front."""

    def __init__(self, ground: np.ndarray) -> None:
        self.picture = ground.astype(np.float32)
        self.instances = np.zeros(ground.shape[:2], dtype=np.uint8)
        self.heads = np.zeros(ground.shape[:2], dtype=bool)
        self.labels: list[int] = []
        self._placed: list[tuple[Sprite, int, int]] = []

    def place(self, rng: np.random.Generator, sprite: Sprite, label: int, low: float) -> None:
        """Put a sprite behind the others at a random position where enough of it is visible, or leave it out.

        `label` is its mask id; `low` its preferred height, 0 at the top, 1 at the bottom.
        """
        size = len(self.instances)
        height, width = sprite.cover.shape
        body = sprite.cover >= 0.5
        head = body & (sprite.head >= 0.5)
        min_face = _MIN_FACE_SHOWN * np.count_nonzero(head)
        whole = np.count_nonzero(body)
        alone = rng.random() < _LIKES_TO_BE_ALONE
        for attempt in range(_ATTEMPTS):
            down = low if attempt % 2 == 0 else rng.random()
            top = round(down * (size - 0.9 * height) - 0.05 * height)
            left = round(rng.random() * (size - 0.9 * width) - 0.05 * width)
            there, here = _overlap(top, left, sprite, size)
            free = self.instances[there] == 0
            shown, face = body[here] & free, head[here] & free
            minimum = 1.0 if alone and attempt < _ATTEMPTS // 2 else _MIN_SHOWN
            if np.count_nonzero(shown) >= minimum * whole and np.count_nonzero(face) >= min_face:
                self.labels.append(label)
                self.instances[there][shown] = len(self.labels)
                self.heads[there] |= face
                self._placed.append((sprite, top, left))
                return

    def finish(self, rng: np.random.Generator) -> np.ndarray:
        """Paint shadows and objects from back to front, then grain: uint8 (H, W, 3)."""
        size = len(self.instances)
        for sprite, top, left in reversed(self._placed):
            self._shade(sprite, top, left)
            there, here = _overlap(top, left, sprite, size)
            self.picture[there] *= 1 - sprite.cover[here][..., None]
            self.picture[there] += sprite.colour[here]
        grain = rng.standard_normal((size, size, 1), dtype=np.float32)
        return np.asarray(np.clip(self.picture + 2.5 * grain + 0.5, 0, 255)).astype(np.uint8)

    def _shade(self, sprite: Sprite, top: int, left: int) -> None:
        height, width = sprite.cover.shape
        shadow: np.ndarray = np.zeros(self.instances.shape, dtype=np.float32)
        centre = (left + width // 2, round(top + 0.94 * height))
        cv2.ellipse(shadow, centre, (round(0.46 * width), max(2, round(0.09 * height))), 0, 0, 360, 0.45, -1)
        shadow = np.asarray(cv2.GaussianBlur(shadow, (0, 0), 0.03 * len(shadow)))
        self.picture *= 1 - shadow[..., None] * (1 - np.array([40, 35, 60], dtype=np.float32) / 255)


def _overlap(top: int, left: int, sprite: Sprite, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part of the picture under a sprite, and the part of the sprite inside the picture."""
    there, here = [], []
    for start, side in zip((top, left), sprite.cover.shape, strict=True):
        first, last = max(start, 0), min(start + side, size)
        there.append(slice(first, last))
        here.append(slice(first - start, last - start))
    return (there[0], there[1]), (here[0], here[1])
