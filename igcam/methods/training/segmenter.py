"""Training a segmenter on the masks of a run: the same on one processor, on several processes and on many GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.parallel import default_workers, shared_cores
from igcam.core.progress import Progress
from igcam.methods.distill import DistillOptions
from igcam.methods.training.head import pseudo_label_loss
from igcam.methods.training.loading import ExampleLoader, Examples
from igcam.methods.training.loop import Plan, Training, rate_at, scaled, total_confidence, train

if TYPE_CHECKING:
    from accelerate import Accelerator


def train_segmenter(
    training: Training,
    examples: Examples,
    options: DistillOptions,
    accelerator: Accelerator,
    save: Callable[[Training], None],
    progress: Progress,
    task: str = "train the segmenter",
    workers: int = 0,
) -> None:
    """Train in place, from the epoch that was reached.

    Order, augmentation and dropout follow from the seed, the epoch and the update alone, so that a training that was
    interrupted ends as an undisturbed one. The loss is the mean over all locations of an update, weighted by their
    confidence, however many processes and parts share it.

    Args:
        training: What is trained.
        examples: The images.
        options: The schedule.
        accelerator: Knows devices and processes.
        save: Called by the main process after each epoch.
        progress: Called by it after each update.
        task: Passed to `progress`.
        workers: Threads or processes that load images; 0 is one a core, 8 at most.

    Raises:
        IgcamError: There are more processes than images an update, or an image cannot be loaded.
    """
    count = len(examples)
    updates, epochs = batches_of(count, options), epochs_of(count, options)
    if count // updates < accelerator.num_processes:
        raise IgcamError(
            f"batch_size: an update of {count // updates} images is too small for {accelerator.num_processes} processes"
        )
    training.model.to(memory_format=torch.channels_last)
    gpu = accelerator.device.type != "cpu"
    # Augmentation is many short steps of Python, which keep a GPU waiting.
    loader = ExampleLoader(examples, workers or default_workers(), processes=gpu and options.regime == "finetune")
    plan = Plan(
        epochs,
        updates,
        lambda epoch: loader.updates(_shares(count, updates, epoch, options, accelerator), epoch),
        [pseudo_label_loss],
        scaled(training.optimiser, lambda step: rate_at(step, epochs * updates)),
        weight=total_confidence,
        # In the first updates the average is shorter, so that it forgets the start.
        averaging=lambda step: min(options.averaging, step / (step + 10)),
        seed=options.seed,
        after_update=lambda done, total: progress(task, done, total),
        after_epoch=save,
    )
    # Beside a GPU the cores belong to those that load, one each.
    with shared_cores(torch.get_num_threads() if gpu else 1), loader, torch.random.fork_rng():
        train(training, plan, accelerator)


def _shares(
    count: int, updates: int, epoch: int, options: DistillOptions, accelerator: Accelerator
) -> list[tuple[NDArray[np.intp], int]]:
    """Return this process's images of every update of an epoch, and their number of parts."""
    order = np.random.default_rng([options.seed, epoch]).permutation(count)
    shares = []
    for chosen in np.array_split(order, updates):
        mine = chosen[accelerator.process_index :: accelerator.num_processes]
        # As many in all processes, which wait for each other in every part.
        shares.append((mine, min(options.accumulate, len(chosen) // accelerator.num_processes)))
    return shares


def batches_of(count: int, options: DistillOptions) -> int:
    """Return the number of updates an epoch."""
    return max(1, round(count / options.batch_size))


def epochs_of(count: int, options: DistillOptions) -> int:
    """Return the number of epochs."""
    return max(options.epochs, -(-options.min_steps // batches_of(count, options)))
