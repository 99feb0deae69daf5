"""Training the tail of a network and a head on the tags, on stored maps (regime `tail`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from igcam.core.parallel import default_workers
from igcam.core.progress import Progress
from igcam.core.validation import Count, NonNegative, one_of, options
from igcam.data.images import load_image
from igcam.methods.training.devices import open_accelerator
from igcam.methods.training.loading import ExampleLoader
from igcam.methods.training.loop import Batch, Curve, Loss, Plan, Training, scaled, train
from igcam.models.bank import FeatureBank
from igcam.models.pooling import POOLINGS
from igcam.models.tail import TailNetwork
from igcam.models.views import View


@options
class TailOptions:
    """Schedule of SGD with momentum 0.9, whose rates fall to zero as (1 - t)^0.9."""

    epochs: Count = 10
    """Passes over the images."""
    batch_size: Count = 16
    """Images an update."""
    learning_rate: NonNegative = 0.01
    """Rate of the tail at the start."""
    head_rate: NonNegative = 10.0
    """Rate of the head, as a multiple of it."""
    weight_decay: NonNegative = 5e-4
    """L2 penalty."""
    pooling: Annotated[str, one_of(POOLINGS)] = "average"
    """From logit maps to image logits, see `igcam.models.pooling`."""


@dataclass(frozen=True)
class StoredViews:
    """Images by the last but one level of a random view of the bank; losses know `tags` and `image`."""

    bank: FeatureBank
    images: Sequence[Path]
    tags: NDArray[np.float32]
    """float32 (N, C) of 0 and 1."""
    seed: int

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def load(self, index: int, epoch: int) -> Batch:
        """Return an image: its maps, its tags and its colours, float32 (3, h, w) in [0, 1], at the size of the maps."""
        view = self.bank.random_view(self.seed, epoch, index)
        *_, feature, last = self.bank.read(self.images[index], view)
        square = View(view.size, view.flip).apply(load_image(self.images[index])).astype(np.float32) / 255
        image = cv2.resize(square, last.shape[:0:-1], interpolation=cv2.INTER_AREA)
        return Batch(
            [torch.from_numpy(feature.astype(np.float32))],
            {"tags": torch.from_numpy(self.tags[index]), "image": torch.from_numpy(image).permute(2, 0, 1)},
        )


def train_tail(
    network: TailNetwork, examples: StoredViews, losses: Sequence[Loss], options: TailOptions, progress: Progress
) -> Curve:
    """Train in place, on a GPU where there is one, and return the mean loss of each epoch.

    Args:
        network: Comes back in evaluation mode, on the CPU.
        examples: The images; their seed decides on order, views and draws of the losses.
        losses: Functions of the raw logit maps and of what a batch knows; their sum is minimised.
        options: Schedule.
        progress: Called after each update.
    """
    accelerator = open_accelerator()
    network.to(memory_format=torch.channels_last)
    groups = [
        {"params": list(network.stages.parameters()), "lr": options.learning_rate},
        {"params": list(network.head.parameters()), "lr": options.learning_rate * options.head_rate},
    ]
    optimiser = torch.optim.SGD(groups, momentum=0.9, weight_decay=options.weight_decay)
    updates = max(1, round(len(examples) / options.batch_size))
    steps = options.epochs * updates

    def batches(epoch: int) -> Iterator[list[Batch]]:
        order = np.random.default_rng([examples.seed, epoch]).permutation(len(examples))
        return loader.updates([(chosen, 1) for chosen in np.array_split(order, updates)], epoch)

    plan = Plan(
        options.epochs,
        updates,
        batches,
        losses,
        scaled(optimiser, lambda step: (1 - step / steps) ** 0.9),
        seed=examples.seed,
        after_update=lambda done, total: progress("train the tail", done, total),
    )
    training = Training(network, optimiser)
    with ExampleLoader(examples, default_workers()) as loader, torch.random.fork_rng():
        train(training, plan, accelerator)
    accelerator.unwrap_model(network, keep_fp32_wrapper=False).to("cpu").eval()
    return training.curve
