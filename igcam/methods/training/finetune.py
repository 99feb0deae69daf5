"""Training a localiser on the tags: backbone and 1x1 head together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.errors import IgcamError, check_ranges
from igcam.core.progress import Progress
from igcam.data.images import load_image
from igcam.data.transforms import AugmentOptions, PairedAugment
from igcam.losses import multilabel_loss
from igcam.models.devices import usual_device
from igcam.models.localiser import Localiser
from igcam.models.views import View

Curve = list[dict[str, float]]


@dataclass(frozen=True)
class FinetuneOptions:
    """Schedule and augmentation."""

    epochs: int = 20
    """Passes over the images."""
    batch_size: int = 16
    """Images an update."""
    learning_rate: float = 1e-3
    """Peak of the one-cycle schedule of AdamW; a tenth of it or less suits pretrained weights."""
    weight_decay: float = 0.05
    """Decoupled weight decay."""
    pooling: str = "average"
    """From logit maps to image logits, see `igcam.models.pooling`; `top` finds small parts in fewer epochs."""
    scale: tuple[float, float] = (0.8, 1.25)
    """Range of the random size of the photo, as a multiple of the view's."""
    colour: float = 0.2
    """Strength of random changes of brightness, contrast and saturation."""

    def __post_init__(self) -> None:
        check_ranges(self, epochs=(1, math.inf), batch_size=(1, math.inf), learning_rate=(0, math.inf))
        check_ranges(self, weight_decay=(0, math.inf), colour=(0, 0.99))
        if not 0 < self.scale[0] <= self.scale[1]:
            raise IgcamError(f"scale must be 0 < low <= high, got {self.scale}")


def finetune(
    localiser: Localiser,
    images: Sequence[Path],
    tags: NDArray[np.float32],
    size: int,
    options: FinetuneOptions,
    seed: int,
    progress: Progress,
) -> Curve:
    """Train in place, on a GPU where there is one, and return the mean loss of each epoch.

    Photos are squashed to the square of the view, kept in memory as uint8 (0.4 MB each at 384 pixels), and
    varied anew in each epoch. Mixed precision and channels-last layout are used on a GPU.

    Args:
        localiser: Comes back in evaluation mode, on the CPU.
        images: N files.
        tags: float32 (N, C).
        size: Side of the square in pixels.
        options: See there.
        seed: Order and augmentation.
        progress: Called after each batch.
    """
    device = usual_device()
    localiser.to(device).to(memory_format=torch.channels_last).train()
    with ThreadPoolExecutor(2) as threads:
        pixels = list(threads.map(lambda path: View(size).apply(load_image(path)), images))
    augment = PairedAugment(
        AugmentOptions(
            size=size,
            scale=options.scale,
            brightness=options.colour,
            contrast=options.colour,
            saturation=options.colour,
            hue=0,
        )
    )
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(localiser.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    batches = max(1, len(images) // options.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.learning_rate, total_steps=options.epochs * batches
    )
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    targets = torch.from_numpy(tags)
    curve: Curve = []
    for epoch in range(options.epochs):
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for step, chosen in enumerate(order.tensor_split(batches)):
            batch = _batch(augment, [pixels[index] for index in chosen.tolist()], generator).to(
                device, memory_format=torch.channels_last
            )
            with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
                logits = localiser.image_logits(batch)
            loss = multilabel_loss(logits.float(), targets[chosen].to(device))
            optimiser.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
            schedule.step()
            total += float(loss.detach())
            progress("train the backbone on the tags", epoch * batches + step + 1, options.epochs * batches)
        curve.append({"epoch": epoch + 1, "loss": total / batches})
    localiser.to("cpu").eval()
    return curve


def _batch(augment: PairedAugment, images: Sequence[NDArray[np.uint8]], generator: torch.Generator) -> Tensor:
    """Return float32 (n, 3, size, size) in [0, 1], each image varied by its own draw."""
    return torch.stack([augment(image, generator=generator)[0].as_subclass(Tensor) for image in images])
