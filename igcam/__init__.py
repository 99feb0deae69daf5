"""igcam: from image tags to pixel masks, and from masks to a segmentation model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from igcam.core.version import __version__

if TYPE_CHECKING:
    from igcam.commands.evaluate import evaluate
    from igcam.commands.fit import fit
    from igcam.commands.label import label
    from igcam.methods.options import FitOptions
    from igcam.reporting.page import write_report as report

_HOMES = {
    "FitOptions": "igcam.methods.options:FitOptions",
    "evaluate": "igcam.commands.evaluate:evaluate",
    "fit": "igcam.commands.fit:fit",
    "label": "igcam.commands.label:label",
    "report": "igcam.reporting.page:write_report",
}
"""Where each public name is defined. They are loaded on first use, as torch takes seconds to import."""

__all__ = ["FitOptions", "__version__", "evaluate", "fit", "label", "report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'igcam' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)
