"""Cues simulated from true masks, as an annotator would draw them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from igcam.core.errors import IgcamError
from igcam.core.validation import Fraction, between, options
from igcam.data.cue import BoxCue, Cue, MaskCue, PointCue, ScribbleCue
from igcam.data.masks import MaskSource, tags_in_mask
from igcam.data.objects import ObjectMask, find_objects
from igcam.data.sample import Dataset, Sample

Region = NDArray[np.bool_]
"""bool (H, W), at least one pixel; nothing is annotated outside it. Coordinates are those of `Cue`."""
Vector = NDArray[np.float64]
Points = tuple[tuple[float, float], ...]

_CORE = 0.25
"""Distance to the border that a scribble keeps, as a fraction of the largest one, so that it skips legs and tails."""
_MAX_LOCATIONS = 3000

SimulatedKind = Literal["point", "box", "scribble", "mask", "object-mask"]
"""Kinds: one click, box, scribble or mask for every object, or the mask of the whole image."""


@options
class SimulateOptions:
    """Options of the simulated annotator."""

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
    """Simulate cues of one kind on images that `choose_images` chooses, for `Dataset.with_cues`.

    The cues of an image depend only on its name, its truth, the kind, the seed and the options. Cues of the same
    object have the same instance in all kinds; those of the background have none. Images without objects have
    no cues. `seconds` stays None: the ledger estimates annotation time. The same seed chooses the same images for
    every kind.

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
    """Choose images at random, so that they show every class if their number allows; names in the data set's order.

    The images that show a class, by their tags or, where these are unknown, by their truth, are ordered by the seed and
    their names. Those that add a class to the ones before them come first, so that as many images as classes always
    show all classes. With the same seed, a larger choice contains a smaller one. Their number is `count` or, without
    it, a `share` of them, 0 to 1, at least one image if it is above 0.

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
            left, top, right, bottom = box(found.region, rng, options.box_jitter)
            yield BoxCue(label=found.label, instance=found.instance, left=left, top=top, right=right, bottom=bottom)
        else:
            yield _stroke(kind, found.region, rng, options, label=found.label, instance=found.instance)
    background = truth.read() == 0
    wanted = {"point": options.background_point, "scribble": options.background_scribble}
    if wanted.get(kind) and background.any():
        yield _stroke(kind, background, rng, options, label=0)


def _stroke(
    kind: str, region: Region, rng: np.random.Generator, options: SimulateOptions, **labels: Any
) -> PointCue | ScribbleCue:
    if kind == "point":
        x, y = click(region, rng, options.centring)
        return PointCue(x=x, y=y, **labels)
    points, width = scribble(region, rng, options.pen)
    return ScribbleCue(points=points, width=width, **labels)


def depth(region: Region) -> Vector:
    """Return the distance of each pixel to the nearest one outside, float (H, W); beyond the image is outside."""
    padded = np.pad(region, 1).astype(np.uint8)
    return cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1].astype(np.float64)


def click(region: Region, rng: np.random.Generator, centring: float = 4.0) -> tuple[float, float]:
    """Sample (x, y), the centre of a pixel, in proportion to its depth to the power of `centring`.

    Pixels with an outer one among their 8 neighbours are used only if there are no others.
    """
    depths = depth(region)
    inner = depths >= 2 if depths.max() >= 2 else depths > 0
    rows, columns = np.nonzero(inner)
    weights = depths[inner] ** centring
    position = rng.choice(len(rows), p=weights / weights.sum())
    return float(columns[position]) + 0.5, float(rows[position]) + 0.5


def box(region: Region, rng: np.random.Generator, jitter: float = 0.0) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a region's box, whole numbers within the image and at least 1 apart.

    Each edge of the tight box moves uniformly by up to `jitter` (below 0.5) times its width or height.
    """
    edges: list[float] = []
    for axis in (0, 1):
        seen = np.flatnonzero(region.any(axis=axis))
        low, high = int(seen[0]), int(seen[-1]) + 1
        moves = rng.uniform(-jitter, jitter, 2) * (high - low)
        start = int(np.clip(np.round(low + moves[0]), 0, region.shape[1 - axis] - 1))
        stop = int(np.clip(np.round(high + moves[1]), start + 1, region.shape[1 - axis]))
        edges += [start, stop]
    left, right, top, bottom = map(float, edges)
    return left, top, right, bottom


