"""igcam: from image tags to pixel masks, and from masks to a segmentation model.

>>> import igcam
>>> dataset = igcam.read_folder("photos", "tags.csv")
>>> run = igcam.fit(dataset, "runs/mine", small)
>>> masks = dict(run.masks())
>>> len(masks)
16
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from igcam.core.version import __version__

if TYPE_CHECKING:
    from igcam.commands.audit import audit
    from igcam.commands.distill import distill
    from igcam.commands.evaluate import evaluate
    from igcam.commands.export import export
    from igcam.commands.fit import fit
    from igcam.commands.label import label
    from igcam.commands.predict import predict
    from igcam.commands.refine import refine_masks
    from igcam.commands.run import Run
    from igcam.data.formats.coco import read_coco
    from igcam.data.formats.folder import read_folder
    from igcam.data.formats.voc import read_voc
    from igcam.methods.options import FitOptions
    from igcam.reporting.page import write_report as report

_HOMES = {
    "FitOptions": "igcam.methods.options",
    "Run": "igcam.commands.run",
    "audit": "igcam.commands.audit",
    "distill": "igcam.commands.distill",
    "evaluate": "igcam.commands.evaluate",
    "export": "igcam.commands.export",
    "fit": "igcam.commands.fit",
    "label": "igcam.commands.label",
    "predict": "igcam.commands.predict",
    "read_coco": "igcam.data.formats.coco",
    "read_folder": "igcam.data.formats.folder",
    "read_voc": "igcam.data.formats.voc",
    "refine_masks": "igcam.commands.refine",
    "report": "igcam.reporting.page:write_report",
}
"""Where each public name is defined. They are loaded on first use, as torch takes seconds to import."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'igcam' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)
