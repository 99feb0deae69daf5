"""The segmentation head on stored features: 3x3 context, background as a class of its own."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from igcam.core.files import floats
from igcam.core.parallel import usual_device
from igcam.core.progress import Progress, no_progress
from igcam.models.views import mean_over_views


class ClassLogits(nn.Module):
    """A network whose last layer `leave` gives raw logits, background first."""

    leave: nn.Conv2d

    @torch.no_grad()
    def favour_classes(self, amount: float) -> None:
        """Subtract an amount from the bias of the background logit."""
        if self.leave.bias is not None:
            self.leave.bias[0] -= amount


class SegmentationHead(ClassLogits):
    """1x1 convolution, 3x3 convolution, 1x1 convolution, with batch norm and ReLU between.

    Args:
        channels: Channels of the features.
        classes: Number of classes C, without background.
        hidden: Width.
        dropout: Dropout rate of channels, before the first and the last convolution.
    """

    def __init__(self, channels: int, classes: int, hidden: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, hidden, 1, bias=False)
        self.enter_norm = nn.BatchNorm2d(hidden)
        self.context = nn.Conv2d(hidden, hidden, 3, padding=1, bias=False)
        self.context_norm = nn.BatchNorm2d(hidden)
        self.leave = nn.Conv2d(hidden, classes + 1, 1)
        self.dropout = nn.Dropout2d(dropout)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> SegmentationHead:
        """Undo `state_dict`, in evaluation mode; the sizes follow from the tensors.

        KeyError, ValueError or RuntimeError if tensors are missing, not those of such a head, or do not fit each other.
        """
        hidden, channels = floats(tensors, "enter.weight", 4).shape[:2]
        head = cls(channels, len(floats(tensors, "leave.bias", 1)) - 1, hidden)
        head.load_state_dict(tensors)
        return head.eval()

    def forward(self, features: Tensor) -> Tensor:
        """Return raw logits, float (N, C + 1, h, w), background first, of features (N, channels, h, w)."""
        hidden = F.relu(self.enter_norm(self.enter(self.dropout(features))))
        hidden = F.relu(self.context_norm(self.context(hidden)))
        return self.leave(self.dropout(hidden))


@torch.inference_mode()
def predict_probability(head: SegmentationHead, features: Tensor, mirrored: Tensor | None = None) -> Tensor:
    """Return probabilities (N, C + 1, h, w) of features (N, channels, h, w), by a head in evaluation mode.

    Logits are averaged with those of the mirrored image, whose features are not mirrored back, if these are given.
    """
    views = [features] if mirrored is None else [features, mirrored]
    return torch.softmax(mean_over_views([head(view) for view in views], [False, True][: len(views)]), dim=1)


def predict_all(
    head: SegmentationHead, features: NDArray[np.float16], batch_size: int = 32, progress: Progress = no_progress
) -> NDArray[np.float32]:
    """Return the probabilities of many images, float32 (N, C + 1, h, w), on a GPU where there is one.

    Args:
        head: In evaluation mode.
        features: float16 (V, N, channels, h, w), plain and, in the second view, mirrored; may be memory-mapped.
        batch_size: Images per forward pass.
        progress: Called after each of them.
    """
    parts, device, count = [], usual_device(), features.shape[1]
    head = copy.deepcopy(head).to(device)
    for start in range(0, count, batch_size):
        batch = [
            torch.from_numpy(view[start : start + batch_size].astype(np.float32)).to(device) for view in features[:2]
        ]
        parts.append(predict_probability(head, *batch).cpu().numpy())
        progress("predict", min(start + batch_size, count), count)
    return np.concatenate(parts)
