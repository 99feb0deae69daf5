"""Metrics of predictions, and the supervision behind them; `results`, their files, loads torch."""

from igcam.metrics.confusion_matrix import Confusion, Scores, confusion, scores
from igcam.metrics.ledger import Ledger, annotation_seconds

__all__ = ["Confusion", "Scores", "confusion", "scores", "Ledger", "annotation_seconds"]
