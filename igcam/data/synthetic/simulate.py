"""Cues simulated from true masks, as an annotator would draw them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

import numpy as np

from igcam.core.errors import IgcamError
from igcam.core.options import Fraction, between, options
from igcam.data import strokes
from igcam.data.cue import BoxCue, Cue, MaskCue, PointCue, ScribbleCue
from igcam.data.masks import MaskSource, tags_in_mask
from igcam.data.objects import ObjectMask, find_objects
from igcam.data.sample import Dataset, Sample

SimulatedKind = Literal["point", "box", "scribble", "mask", "object-mask"]
"""Kinds: one click, box, scribble or mask for every object, or the mask of the whole image."""


@options
class SimulateOptions:
    """Options of the simulated annotator.

    Raises:
        IgcamError: An option is out of range.
    """

    min_share: Fraction = 0.001
    """Smallest object as a fraction of the image, where the truth has class ids only; see `find_objects`."""
    centring: Annotated[float, between(0, 10)] = 4.0
    """How much clicks prefer the middle of an object: 0 = anywhere except on its border."""
    background_point: bool = False
    """Whether images with points also get one on the background."""
    box_jitter: Annotated[float, between(0, 0.45)] = 0.05
    """Largest error of an edge of a box, as a fraction of its width or height; 0 = tight."""
    pen: Annotated[float, between(0.1, 1000)] = 3.0
    """Width of scribbles in pixels; 1 where an object is too thin."""
    background_scribble: bool = True
    """Whether images with scribbles also get one on the background."""


def simulate_cues(
    dataset: Dataset,
    kind: SimulatedKind,
    *,
    share: float = 1.0,
    count: int | None = None,
    seed: int = 0,
    options: SimulateOptions | None = None,
) -> dict[str, tuple[Cue, ...]]:
    """Simulate cues of one kind on a random subset of the images, for `Dataset.with_cues`.

    The cues of an image depend only on its name, its truth, the kind, the seed and the options. Cues of the same
    object have the same instance in all kinds; those of the background have none. Images without objects have
    no cues. `seconds` stays None: the ledger estimates annotation time.

    Args:
        dataset: Samples with tags or truth; the chosen ones need truth.
        kind: Kind of cue.
        share: Fraction of the images, see `choose_images`.
        count: Number of images, instead of `share`.
        seed: The same seed chooses the same images for every kind.
        options: Options of the annotator.

    Returns:
        Cues by name of the sample, in the order of the data set.

    Raises:
        IgcamError: The kind, share, count or seed is invalid; or chosen images have no truth, or classes in it
            that are not among their tags, all listed.
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
    """Choose images at random, so that they show every class if their number allows.

    The images that show a class are ordered by the seed and their names. Those that add a class to the ones
    before them come first, so that as many images as classes always show all classes. With the same seed, a
    larger choice contains a smaller one.

    Args:
        dataset: Samples with tags, or with truth where tags are unknown.
        share: Fraction of the images that show a class, 0 to 1; above 0 it gives at least one.
        count: Number of images, instead of the fraction.
        seed: 0 or more.

    Returns:
        Names in the order of the data set.

    Raises:
        IgcamError: A number is out of range, or samples have neither tags nor truth, all listed.
    """
    if seed < 0:
        raise IgcamError(f"seed must be at least 0, got {seed}")
    unknown = [sample.name for sample in dataset if sample.tags is None and sample.truth is None]
    if unknown:
        raise IgcamError.from_lines("images with neither tags nor a true mask:", unknown)
    shown = {sample.name: set(_tags(sample)) for sample in dataset}
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


def _tags(sample: Sample) -> tuple[int, ...]:
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
            yield _stroke(kind, found.region, rng, options, label=found.label, instance=found.instance)
    background = truth.read() == 0
    wanted = {"point": options.background_point, "scribble": options.background_scribble}
    if wanted.get(kind) and background.any():
        yield _stroke(kind, background, rng, options, label=0)


def _stroke(
    kind: str, region: strokes.Region, rng: np.random.Generator, options: SimulateOptions, **labels: Any
) -> PointCue | ScribbleCue:
    if kind == "point":
        x, y = strokes.click(region, rng, options.centring)
        return PointCue(x=x, y=y, **labels)
    points, width = strokes.scribble(region, rng, options.pen)
    return ScribbleCue(points=points, width=width, **labels)
