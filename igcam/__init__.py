"""igcam: from image tags to pixel masks, and from masks to a segmentation model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from igcam.pipeline.evaluate import evaluate
    from igcam.pipeline.fit import fit
    from igcam.pipeline.label import label
    from igcam.pipeline.options import FitOptions
    from igcam.reporting import write_report as report

__all__ = ["FitOptions", "__version__", "evaluate", "fit", "label", "report"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch takes seconds to import, and `igcam.metrics` does not need it.
    if name == "report":
        from igcam.reporting import write_report

        return write_report
    if name in __all__:
        import igcam.pipeline

        return getattr(igcam.pipeline, name)
    raise AttributeError(f"module 'igcam' has no attribute {name!r}")
