"""Simulated annotation of a region: a click, a box, a scribble.

Regions are bool (H, W) with at least one pixel; nothing is drawn outside them. Coordinates are those of
`igcam.data.cue`.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from igcam.data.cue import ScribbleCue

Region = NDArray[np.bool_]
Vector = NDArray[np.float64]
Points = tuple[tuple[float, float], ...]

_CORE = 0.25
"""Distance to the border that a scribble keeps, as a fraction of the largest one, so that it skips legs and tails."""
_MAX_LOCATIONS = 3000
"""Approximate number of locations in the search for the line."""


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
    """Return left, top, right and bottom, whole numbers within the image and at least 1 apart.

    Args:
        region: The object.
        rng: Moves each edge of the tight box uniformly by up to `jitter` times the width or height of the box.
        jitter: 0 gives the tight box itself; below 0.5.
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
    return next(drawn for drawn in _attempts(depths, rng, pen) if _lies_inside(*drawn, region))


def _attempts(depths: Vector, rng: np.random.Generator, pen: float) -> Iterator[tuple[Points, float]]:
    """Yield lines from few to many corners; the last, from pixel to neighbouring pixel, always lies inside."""
    deepest = float(depths.max())
    for width in (pen, min(pen, 1.0)):
        if width / 2 > deepest:
            continue
        line = _middle_line(depths, width / 2, rng)
        for tolerance in (0.3 * deepest, 0.1 * deepest, 0.0):
            corners = cv2.approxPolyDP(line.astype(np.float32), tolerance, False)[:, 0].astype(np.float64)
            room = depths[corners[:, 1].astype(int), corners[:, 0].astype(int), None]
            moved = np.round(corners + 0.2 * room * rng.uniform(-1, 1, corners.shape), 1)
            yield _points(moved), width
            yield _points(corners), width


def _points(corners: Vector) -> Points:
    return tuple((float(x), float(y)) for x, y in corners)


def _lies_inside(points: Points, width: float, region: Region) -> bool:
    drawn = ScribbleCue(label=None, points=points, width=width).region(*region.shape)
    return not (drawn & ~region).any()


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
