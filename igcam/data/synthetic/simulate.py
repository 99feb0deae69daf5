"""Cues as an annotator would draw them, made from true masks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from igcam.core.errors import IgcamError, check_ranges
from igcam.data import strokes
from igcam.data.cue import BoxCue, Cue, MaskCue, PointCue, ScribbleCue
from igcam.data.masks import MaskSource, tags_in_mask
from igcam.data.objects import ObjectMask, find_objects
from igcam.data.sample import Dataset, Sample

SimulatedKind = Literal["point", "box", "scribble", "mask", "object-mask"]
"""Kinds that can be drawn: one click, box, scribble or mask for every object, or the mask of the whole image."""


@dataclass(frozen=True)
class SimulateOptions:
    """How the annotator draws.

    Raises:
        IgcamError: An option is out of range.
    """

    min_share: float = 0.001
    """Parts of a class below this share of the image are no objects, where the truth has class ids alone."""
    centring: float = 4.0
    """How much clicks keep to the middle of an object: 0 = anywhere but on its border."""
    background_point: bool = False
    """Whether an image with points also has one on its background."""
    box_jitter: float = 0.05
    """Most that an edge of a box is off, as a share of the box's width or height; 0 = tight."""
    pen: float = 3.0
    """Width of scribbles in pixels; 1 where an object is too thin for it."""
    background_scribble: bool = True
    """Whether an image with scribbles also has one on its background."""

    def __post_init__(self) -> None:
        check_ranges(self, min_share=(0, 1), centring=(0, 10), box_jitter=(0, 0.45), pen=(0.1, 1000))


def simulate_cues(
    dataset: Dataset,
    kind: SimulatedKind,
    *,
    share: float = 1.0,
    count: int | None = None,
    seed: int = 0,
    options: SimulateOptions | None = None,
) -> dict[str, tuple[Cue, ...]]:
    """Draw cues of one kind on a random part of the images, for `Dataset.with_cues`.

    An image's cues depend on its name, its truth, the kind, the seed and the options alone. Cues of the same
    object have the same instance in all kinds; those of the background have none. An image without an
    object has no cues. `seconds` stays None: what the drawing costs is the ledger's matter.

    Args:
        dataset: Its samples have tags or truth; those that are drawn on need truth.
        kind: What is drawn.
        share: Share of the images, see `choose_images`.
        count: Number of images, in place of `share`.
        seed: The same seed chooses the same images for every kind.
        options: How they are drawn.

    Returns:
        Cues by name of the sample, in the order of the data set.

    Raises:
        IgcamError: The kind, share, count or seed is impossible; or of the images that are to be drawn on
            some have no truth, or have classes in it that are not among their tags, all listed.
    """
    if kind not in get_args(SimulatedKind):
        raise IgcamError(f"kind must be one of {', '.join(get_args(SimulatedKind))}, got {kind}")
    options = options or SimulateOptions()
    chosen = dataset.subset(choose_images(dataset, share=share, count=count, seed=seed))
    cues: dict[str, tuple[Cue, ...]] = {}
    problems = []
    for sample in chosen:
        if sample.truth is None:
            problems.append(f"{sample.name}: has no true mask")
            continue
        shown = tags_in_mask(sample.truth.read())
        extra = () if sample.tags is None else tuple(sorted(set(shown) - set(sample.tags)))
        if extra:
            names = ", ".join(dataset.classes[tag] for tag in extra)
            problems.append(f"{sample.name}: the true mask shows {names}, which its tags lack")
        elif shown:
            rng = np.random.default_rng(list(_hash(seed, kind, sample.name)))
            cues[sample.name] = tuple(_draw(sample.truth, kind, rng, options))
    if problems:
        raise IgcamError.from_lines("images that cannot be drawn on:", problems)
    return {name: drawn for name, drawn in cues.items() if drawn}


def choose_images(dataset: Dataset, *, share: float = 1.0, count: int | None = None, seed: int = 0) -> tuple[str, ...]:
    """Choose images at random, so that every class is among them where their number allows.

    The images that show a class are put in an order that hangs on the seed and their names. Those that add a
    class to the ones before them come first, so that as many images as there are classes always show all of
    them. The first so many of the order are chosen: with the same seed, more images contain fewer.

    Args:
        dataset: Samples with tags; where they are unknown, the truth tells them.
        share: Share of the images that show a class, 0 to 1; above 0 it gives at least one.
        count: Their number, in place of the share.
        seed: 0 or more.

    Returns:
        Names in the order of the data set.

    Raises:
        IgcamError: A number is impossible, or samples have neither tags nor truth, all listed.
    """
    if seed < 0:
        raise IgcamError(f"seed must be at least 0, got {seed}")
    unknown = [sample.name for sample in dataset if sample.tags is None and sample.truth is None]
    if unknown:
        raise IgcamError.from_lines("images with neither tags nor a true mask:", unknown)
    shown = {sample.name: set(_shown(sample)) for sample in dataset}
    order = sorted((name for name, tags in shown.items() if tags), key=lambda name: _hash(seed, "order", name))
    number = _number(len(order), share, count)
    seen: set[int] = set()
    first: list[str] = []
    later: list[str] = []
    for name in order:
        (later if shown[name] <= seen else first).append(name)
        seen |= shown[name]
    chosen = set((first + later)[:number])
    return tuple(name for name in dataset.names if name in chosen)


def _number(available: int, share: float, count: int | None) -> int:
    if not 0 <= share <= 1:
        raise IgcamError(f"share must be 0 to 1, got {share}")
    if count is None:
        return min(available, max(round(share * available), 1 if share > 0 else 0))
    if share != 1:
        raise IgcamError(f"share and count exclude each other, got {share} and {count}")
    if not 0 <= count <= available:
        raise IgcamError(f"count must be 0 to {available}, the images that show a class, got {count}")
    return count


def _shown(sample: Sample) -> tuple[int, ...]:
    if sample.tags is not None or sample.truth is None:
        return sample.tags or ()
    return tags_in_mask(sample.truth.read())


def _hash(seed: int, purpose: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{purpose}\n{name}".encode()).digest()


def _draw(truth: MaskSource, kind: str, rng: np.random.Generator, options: SimulateOptions) -> Iterator[Cue]:
    if kind == "mask":
        yield MaskCue(source=truth)
        return
    for found in find_objects(truth, options.min_share):
        if kind == "object-mask":
            source = ObjectMask(truth, found.instance, options.min_share)
            yield MaskCue(label=found.label, instance=found.instance, source=source)
        elif kind == "box":
            left, top, right, bottom = strokes.box(found.region, rng, options.box_jitter)
            yield BoxCue(label=found.label, instance=found.instance, left=left, top=top, right=right, bottom=bottom)
        else:
            yield _stroke(found.region, found.label, found.instance, kind, rng, options)
    background = truth.read() == 0
    wanted = {"point": options.background_point, "scribble": options.background_scribble}
    if wanted.get(kind) and background.any():
        yield _stroke(background, 0, None, kind, rng, options)


def _stroke(
    region: strokes.Region,
    label: int,
    instance: int | None,
    kind: str,
    rng: np.random.Generator,
    options: SimulateOptions,
) -> Cue:
    if kind == "point":
        x, y = strokes.click(region, rng, options.centring)
        return PointCue(label=label, instance=instance, x=x, y=y)
    points, width = strokes.scribble(region, rng, options.pen)
    return ScribbleCue(label=label, instance=instance, points=points, width=width)
