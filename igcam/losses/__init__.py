"""Losses: one a file, on raw logits."""

from igcam.losses.feature_similarity import feature_similarity_loss
from igcam.losses.guidance import guidance_loss
from igcam.losses.importance_sampling import importance_sampling_loss
from igcam.losses.multilabel import multilabel_loss

__all__ = ["feature_similarity_loss", "guidance_loss", "importance_sampling_loss", "multilabel_loss"]
