"""How good a prediction is, and what it was bought with.

Result files are in `igcam.metrics.results`, which loads torch by way of `igcam.core.files`.
"""

from igcam.metrics.boundary import BoundaryScores, boundary_counts, boundary_iou
from igcam.metrics.confusion import IGNORE, Confusion, Scores, confusion, scores
from igcam.metrics.contour import ContourScores, contour_counts, contour_scores
from igcam.metrics.ledger import ANNOTATION_SECONDS, Ledger, annotation_seconds
from igcam.metrics.trimap import trimap_counts, trimap_iou

__all__ = [
    "IGNORE",
    "Confusion",
    "Scores",
    "confusion",
    "scores",
    "BoundaryScores",
    "boundary_counts",
    "boundary_iou",
    "ContourScores",
    "contour_counts",
    "contour_scores",
    "trimap_counts",
    "trimap_iou",
    "ANNOTATION_SECONDS",
    "Ledger",
    "annotation_seconds",
]
