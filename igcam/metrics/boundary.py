"""Quality of boundaries: Boundary IoU, contour F, and IoU in bands along true boundaries (trimaps).

Each metric counts one image; the counts of the images of a data set are added before they become scores. Truth and
prediction are integers of one shape (H, W): 0 = background, 1..classes, 255 = ignored; a predicted 255 counts as
background. Where the truth is 255, the true boundary of contour F and of trimaps runs along the middle, as in the
rings around VOC's objects. Other shapes and ids, and parameters out of range, are a ValueError.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.metrics.confusion_matrix import IGNORE, Confusion, confusion, ratio, scores

TRIMAP_WIDTHS = tuple(range(1, 41))
"""Widths of trimap bands in pixels."""


@dataclass(frozen=True)
class BoundaryScores:
    """Fractions between 0 and 1; `iou` is indexed by mask id, background first, NaN for absent classes."""

    miou: float
    """Mean over the classes that have a band in the truth or in the prediction of the whole set."""
    iou: NDArray[np.float64]
    """Boundary IoU of every class, float64 (K,)."""
    absent: tuple[int, ...]
    """Mask ids without any band; they are left out of the mean."""


def boundary_counts(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int, dilation_ratio: float = 0.02
) -> NDArray[np.int64]:
    """Count the overlap of the boundary bands of one image.

    The band of a class is the part of its mask within d pixels (the larger of rows and columns) of anything
    outside it; beyond the image is outside. d is `dilation_ratio` of the diagonal, rounded, at least 1: 0.02 for
    COCO and LVIS, 0.005 for Cityscapes.

    Ignored pixels are removed from both masks before the bands are computed. So a perfect prediction scores 1
    whatever it predicts there, and the edge of the ignored region counts as a contour.

    Returns:
        int64 (K, 2), K = classes + 1: pixels in both bands, pixels in either.

    Source:
        Cheng et al., "Boundary IoU: improving object-centric image segmentation evaluation", CVPR 2021.
    """
    check_masks(truth, prediction, classes)
    if dilation_ratio <= 0:
        raise ValueError(f"dilation_ratio: must be above 0, got {dilation_ratio}")
    ignored = truth == IGNORE
    answered = np.where(prediction == IGNORE, 0, prediction)
    width = max(1, round(dilation_ratio * float(np.hypot(*truth.shape))))
    counts = np.zeros((classes + 1, 2), dtype=np.int64)
    for index in np.union1d(truth[~ignored], answered[~ignored]):
        true_band = inner_band((truth == index) & ~ignored, width)
        predicted_band = inner_band((answered == index) & ~ignored, width)
        both = np.count_nonzero(true_band & predicted_band)
        counts[index] = both, np.count_nonzero(true_band) + np.count_nonzero(predicted_band) - both
    return counts


def boundary_iou(counts: NDArray[np.int64]) -> BoundaryScores:
    """Turn the added counts of a data set, int64 (K, 2), into scores; ValueError if no class has a band."""
    if not counts[:, 1].any():
        raise ValueError("counts: must hold at least one boundary, got none")
    iou = ratio(counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64))
    absent = tuple(int(index) for index in np.flatnonzero(counts[:, 1] == 0))
    return BoundaryScores(miou=float(np.nanmean(iou)), iou=iou, absent=absent)


def inner_band(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the pixels of a bool (H, W) mask that lie within `width` pixels of its outside."""
    band = np.zeros(mask.shape, dtype=bool)
    filled = mask.astype(np.uint8, order="C")
    x, y, columns, rows = cv2.boundingRect(filled)
    if columns == 0:
        return band
    crop = np.pad(filled[y : y + rows, x : x + columns], 1)
    square = np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
    interior = np.asarray(cv2.erode(crop, square))[1:-1, 1:-1]
    band[y : y + rows, x : x + columns] = (crop[1:-1, 1:-1] > 0) & (interior == 0)
    return band


@dataclass(frozen=True)
class ContourScores:
    """Fractions between 0 and 1; the arrays are indexed by mask id, background first, NaN for absent classes."""

    mean_f: float
    """Mean F over the foreground classes that have a contour on either side of the whole set; the background's F
    if there is none."""
    f: NDArray[np.float64]
    """2 precision recall / (precision + recall), float64 (K,); 0 where only one side has a contour."""
    precision: NDArray[np.float64]
    """Fraction of the predicted contour that is near the true one, float64 (K,); NaN where nothing is predicted."""
    recall: NDArray[np.float64]
    """Fraction of the true contour that is near the predicted one, float64 (K,); NaN where there is no true one."""


def contour_counts(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int, tolerance: float = 0.008
) -> NDArray[np.int64]:
    """Count the contour pixels of one image that are matched.

    The contour of a class consists of the pixels of its mask with a pixel of another class above, below, left or
    right. The border of the image is no contour. A contour pixel is matched if the other side has one of the same
    class within `ceil(tolerance * diagonal)` pixels; contours that lie deeper than this in ignored pixels do not
    count. DAVIS uses a tolerance of 0.008.

    Returns:
        int64 (K, 4), K = classes + 1: predicted pixels matched, predicted, true pixels matched, true.

    Source:
        Perazzi et al., "A benchmark dataset and evaluation methodology for video object segmentation", CVPR 2016,
        with matching by distance. Here the counts of a data set are added before they are divided.
    """
    check_masks(truth, prediction, classes)
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance: must lie between 0 and 1, got {tolerance}")
    distance = math.ceil(tolerance * math.hypot(*truth.shape))
    whole, depth = filled(truth)
    counted = depth <= distance
    sides = [np.where(prediction == IGNORE, 0, prediction), whole]
    contours = [_class_changes(side) & counted for side in sides]
    counts = np.zeros((classes + 1, 4), np.int64)
    for index in np.union1d(sides[0][counted], sides[1][counted]):
        predicted, true = (contour & (side == index) for side, contour in zip(sides, contours, strict=True))
        matched = _count_near(predicted, true, distance), _count_near(true, predicted, distance)
        counts[index] = matched[0], predicted.sum(), matched[1], true.sum()
    return counts


