"""HTML pages of runs and audits, and overlays of maps and masks on photos."""

from igcam.reporting.audit_page import write_audit_page
from igcam.reporting.overlay import heat_overlay, mask_overlay, overlay_sheet, probability_overlay, signed_overlay
from igcam.reporting.page import write_report
