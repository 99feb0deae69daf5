"""Polygons of a region, holes included, that rasterise to exactly its pixels.

OpenCV finds the contours; it alone loses pixels, as its corners are pixel centres, and keeps holes apart.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]
"""Corners (x, y) of a closed line, float64 (V, 2); the last one is connected with the first."""


def outlines(region: NDArray[np.bool_], sides: tuple[float, float] = (0.0, 1.0), tolerance: float = 0.0) -> list[Ring]:
    """Return a polygon, float64 (V, 2), V >= 3, for each connected component of a region, bool (H, W), 8 neighbours.

    Most formats have no holes, so each is joined to the outline by a cut along a row, there and back.

    Args:
        region: bool (H, W), else it is a ValueError.
        sides: Position within a pixel of its left or upper side, and of its right or lower side. (0, 1) is the
            edge itself, in the coordinates of cues. (0, 0) is the index of the pixel, for readers that fill the
            polygon together with its line.
        tolerance: Largest distance in pixels between polygon and edge (Douglas and Peucker). 0 is exact: the even-odd
            rule gives the region back.
    """
    if region.dtype != bool or region.ndim != 2:
        raise ValueError(f"region must be bool (H, W), got {region.dtype} {region.shape}")
    # At twice the size the two sides of a pixel have corners of their own, even in lines of one pixel.
    doubled = region.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    chains, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if hierarchy is None:
        return []
    corners = (np.asarray(chain[:, 0], np.int32) for chain in chains)
    rings = [_without_straight(chain // 2 + np.asarray(sides)[chain % 2]) for chain in corners]
    if tolerance > 0:
        simple = (cv2.approxPolyDP(ring.astype(np.float32), tolerance, True)[:, 0] for ring in rings)
        rings = [ring.astype(np.float64) for ring in simple]
    parents = hierarchy[0, :, 3]
    polygons = []
    for index in np.flatnonzero(parents < 0):
        holes = [rings[inner] for inner in np.flatnonzero(parents == index)]
        polygon = _with_holes(rings[index], holes)
        # An outline that has collapsed repeats corners, as a polygon needs three.
        polygons.append(polygon if len(polygon) >= 3 else polygon[np.arange(3) % len(polygon)])
    return polygons


def _without_straight(ring: Ring) -> Ring:
    """Drop repeated and collinear corners."""
    apart = np.any(ring != np.roll(ring, 1, axis=0), axis=1)
    ring = ring[apart] if apart.any() else ring[:1]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    kept = (np.abs(cross) > 1e-12) | ((before * after).sum(axis=1) < 0)
    return ring[kept] if kept.any() else ring


def _with_holes(outer: Ring, holes: list[Ring]) -> Ring:
    """Join holes to the outline, from left to right, each by a cut to the nearest line on its left."""
    line = outer
    for hole in sorted(holes, key=lambda ring: float(ring[:, 0].min())):
        start = int(hole[:, 0].argmin())
        turned = np.roll(hole, -start, axis=0)
        edge, contact = _to_the_left(line, turned[0])
        line = np.concatenate([line[: edge + 1], [contact], turned, turned[:1], [contact], line[edge + 1 :]])
    return line


def _to_the_left(line: Ring, point: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
    """Return the index of the first edge to the left of a point, and where the row of the point meets it."""
    ends = np.roll(line, -1, axis=0)
    low, high = np.minimum(line[:, 1], ends[:, 1]), np.maximum(line[:, 1], ends[:, 1])
    crossing = (low <= point[1]) & (point[1] <= high)
    rise = ends[:, 1] - line[:, 1]
    fraction = np.divide(point[1] - line[:, 1], rise, out=np.zeros(len(line)), where=rise != 0)
    x = np.where(rise != 0, line[:, 0] + fraction * (ends[:, 0] - line[:, 0]), np.maximum(line[:, 0], ends[:, 0]))
    # After simplification a hole may lie partly outside its outline.
    met = crossing & (x <= point[0])
    edge = int(np.where(met, x, -np.inf).argmax()) if met.any() else int(np.abs(line - point).sum(axis=1).argmin())
    return edge, np.array([x[edge], point[1]]) if met.any() else line[edge]
