"""The training loop of all networks: on one processor, on a GPU, or on many processes by accelerate."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from igcam.core.errors import IgcamError
from igcam.methods.training.devices import OneDevice

if TYPE_CHECKING:
    from accelerate import Accelerator

Curve = list[dict[str, float]]
WARM_UP = 0.1
"""Share of the updates in which the learning rate rises."""


@dataclass(frozen=True)
class Batch:
    """Images of one pass through the network, or a single one before they are joined."""

    inputs: Sequence[Tensor]
    """What the network takes; several tensors are passed as a list. Float (N, D, h, w) each; (D, h, w) of one image."""
    known: Mapping[str, Tensor]
    """What else the losses use, by name, such as `tags`, or `target` and `confidence`."""

    def to(self, device: torch.device) -> Batch:
        """Return the same on a device; the order of memory stays."""
        known = {name: tensor.to(device) for name, tensor in self.known.items()}
        return Batch([tensor.to(device) for tensor in self.inputs], known)


Loss = Callable[[Tensor, Batch], Tensor]
"""From raw logits, float32 (N, K, h, w), and what the batch knows to a scalar, the mean over the batch."""


def total_confidence(batch: Batch) -> Tensor:
    """Return the sum of the confidence of all locations, the weight of a part in the mean of its update."""
    return batch.known["confidence"].sum()


@dataclass
class Training:
    """The state of a training."""

    model: nn.Module
    """The network."""
    optimiser: torch.optim.Optimizer
    """Of its trained parameters."""
    teacher: nn.Module | None = None
    """Exponential moving average of its weights, in evaluation mode; None for none."""
    epoch: int = 0
    """Passes that are done."""
    curve: Curve = field(default_factory=list)
    """Mean loss of each epoch, those of earlier trainings first."""

    @classmethod
    def with_teacher(cls, model: nn.Module, optimiser: torch.optim.Optimizer) -> Training:
        """Begin with a copy of the network as its teacher."""
        return cls(model, optimiser, copy.deepcopy(model).eval().requires_grad_(False))

    @property
    def best(self) -> nn.Module:
        """The teacher; without one the network itself."""
        return self.model if self.teacher is None else self.teacher

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, averages and the optimiser's moments, for a safetensors file."""
        networks = {"model": self.model, "teacher": self.teacher}
        named = {
            f"{part}.{name}": tensor
            for part, network in networks.items()
            for name, tensor in (network.state_dict() if network is not None else {}).items()
        }
        for index, state in self.optimiser.state_dict()["state"].items():
            named |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        return named

    def load(self, tensors: dict[str, Tensor], epoch: int, curve: Curve) -> None:
        """Resume from what `tensors` gave; RuntimeError if they are of another network."""
        parts = _by_prefix(tensors)
        self.model.load_state_dict(parts["model"])
        if self.teacher is not None:
            self.teacher.load_state_dict(parts["teacher"])
        moments = {int(index): state for index, state in _by_prefix(parts.get("optimiser", {})).items()}
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        self.epoch, self.curve = epoch, curve