def scribble(region: Region, rng: np.random.Generator, pen: float = 3.0) -> tuple[Points, float]:
    """Return the corners of a line along the middle of a region and the width of the pen.

    The line is the cheapest path between two far ends of the region's core, where a step costs more near the
    border: the medial axis without its branches. A random part of each end is cut off, the line is simplified
    to few corners, and these are moved a little. No pixel under the pen is outside the region; where `pen` is
    too wide for that it is 1.
    """
    depths = depth(region)
    deepest = float(depths.max())
    for width in (pen, min(pen, 1.0)):
        if width / 2 > deepest:
            continue
        line = _middle_line(depths, width / 2, rng)
        for tolerance in (0.3 * deepest, 0.1 * deepest, 0.0):
            corners = cv2.approxPolyDP(line.astype(np.float32), tolerance, False)[:, 0].astype(np.float64)
            room = depths[corners[:, 1].astype(int), corners[:, 0].astype(int), None]
            for candidate in (np.round(corners + 0.2 * room * rng.uniform(-1, 1, corners.shape), 1), corners):
                points = tuple((x, y) for x, y in candidate.tolist())
                marked = ScribbleCue(label=None, points=points, width=width).region(*region.shape)
                if not (marked & ~region).any():
                    return points, width
    return points, width  # A line from pixel to neighbouring pixel lies inside: the loop has returned it.


def _middle_line(depths: Vector, radius: float, rng: np.random.Generator) -> Vector:
    """Return the centres (x, y) of pixels along the middle, float (n, 2), each near the next."""
    core = depths >= max(radius, _CORE * float(depths.max()), 1.0)
    # Stride of the grid of locations: coarse to be fast, but a step must not leave the region.
    safe = np.sqrt(2) * (float(depths[core].min()) - radius)
    step = max(1, int(min(safe, np.sqrt(core.sum() / _MAX_LOCATIONS))))
    row, column = (position % step for position in divmod(int(depths.argmax()), depths.shape[1]))
    core, depths = core[row::step, column::step], depths[row::step, column::step]
    path = _path_between_ends(core, depths, rng)
    rows, columns = np.nonzero(core)
    line: Vector = np.stack([columns[path] * step + column, rows[path] * step + row], -1) + 0.5
    cut = np.round(rng.uniform(0.05, 0.25, 2) * (len(line) - 1)).astype(int)
    return line[cut[0] : len(line) - cut[1]]


def _path_between_ends(core: Region, depths: Vector, rng: np.random.Generator) -> list[int]:
    """Return the locations of the core, numbered row by row, from one far end of its largest component to another."""
    numbers = np.where(core, np.cumsum(core).reshape(core.shape) - 1, -1)
    starts, stops, lengths = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = numbers[: len(numbers) - down, max(-right, 0) : numbers.shape[1] - max(right, 0)]
        there = numbers[down:, max(right, 0) : numbers.shape[1] - max(-right, 0)]
        both = (here >= 0) & (there >= 0)
        starts.append(here[both])
        stops.append(there[both])
        lengths.append(np.full(both.sum(), np.hypot(down, right)))
    start, stop, length = map(np.concatenate, (starts, stops, lengths))
    room = depths[core]

    def graph(weights: Vector) -> csr_array:
        return coo_array((weights, (start, stop)), shape=(len(room), len(room))).tocsr()

    by_length = graph(length)
    _, parts = connected_components(by_length, directed=False)
    largest = np.flatnonzero(parts == np.bincount(parts).argmax())

    def farthest(position: int) -> int:
        away = dijkstra(by_length, directed=False, indices=position)
        return int(largest[away[largest].argmax()])

    first = farthest(int(rng.choice(largest)))
    last = farthest(first)
    by_cost = graph(length / np.minimum(room[start], room[stop]) ** 2)
    _, before = dijkstra(by_cost, directed=False, indices=first, return_predecessors=True)
    path = [last]
    while path[-1] != first:
        path.append(int(before[path[-1]]))
    return path
