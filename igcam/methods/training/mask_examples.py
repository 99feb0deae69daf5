"""Training examples of a segmenter: masks of a run with their confidence, and features or augmented photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.files import read_tensors
from igcam.data.images import load_image
from igcam.data.masks import MaskFile, class_lookup
from igcam.data.transforms import AugmentOptions, PairedAugment
from igcam.methods.distill import DistillOptions
from igcam.methods.training.loop import Batch
from igcam.models.bank import FeatureBank
from igcam.models.views import View
from igcam.refine.stack import resized
from igcam.supervision.mask_targets import class_weights, mask_target

Array = NDArray[np.float32]
_COARSE = 32
"""Side of the grid on which the frequencies of the classes are counted."""


@dataclass(frozen=True)
class Masks:
    """Masks of a run, their confidence and the teacher's predictions, by the index of the image."""

    files: Sequence[Path]
    """NAME.png."""
    classes: int
    """Number of classes C."""
    confidence: NDArray[np.floating] | None
    """(N, h, w), at least 0, clipped to 1; None is 1 everywhere."""
    teacher: Sequence[Path | None]
    """Predictions of the previous round, to mix into the pseudo labels; None for images without."""
    teacher_weight: float
    """Their weight, 0 to 1."""
    weights: Array | None = None
    """Weights of the classes, float32 (C + 1,); None is 1 for all."""

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return the mask of an image, uint8 (H, W); IgcamError if it cannot be read or has unknown ids."""
        return MaskFile(self.files[index], class_lookup(self.classes)).read()

    def confidence_map(self, index: int, height: int, width: int) -> Array:
        """Return the confidence of every location, float32 (height, width) in 0..1."""
        if self.confidence is None:
            return np.ones((height, width), np.float32)
        # Given masks can have a hundredfold weight, to which a large decoder would overfit.
        return resized(np.minimum(np.asarray(self.confidence[index], np.float32), 1)[None], height, width)[0]

    def teacher_map(self, index: int, height: int, width: int) -> Array | None:
        """Return the teacher's probabilities, float32 (C + 1, height, width), or None."""
        file = self.teacher[index]
        if file is None:
            return None
        kept = read_tensors(file)
        full = np.zeros((self.classes + 1, height, width), np.float32)
        full[kept["ids"].numpy()] = resized(kept["probability"].numpy(), height, width)
        return full

    def example(
        self, inputs: Sequence[Tensor], mask: NDArray[np.uint8], confidence: Array, teacher: Array | None, side: int
    ) -> Batch:
        """Return the inputs of the network with their pseudo label on a grid of `side` locations a side.

        The mask is uint8 (H, W), the confidence float32 (H', W') and the teacher float32 (C + 1, H'', W''), if any.
        """
        target, known = mask_target(mask, self.classes, side, side)
        if teacher is not None:
            # Outside an augmented photo the teacher's probabilities are zero.
            predicted = resized(teacher, side, side, cv2.INTER_AREA)
            predicted /= np.maximum(predicted.sum(axis=0), 1e-6)
            target = (1 - self.teacher_weight) * target + self.teacher_weight * predicted
        weight = known * resized(confidence[None], side, side, cv2.INTER_AREA)[0]
        if self.weights is not None:
            weight *= np.einsum("khw,k->hw", target, self.weights)
        return Batch(inputs, {"target": torch.from_numpy(target), "confidence": torch.from_numpy(weight)})

    def balanced(self, power: float) -> Array | None:
        """Return `weights` from the frequencies of the classes in all masks; None for a power of 0."""
        if power == 0:
            return None
        shares = np.zeros(self.classes + 1)
        for index in range(len(self.files)):
            target, known = mask_target(self.mask(index), self.classes, _COARSE, _COARSE)
            shares += (target * known * self.confidence_map(index, _COARSE, _COARSE)).sum(axis=(1, 2))
        return class_weights(shares, power)


@dataclass(frozen=True)
class FrozenExamples:
    """Reduced levels from a feature bank, plain or mirrored."""

    masks: Masks
    images: Sequence[Path]
    bank: FeatureBank
    seed: int

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def load(self, index: int, epoch: int) -> Batch:
        """Return an image in a random view of the bank."""
        view = self.bank.random_view(self.seed, epoch, index)
        levels = [torch.from_numpy(level.astype(np.float32)) for level in self.bank.read(self.images[index], view)]
        side = view.size // 4
        confidence, teacher = self.masks.confidence_map(index, side, side), self.masks.teacher_map(index, side, side)
        example = self.masks.example(levels, self.masks.mask(index), confidence, teacher, side)
        if not view.flip:
            return example
        return Batch(levels, {name: tensor.flip(-1) for name, tensor in example.known.items()})


@dataclass(frozen=True)
class AugmentedExamples:
    """Photos that are augmented anew in each epoch: scale, crop, mirror and colours."""

    masks: Masks
    images: Sequence[Path]
    flip: bool
    options: DistillOptions
    """`size` is not 0."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def load(self, index: int, epoch: int) -> Batch:
        """Return an image, float32 (3, size, size) in [0, 1], and its pseudo label."""
        photo = load_image(self.images[index])
        # The photo is squashed to a square, as for prediction, no larger than needed.
        side = max(1, min(max(photo.shape[:2]), round(self.options.size * self.options.scale[1])))
        layers: dict[str, NDArray[np.generic]] = {
            "mask": cv2.resize(self.masks.mask(index), (side, side), interpolation=cv2.INTER_NEAREST_EXACT),
            "confidence": self.masks.confidence_map(index, side, side),
        }
        teacher = self.masks.teacher_map(index, side, side)
        if teacher is not None:
            layers["teacher"] = teacher
        size, scale, colour = self.options.size, self.options.scale, self.options.colour
        flip = 0.5 if self.flip else 0.0
        augment = PairedAugment(
            AugmentOptions(size, scale, flip=flip, brightness=colour, contrast=colour, saturation=colour, hue=0)
        )
        entropy = np.random.SeedSequence([self.options.seed, epoch, index]).generate_state(1)
        generator = torch.Generator().manual_seed(int(entropy[0]))
        picture, moved = augment(View(side).apply(photo), layers, generator)
        kept = {name: layer.as_subclass(Tensor).numpy() for name, layer in moved.items()}
        inputs = [picture.as_subclass(Tensor)]
        return self.masks.example(inputs, kept["mask"], kept["confidence"], kept.get("teacher"), self.options.size // 4)
