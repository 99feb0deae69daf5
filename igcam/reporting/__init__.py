"""A run as one HTML page, and overlays of maps and masks on photos."""

from igcam.reporting.overlay import class_colours, heat_overlay, mask_overlay, overlay_sheet, probability_overlay
from igcam.reporting.page import write_report

__all__ = [
    "write_report",
    "overlay_sheet",
    "heat_overlay",
    "probability_overlay",
    "mask_overlay",
    "class_colours",
]