def _by_prefix(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return tensors by the part of their names before the first dot, then by the rest."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


@dataclass(frozen=True)
class Plan:
    """How a training goes."""

    epochs: int
    """Passes in all."""
    updates: int
    """Updates of the weights a pass."""
    batches: Callable[[int], Iterable[Sequence[Batch]]]
    """Epoch -> this process's share of every update, in one part or several that go through the network in turn."""
    losses: Sequence[Loss]
    """Their sum is minimised."""
    schedule: Callable[[int], None]
    """Called before each update with its number, to set the learning rate."""
    weight: Callable[[Batch], Tensor] = lambda batch: torch.ones(())
    """Weight of a part in the loss of its update; by default all parts weigh the same."""
    averaging: Callable[[int], float] = lambda step: 0.0
    """Update -> decay of the teacher's average; 0 takes the network as it is."""
    seed: int | None = None
    """Seeds dropout in each update, so that a resumed training ends as an undisturbed one; None does not."""
    after_update: Callable[[int, int], None] = lambda done, total: None
    """Called by the main process with the number of updates done and to do."""
    after_epoch: Callable[[Training], None] = lambda training: None
    """Called by the main process, to save a checkpoint."""


def train(training: Training, plan: Plan, accelerator: Accelerator | OneDevice) -> None:
    """Train in place, from the last finished epoch; the network comes back in training mode, on the device."""
    model, optimiser = accelerator.prepare(training.model, training.optimiser)
    if training.teacher is not None:
        training.teacher.to(accelerator.device)
    model.train()
    total = plan.epochs * plan.updates
    while training.epoch < plan.epochs:
        losses = 0.0
        for step, parts in enumerate(plan.batches(training.epoch), start=training.epoch * plan.updates):
            plan.schedule(step)
            if plan.seed is not None:
                torch.manual_seed(plan.seed + step * accelerator.num_processes + accelerator.process_index)
            losses += _update(model, optimiser, parts, plan, accelerator)
            if training.teacher is not None:
                _average(training.teacher, training.model, plan.averaging(step), step)
            if accelerator.is_main_process:
                plan.after_update(step + 1, total)
        if not math.isfinite(losses):
            raise IgcamError(f"training diverged: its loss is {losses} in epoch {training.epoch + 1}; lower its rate")
        training.epoch += 1
        training.curve.append({"epoch": len(training.curve) + 1, "loss": losses / plan.updates})
        if accelerator.is_main_process:
            plan.after_epoch(training)
    accelerator.wait_for_everyone()


def _update(
    model: Any, optimiser: Any, parts: Sequence[Batch], plan: Plan, accelerator: Accelerator | OneDevice
) -> float:
    """Make one update, and return its loss over all parts and processes."""
    device = accelerator.device
    weights = [plan.weight(part) for part in parts]
    total = accelerator.reduce(torch.stack(weights).sum().to(device), "sum").clamp(min=1e-6)
    loss_here = torch.zeros((), device=device)
    optimiser.zero_grad(set_to_none=True)
    for position, (part, weight) in enumerate(zip(parts, weights, strict=True)):
        batch = part.to(device)
        # Processes exchange gradients once an update, with its last part.
        with accelerator.no_sync(model) if position + 1 < len(parts) else nullcontext():
            with accelerator.autocast():
                logits = model(batch.inputs if len(batch.inputs) > 1 else batch.inputs[0]).float()
            loss = torch.stack([loss(logits, batch) for loss in plan.losses]).sum() * weight.to(device) / total
            # Gradients are averaged over processes, and the loss is their sum.
            accelerator.backward(loss * accelerator.num_processes)
        loss_here += loss.detach()
    optimiser.step()
    return float(accelerator.reduce(loss_here, "sum"))


@torch.no_grad()
def _average(teacher: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    mine, theirs = (list(network.state_dict().values()) for network in (teacher, model))
    pairs = [(old, new) for old, new in zip(mine, theirs, strict=True) if old.is_floating_point()]
    get_ema_multi_avg_fn(decay)(*map(list, zip(*pairs, strict=True)), step)
    for old, new in zip(mine, theirs, strict=True):
        if not old.is_floating_point():
            old.copy_(new)


def one_cycle(optimiser: torch.optim.Optimizer, peak: float, steps: int) -> Callable[[int], None]:
    """Return a schedule of rate and momentum in one cycle (Smith, 2018), for a training that is never resumed."""
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps)
    return lambda step: cycle.step() if step else None


def scaled(optimiser: torch.optim.Optimizer, factor: Callable[[int], float]) -> Callable[[int], None]:
    """Return a schedule that multiplies the present rates of the optimiser by a factor."""
    peaks = [group["lr"] for group in optimiser.param_groups]

    def schedule(step: int) -> None:
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * factor(step)

    return schedule


def rate_at(step: int, steps: int) -> float:
    """Return a factor of the learning rate: a linear rise to 1, then a cosine to 0."""
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step + 1 - rise) / max(1, steps - rise))) / 2
