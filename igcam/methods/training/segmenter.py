"""The training loop of a segmenter: the same on one processor, on several processes and on many GPUs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from igcam.core.errors import IgcamError
from igcam.core.parallel import default_workers, shared_cores
from igcam.core.progress import Progress
from igcam.losses import guidance_loss
from igcam.methods.distill import DistillOptions
from igcam.methods.training.loading import Example, ExampleLoader, Examples

Curve = list[dict[str, float]]
WARM_UP = 0.1
"""Share of the updates in which the learning rate rises."""


@dataclass
class Training:
    """All that changes while a network learns."""

    model: nn.Module
    """The network."""
    optimiser: torch.optim.Optimizer
    """Of its parameters that learn."""
    teacher: nn.Module
    """The running average of its weights, in evaluation mode."""
    epoch: int = 0
    """Passes that are done."""
    curve: Curve = field(default_factory=list)
    """Mean loss of each epoch, those of earlier rounds first."""

    @classmethod
    def begin(cls, model: nn.Module, optimiser: torch.optim.Optimizer) -> Training:
        """Begin; the teacher starts as the network is."""
        return cls(model, optimiser, copy.deepcopy(model).eval().requires_grad_(False))

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, averages and the optimiser's moments, for a safetensors file."""
        named = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        named |= {f"teacher.{name}": tensor for name, tensor in self.teacher.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            named |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        return named

    def load(self, tensors: dict[str, Tensor], epoch: int, curve: Curve) -> None:
        """Go on from what `tensors` gave.

        Raises:
            RuntimeError: They are of another network.
        """
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "teacher": {}, "optimiser": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        self.teacher.load_state_dict(parts["teacher"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimiser"].items():
            index, _, rest = name.partition(".")
            moments.setdefault(int(index), {})[rest] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        self.epoch, self.curve = epoch, curve


def train(
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

    Order, variation and dropout follow from the seed, the epoch and the update alone, so that a training that was
    interrupted ends as an undisturbed one. The loss is the mean over the trusted places of the whole update, however
    many processes and parts share it.

    Args:
        training: What is trained.
        examples: The images.
        options: The schedule.
        accelerator: Knows devices and processes.
        save: Called by the main process after each epoch.
        progress: Called by it after each update.
        task: What it is told.
        workers: Threads or processes that load images; 0 is one a core, 8 at most.

    Raises:
        IgcamError: There are more processes than images an update, or an image cannot be loaded.
    """
    batches = batches_of(len(examples), options)
    epochs = epochs_of(len(examples), options)
    if len(examples) // batches < accelerator.num_processes:
        raise IgcamError(
            f"batch_size: an update of {len(examples) // batches} images is too small for "
            f"{accelerator.num_processes} processes"
        )
    peaks = [group["lr"] for group in training.optimiser.param_groups]
    # Channels stay last in memory, which convolutions prefer.
    training.model.to(memory_format=torch.channels_last)
    model, optimiser = accelerator.prepare(training.model, training.optimiser)
    training.teacher.to(accelerator.device)
    model.train()
    gpu = accelerator.device.type != "cpu"
    # Photos are varied by many short steps of Python, which keep a GPU waiting.
    loader = ExampleLoader(examples, workers or default_workers(), processes=gpu and options.regime == "finetune")
    # Beside a GPU the cores belong to those that load, one each.
    with shared_cores(torch.get_num_threads() if gpu else 1), loader, torch.random.fork_rng():
        while training.epoch < epochs:
            losses = 0.0
            chosen = _shares(len(examples), batches, training.epoch, options, accelerator)
            for position, parts in enumerate(loader.updates(chosen, training.epoch)):
                step = training.epoch * batches + position
                rate = rate_at(step, epochs * batches)
                for group, peak in zip(training.optimiser.param_groups, peaks, strict=True):
                    group["lr"] = peak * rate
                torch.manual_seed(options.seed + step * accelerator.num_processes + accelerator.process_index)
                losses += _update(model, optimiser, parts, accelerator)
                _average(training, options.averaging, step)
                if accelerator.is_main_process:
                    progress(task, step + 1, epochs * batches)
            training.epoch += 1
            training.curve.append({"epoch": len(training.curve) + 1, "loss": losses / batches})
            if accelerator.is_main_process:
                save(training)
    accelerator.wait_for_everyone()


def _shares(
    count: int, batches: int, epoch: int, options: DistillOptions, accelerator: Accelerator
) -> list[tuple[NDArray[np.intp], int]]:
    """Return this process's images of every update of an epoch, and their number of parts."""
    order = np.random.default_rng([options.seed, epoch]).permutation(count)
    shares = []
    for chosen in np.array_split(order, batches):
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


def rate_at(step: int, steps: int) -> float:
    """Return the learning rate of an update as a share of its peak: a linear rise, then a cosine to zero."""
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step + 1 - rise) / max(1, steps - rise))) / 2


def _update(model: Any, optimiser: Any, parts: list[Example], accelerator: Accelerator) -> float:
    """Make one update, and return its loss over all processes."""
    device = accelerator.device
    here = torch.stack([part.confidence.sum() for part in parts]).sum().to(device)
    total = accelerator.reduce(here, "sum").clamp(min=1e-6)
    loss_here = torch.zeros((), device=device)
    optimiser.zero_grad(set_to_none=True)
    for position, part in enumerate(parts):
        inputs = [_to_device(tensor, device) for tensor in part.inputs]
        target, confidence = part.target.to(device), part.confidence.to(device)
        # Processes exchange gradients once an update, with its last part.
        with accelerator.no_sync(model) if position + 1 < len(parts) else nullcontext():
            with accelerator.autocast():
                logits = model(inputs if len(inputs) > 1 else inputs[0])
            loss = guidance_loss(_on_grid(logits.float(), target), target, confidence) * confidence.sum() / total
            # Gradients are averaged over processes, and the loss is their sum.
            accelerator.backward(loss * accelerator.num_processes)
        loss_here += loss.detach()
    optimiser.step()
    return float(accelerator.reduce(loss_here, "sum"))


def _on_grid(logits: Tensor, target: Tensor) -> Tensor:
    if logits.shape[2:] == target.shape[2:]:
        return logits
    return F.interpolate(logits, target.shape[2:], mode="bilinear", align_corners=False)


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, memory_format=torch.channels_last)


@torch.no_grad()
def _average(training: Training, decay: float, step: int) -> None:
    """Move the teacher towards the network; in the first updates faster, so that its start is forgotten."""
    mine, theirs = (list(network.state_dict().values()) for network in (training.teacher, training.model))
    weights = [(old, new) for old, new in zip(mine, theirs, strict=True) if old.is_floating_point()]
    get_ema_multi_avg_fn(min(decay, step / (step + 10)))(*map(list, zip(*weights, strict=True)), step)
    for old, new in zip(mine, theirs, strict=True):
        if not old.is_floating_point():
            old.copy_(new)
