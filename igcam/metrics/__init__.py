"""How good a prediction is, and what supervision it took.

Result files are in `igcam.metrics.results`, which loads torch by way of `igcam.core.files`.
"""

from igcam.metrics.confusion import Confusion, Scores, confusion, scores
from igcam.metrics.ledger import Ledger, annotation_seconds

__all__ = ["Confusion", "Scores", "confusion", "scores", "Ledger", "annotation_seconds"]
