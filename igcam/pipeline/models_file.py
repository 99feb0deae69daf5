"""Heads and classifiers of a run as safetensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from igcam.files import read_tensors, write_tensors
from igcam.methods.classify import Classifier
from igcam.models.linear_head import LinearHead
from igcam.models.segmentation_head import SegmentationHead


def write_classifier(path: Path, classifier: Classifier) -> None:
    """Write a fitted linear head."""
    head = classifier.head
    tensors = {
        "weight": torch.from_numpy(np.ascontiguousarray(head.weight)),
        "bias": torch.from_numpy(np.ascontiguousarray(head.bias)),
        "l2_gradient_steps_scale": torch.tensor(
            [head.l2, head.gradient_norm, float(head.newton_steps), classifier.scale], dtype=torch.float64
        ),
    }
    write_tensors(path, tensors)


def read_classifier(path: Path) -> Classifier:
    """Read what `write_classifier` wrote."""
    tensors = read_tensors(path)
    l2, gradient_norm, steps, scale = tensors["l2_gradient_steps_scale"].tolist()
    head = LinearHead(tensors["weight"].numpy(), tensors["bias"].numpy(), l2, gradient_norm, int(steps))
    return Classifier(head, scale)


def write_head(path: Path, head: SegmentationHead) -> None:
    """Write a segmentation head; its sizes follow from its tensors."""
    write_tensors(path, head.state_dict())


def read_head(path: Path) -> SegmentationHead:
    """Read what `write_head` wrote, in evaluation mode."""
    tensors = read_tensors(path)
    hidden, channels = tensors["enter.weight"].shape[:2]
    head = SegmentationHead(channels, len(tensors["leave.bias"]) - 1, hidden)
    head.load_state_dict(tensors)
    return head.eval()