def contour_scores(counts: NDArray[np.int64]) -> ContourScores:
    """Turn the added counts of a data set, int64 (K, 4), into scores; ValueError if no class has a contour."""
    numbers = counts.astype(np.float64)
    if not counts[:, [1, 3]].any():
        raise ValueError("counts: must hold at least one contour pixel, got none")
    precision, recall = ratio(numbers[:, 0], numbers[:, 1]), ratio(numbers[:, 2], numbers[:, 3])
    total = np.nan_to_num(precision) + np.nan_to_num(recall)
    product = np.nan_to_num(precision) * np.nan_to_num(recall)
    f = np.divide(2 * product, total, out=np.zeros(len(counts)), where=total > 0)
    f[counts[:, [1, 3]].sum(axis=1) == 0] = np.nan
    mean = f[0] if np.isnan(f[1:]).all() else np.nanmean(f[1:])
    return ContourScores(mean_f=float(mean), f=f, precision=precision, recall=recall)


def trimap_counts(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int, widths: tuple[int, ...] = TRIMAP_WIDTHS
) -> list[Confusion]:
    """Count the pixels of one image near true boundaries by class.

    A pixel lies within the band of width w, in pixels, if the true class changes at most w pixels away; a pixel
    beside the change is one pixel away. Ignored pixels are not scored. The border of the image is no boundary.

    Returns:
        One confusion for each of the increasing widths, each including those before.

    Source:
        Bands along boundaries: Kohli, Ladicky and Torr, IJCV 2009; mean IoU in them: Chen et al. (DeepLab), 2018.
    """
    check_masks(truth, prediction, classes)
    if not widths or min(widths) < 1 or list(widths) != sorted(set(widths)):
        raise ValueError(f"widths: must grow and be at least 1, got {widths}")
    changes = _class_changes(filled(truth)[0])
    distance = _distance_to(changes) + 1 if changes.any() else np.full(truth.shape, np.inf, np.float32)
    total = Confusion.zeros(classes)
    result = []
    for inner, outer in zip((0, *widths), widths, strict=False):
        band = (distance > inner) & (distance <= outer)
        total = total + confusion(truth[band][None], prediction[band][None], classes)
        result.append(total)
    return result


def trimap_iou(counts: list[Confusion]) -> NDArray[np.float64]:
    """Return the mean IoU within each band, float64, from the added counts of a data set; NaN for an empty band."""
    return np.array([scores(band).miou if band.counts.any() else np.nan for band in counts])


def check_masks(truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int) -> None:
    """Raise a ValueError unless both are integers of one shape (H, W) with ids 0..classes or 255."""
    if truth.ndim != 2 or truth.shape != prediction.shape:
        raise ValueError(f"prediction: must be (H, W) like truth, got {prediction.shape} and {truth.shape}")
    for name, mask in (("truth", truth), ("prediction", prediction)):
        if not np.issubdtype(mask.dtype, np.integer):
            raise ValueError(f"{name}: must be an array of integers, got {mask.dtype}")
        wrong = np.unique(mask[((mask < 0) | (mask > classes)) & (mask != IGNORE)])
        if wrong.size:
            raise ValueError(f"{name}: ids must be 0..{classes} or 255, got {', '.join(map(str, wrong[:9]))}")


def filled(truth: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
    """Give every ignored pixel of a truth (H, W) the id of the nearest pixel that is not ignored.

    Also return the distance to that pixel, float32 (H, W), 0 for itself. Where all pixels are ignored, the ids stay
    and the distance is infinite.
    """
    unknown = truth == IGNORE
    if not unknown.any():
        return truth, np.zeros(truth.shape, np.float32)
    if unknown.all():
        return truth, np.full(truth.shape, np.inf, np.float32)
    distance, nearest = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    ids = np.zeros(int(nearest.max()) + 1, truth.dtype)
    ids[nearest[~unknown]] = truth[~unknown]
    return ids[nearest], np.asarray(distance, np.float32)


def _class_changes(mask: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark the pixels that have one of another id above, below, left or right."""
    changes = np.zeros(mask.shape, bool)
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        differ = mask[first] != mask[second]
        changes[first] |= differ
        changes[second] |= differ
    return changes


def _distance_to(pixels: NDArray[np.bool_]) -> NDArray[np.float32]:
    inverse = (~pixels).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(inverse, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def _count_near(these: NDArray[np.bool_], those: NDArray[np.bool_], distance: int) -> int:
    """Count the pixels of `these` with one of `those` within `distance` pixels."""
    if not these.any() or not those.any():
        return 0
    return int(np.count_nonzero(_distance_to(those)[these] <= distance + 1e-4))
