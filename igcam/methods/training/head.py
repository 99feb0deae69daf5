"""Training a segmentation head on coverage targets."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from igcam.core.errors import check_ranges
from igcam.losses import guidance_loss
from igcam.methods.inputs import Inputs
from igcam.models.devices import usual_device
from igcam.models.segmentation_head import SegmentationHead, predict_probability
from igcam.supervision.mask_targets import class_weights
from igcam.supervision.pseudo_labels import restrict_to_tags

Array = NDArray[np.float32]
Curve = list[dict[str, float]]


@dataclass(frozen=True)
class HeadOptions:
    """Size and schedule of a segmentation head."""

    hidden: int = 128
    """Width."""
    dropout: float = 0.1
    """Share of channels dropped in training."""
    epochs: int = 12
    """Passes over the images."""
    min_steps: int = 150
    """Fewer images get more passes, until so many updates are made."""
    batch_size: int = 16
    """Images an update."""
    learning_rate: float = 3e-3
    """Peak of the one-cycle schedule of AdamW."""
    weight_decay: float = 1e-2
    """Decoupled weight decay."""
    averaging: float = 0.0
    """Decay of a running average of the weights, which predicts in place of the last ones; 0 takes the last."""
    class_balance: float = 0.0
    """Places of a class count by its share of all targets to the power of minus this; 0 counts all alike."""
    foreground_bias: float = 0.5
    """Taken from the background's logit after training. Intersection over union asks for more than the places that
    are more probably an object than not (Nowozin, CVPR 2014), and targets that a CRF has snapped are too small. In
    rounds it is lowered by the share of the images whose background was drawn on: their targets are not."""

    def __post_init__(self) -> None:
        check_ranges(self, hidden=(1, math.inf), dropout=(0, 1), epochs=(1, math.inf), min_steps=(0, math.inf))
        check_ranges(self, batch_size=(1, math.inf), learning_rate=(0, math.inf), weight_decay=(0, math.inf))
        check_ranges(self, averaging=(0, 0.9999), class_balance=(0, 1), foreground_bias=(-20, 20))


def train_head(
    inputs: Inputs,
    indices: NDArray[np.int64],
    targets: NDArray[np.floating],
    confidence: Array,
    options: HeadOptions,
) -> tuple[SegmentationHead, Curve]:
    """Train a new head on some of the images, on a GPU where there is one.

    Each batch takes the plain or the mirrored view, whose targets are mirrored with it.

    Args:
        inputs: Features and seed.
        indices: int64 (n,), the images to learn from.
        targets: float (N, C + 1, h, w), of all images.
        trust: float32 (N, h, w), of all images.
        options: Size and schedule.

    Returns:
        The head in evaluation mode, on the CPU, and the mean loss of each epoch.
    """
    random = np.random.default_rng(inputs.seed)
    device = usual_device()
    confidence = confidence * balance(targets, confidence, indices, options.class_balance)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(inputs.seed)
        head = SegmentationHead(inputs.reduced.shape[2], inputs.tags.shape[1], options.hidden, options.dropout)
        head.to(device)
        optimiser = torch.optim.AdamW(head.parameters(), options.learning_rate, weight_decay=options.weight_decay)
        average = None
        if options.averaging > 0:
            average = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(options.averaging), use_buffers=True)
        batches = max(1, round(len(indices) / options.batch_size))
        epochs = max(options.epochs, -(-options.min_steps // batches))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.learning_rate, total_steps=epochs * batches)
        curve: Curve = []
        head.train()
        for epoch in range(epochs):
            total = 0.0
            for chosen in np.array_split(random.permutation(indices), batches):
                chosen = np.sort(chosen)
                mirrored = len(inputs.reduced) > 1 and random.random() < 0.5
                features = torch.from_numpy(inputs.reduced[int(mirrored)][chosen]).to(device).float()
                target = torch.from_numpy(np.asarray(targets[chosen], np.float32)).to(device)
                weight = torch.from_numpy(confidence[chosen]).to(device)
                if mirrored:
                    target, weight = target.flip(-1), weight.flip(-1)
                loss = guidance_loss(head(features), target, weight)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                if average is not None:
                    average.update_parameters(head)
                total += float(loss.detach())
            curve.append({"epoch": epoch + 1, "loss": total / batches})
            inputs.progress("train the head", epoch + 1, epochs)
        if average is not None:
            head.load_state_dict(average.module.state_dict())
        head.favour_classes(options.foreground_bias)
    return head.cpu().eval(), curve


def balance(targets: NDArray[np.floating], confidence: Array, indices: NDArray[np.int64], power: float) -> Array:
    """Return how much every place counts, float32 (N, h, w), so that rare classes are not drowned.

    A class counts by its share of the trusted targets to the power of -power; a place by the mean of its classes, and
    the mean over all trusted places is one.
    """
    if power == 0:
        return np.ones_like(confidence)
    shares = np.einsum("nkhw,nhw->k", np.asarray(targets[indices], np.float32), confidence[indices])
    return np.einsum("nkhw,k->nhw", np.asarray(targets, np.float32), class_weights(shares, power))


def predict_all(inputs: Inputs, head: SegmentationHead, indices: NDArray[np.int64], batch_size: int = 32) -> Array:
    """Return probabilities float32 (n, C + 1, h, w) of images whose tags are known.

    Untagged classes are zero; where tags are doubted, every class counts as far as it is believed.
    """
    parts = []
    device = usual_device()
    head = copy.deepcopy(head).to(device)
    for start in range(0, len(indices), batch_size):
        chosen = indices[start : start + batch_size]
        views = [torch.from_numpy(view[chosen]).to(device).float() for view in inputs.reduced]
        probability = predict_probability(head, *views[:2]).cpu().numpy()
        parts.append(restrict_to_tags(probability, inputs.allowed[chosen]))
        inputs.progress("predict", min(start + batch_size, len(indices)), len(indices))
    return np.concatenate(parts)
