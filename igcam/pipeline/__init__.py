"""Long work with its files: fit, label, evaluate; the run folder and how it goes on."""

from igcam.pipeline.evaluate import evaluate
from igcam.pipeline.fit import fit
from igcam.pipeline.label import label
from igcam.pipeline.options import FitOptions

__all__ = ["FitOptions", "evaluate", "fit", "label"]
