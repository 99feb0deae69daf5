"""Training a localiser on the tags: backbone and 1x1 head together (regime `finetune`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.progress import Progress
from igcam.core.validation import Count, NonNegative, ScaleRange, between, options
from igcam.data.images import load_image
from igcam.data.transforms import AugmentOptions, PairedAugment
from igcam.losses import multilabel_loss
from igcam.methods.training.devices import open_accelerator
from igcam.methods.training.loop import Batch, Curve, Plan, Training, one_cycle, train
from igcam.models.localiser import Localiser
from igcam.models.views import View


@options
class FinetuneOptions:
    """Schedule and augmentation."""

    epochs: Count = 20
    """Passes over the images."""
    batch_size: Count = 16
    """Images an update."""
    learning_rate: NonNegative = 1e-3
    """Peak of the one-cycle schedule of AdamW; a tenth of it or less suits pretrained weights."""
    weight_decay: NonNegative = 0.05
    """Decoupled weight decay."""
    pooling: str = "average"
    """From logit maps to image logits, see `igcam.models.pooling`; `top` needs fewer epochs for small objects."""
    scale: ScaleRange = (0.8, 1.25)
    """Range of the random size of the photo, as a multiple of the view's."""
    colour: Annotated[float, between(0, 0.99)] = 0.2
    """Strength of random changes of brightness, contrast and saturation."""


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

    Photos are squashed to squares, kept in memory as uint8 (0.4 MB each at 384 pixels), and augmented anew in each
    epoch.

    Args:
        localiser: Comes back in evaluation mode, on the CPU.
        images: N files.
        tags: float32 (N, C) of 0 and 1.
        size: Side of the square in pixels.
        options: Schedule and augmentation.
        seed: Seeds order and augmentation.
        progress: Called after each batch.
    """
    accelerator = open_accelerator()
    localiser.to(memory_format=torch.channels_last)
    with ThreadPoolExecutor(2) as threads:
        pixels = list(threads.map(lambda path: View(size).apply(load_image(path)), images))
    scale, colour = options.scale, options.colour
    augment = PairedAugment(AugmentOptions(size, scale, brightness=colour, contrast=colour, saturation=colour, hue=0))
    generator = torch.Generator().manual_seed(seed)
    targets = torch.from_numpy(tags)
    updates = max(1, len(images) // options.batch_size)

    def batches(epoch: int) -> Iterator[Sequence[Batch]]:
        for chosen in torch.randperm(len(images), generator=generator).tensor_split(updates):
            varied = [augment(pixels[index], generator=generator)[0].as_subclass(Tensor) for index in chosen.tolist()]
            views = torch.stack(varied).to(memory_format=torch.channels_last)
            yield [Batch([views], {"tags": targets[chosen]})]

    optimiser = torch.optim.AdamW(localiser.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    training = Training(localiser, optimiser)
    plan = Plan(
        options.epochs,
        updates,
        batches,
        [lambda logits, batch: multilabel_loss(localiser.pooling(logits), batch.known["tags"])],
        one_cycle(optimiser, options.learning_rate, options.epochs * updates),
        after_update=lambda done, total: progress("train the backbone on the tags", done, total),
    )
    train(training, plan, accelerator)
    accelerator.unwrap_model(localiser, keep_fp32_wrapper=False).to("cpu").eval()
    return training.curve
