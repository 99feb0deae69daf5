"""Distillation: a segmenter is trained on the masks of a run, and needs no tags.

The training is the same on one processor, on several processes and on many GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.parallel import default_workers, shared_cores
from igcam.core.progress import Progress
from igcam.core.validation import Count, Fraction, Natural, NonNegative, ScaleRange, Seed, between, one_of, options
from igcam.methods.training.head import pseudo_label_loss
from igcam.methods.training.loading import ExampleLoader, Examples
from igcam.methods.training.loop import Plan, Training, rate_at, scaled, total_confidence, train
from igcam.models.segmenter import SegmenterOptions

if TYPE_CHECKING:
    from accelerate import Accelerator


@options
class DistillOptions:
    """The segmenter and its training."""

    segmenter: SegmenterOptions = field(default_factory=SegmenterOptions)
    """The decoder."""
    regime: Annotated[str, one_of(("frozen", "finetune"))] = "frozen"
    """`frozen`: features of the backbone are computed once and the decoder is trained; `finetune`: the backbone is
    trained too, on photos that are augmented anew in each epoch."""
    size: Annotated[int, between(32, 4096, or_zero=True)] = 0
    """Side of the square in pixels to which photos are squashed; 0 takes the run's."""
    epochs: Count = 20
    """Passes over the images, in each round."""
    min_steps: Natural = 200
    """Few images get more passes, until this number of updates is reached."""
    batch_size: Count = 16
    """Images an update, over all processes together."""
    accumulate: Count = 1
    """Number of parts in which an update goes through the network, to save memory."""
    learning_rate: NonNegative = 5e-3
    """Peak rate of AdamW; it rises in the first tenth of all updates and falls to zero along a cosine."""
    backbone_rate: NonNegative = 0.002
    """Rate of the backbone as a share of `learning_rate`. A network that was trained on many photos forgets more than
    it gains from a few hundred: 0.1 cost half of the accuracy (benchmarks/finetuned_choice.py). Random weights need
    1."""
    weight_decay: NonNegative = 1e-2
    """Decoupled weight decay."""
    averaging: Annotated[float, between(0, 0.9999)] = 0.99
    """Decay of the exponential moving average of the weights: the teacher, which predicts between rounds and is the
    segmenter in the end."""
    class_balance: Fraction = 0.0
    """Locations of a class have the weight of its frequency in all masks to the power of minus this; 0 weighs all
    alike."""
    foreground_bias: Annotated[float, between(-20, 20)] = 0.5
    """Subtracted from the background's logit after training, as for the head of a run."""
    rounds: Annotated[int, between(1, 100)] = 1
    """In each further round the teacher's predictions, restricted to the tags, are mixed into the pseudo labels."""
    teacher_weight: Fraction = 0.5
    """Their weight in the pseudo labels of images without cues; the rest are the masks of the run."""
    tag_prior: NonNegative | None = None
    """Weight of the tag prior of the whole photo; null takes the run's, or 0 in the finetune regime, where the tagger
    is fitted to photos that the backbone was trained on and is overconfident on others."""
    compile: bool = False
    """Compile the network by torch.compile: pays on a GPU in long trainings."""
    scale: ScaleRange = (0.7, 1.5)
    """Finetune regime: range of the longer side of a photo, as a multiple of `size`."""
    colour: Annotated[float, between(0, 0.99)] = 0.2
    """Finetune regime: strength of random changes of brightness, contrast and saturation."""
    seed: Seed = 0
    """Seeds all that is random."""


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
    """Train in place, from the last finished epoch.

    Order, augmentation and dropout depend on seed, epoch and update only, so that a resumed training ends as an
    undisturbed one. The loss is the mean over all locations of an update, weighted by confidence, however many
    processes and parts share it.

    Args:
        training: Network, optimiser and teacher.
        examples: The images.
        options: The schedule.
        accelerator: Devices and processes.
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
