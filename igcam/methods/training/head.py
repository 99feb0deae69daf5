"""Training a segmentation head on soft pseudo labels, on stored features (regime `frozen`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.validation import Count, Fraction, Natural, NonNegative, between, options
from igcam.losses import guidance_loss
from igcam.methods.inputs import Inputs
from igcam.methods.training.devices import OneDevice
from igcam.methods.training.loop import Batch, Curve, Plan, Training, one_cycle, train
from igcam.models.segmentation_head import SegmentationHead
from igcam.supervision.mask_targets import class_weights

Array = NDArray[np.float32]


@options
class HeadOptions:
    """Size and schedule of a segmentation head."""

    hidden: Count = 128
    """Width."""
    dropout: Fraction = 0.1
    """Share of channels dropped in training."""
    epochs: Count = 12
    """Passes over the images."""
    min_steps: Natural = 150
    """Few images get more passes, until this number of updates is reached."""
    batch_size: Count = 16
    """Images an update."""
    learning_rate: NonNegative = 3e-3
    """Peak of the one-cycle schedule of AdamW."""
    weight_decay: NonNegative = 1e-2
    """Decoupled weight decay."""
    averaging: Annotated[float, between(0, 0.9999)] = 0.0
    """Decay of an exponential moving average of the weights, which is kept in place of the last ones; 0 keeps the
    last."""
    class_balance: Fraction = 0.0
    """Locations of a class have the weight of its frequency in all pseudo labels to the power of minus this; 0 weighs
    all alike."""
    foreground_bias: Annotated[float, between(-20, 20)] = 0.5
    """Subtracted from the background's logit after training. Intersection over union asks for more locations than are
    objects with a probability above one half (Nowozin, CVPR 2014), and pseudo labels that a CRF has refined are too
    small. In rounds it is lowered by the share of images with annotated background, whose pseudo labels are not."""


def train_head(
    inputs: Inputs, indices: NDArray[np.int64], targets: NDArray[np.floating], confidence: Array, options: HeadOptions
) -> tuple[SegmentationHead, Curve]:
    """Train a new head on some of the images, on a GPU where there is one.

    Each batch takes the plain or the mirrored view and mirrors its pseudo labels alike.

    Args:
        inputs: Features and seed.
        indices: int64 (n,), the images to train on.
        targets: Pseudo labels of all images, float (N, C + 1, h, w).
        confidence: Of all images, float32 (N, h, w), at least 0.
        options: Size and schedule.

    Returns:
        The head in evaluation mode, on the CPU, and the mean loss of each epoch.
    """
    random = np.random.default_rng(inputs.seed)
    confidence = confidence * balance(targets, confidence, indices, options.class_balance)
    updates = max(1, round(len(indices) / options.batch_size))
    epochs = max(options.epochs, -(-options.min_steps // updates))

    def batches(epoch: int) -> Iterator[Sequence[Batch]]:
        for chosen in np.array_split(random.permutation(indices), updates):
            chosen = np.sort(chosen)
            mirrored = len(inputs.reduced) > 1 and random.random() < 0.5
            target = torch.from_numpy(np.asarray(targets[chosen], np.float32))
            known = {"target": target, "confidence": torch.from_numpy(confidence[chosen])}
            if mirrored:
                known = {name: tensor.flip(-1) for name, tensor in known.items()}
            yield [Batch([torch.from_numpy(inputs.reduced[int(mirrored)][chosen]).float()], known)]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(inputs.seed)
        head = SegmentationHead(inputs.reduced.shape[2], inputs.tags.shape[1], options.hidden, options.dropout)
        optimiser = torch.optim.AdamW(head.parameters(), options.learning_rate, weight_decay=options.weight_decay)
        begin = Training.with_teacher if options.averaging > 0 else Training
        training = begin(head, optimiser)
        plan = Plan(
            epochs,
            updates,
            batches,
            [pseudo_label_loss],
            one_cycle(optimiser, options.learning_rate, epochs * updates),
            averaging=lambda step: options.averaging if step else 0.0,
            after_epoch=lambda reached: inputs.progress("train the head", reached.epoch, epochs),
        )
        train(training, plan, OneDevice())
        head.load_state_dict(training.best.state_dict())
        head.favour_classes(options.foreground_bias)
    return head.cpu().eval(), training.curve


def pseudo_label_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Return the guidance loss to the pseudo labels of a batch, to whose size logits are resized."""
    target, confidence = batch.known["target"], batch.known["confidence"]
    if logits.shape[2:] != target.shape[2:]:
        logits = F.interpolate(logits, target.shape[2:], mode="bilinear", align_corners=False)
    return guidance_loss(logits, target, confidence)


def balance(targets: NDArray[np.floating], confidence: Array, indices: NDArray[np.int64], power: float) -> Array:
    """Return a weight for every location, float32 (N, h, w), that is larger for rare classes.

    A class has the weight of its frequency, weighted by confidence, to the power of -power; a location the mean over
    its classes. The mean over all locations, weighted by confidence, is one.
    """
    if power == 0:
        return np.ones_like(confidence)
    shares = np.einsum("nkhw,nhw->k", np.asarray(targets[indices], np.float32), confidence[indices])
    return np.einsum("nkhw,k->nhw", np.asarray(targets, np.float32), class_weights(shares, power))
