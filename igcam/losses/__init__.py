"""Losses: one a file, on raw logits."""

from igcam.losses.guidance import guidance_loss
from igcam.losses.multilabel import multilabel_loss

__all__ = ["guidance_loss", "multilabel_loss"]
