"""The processes and devices that share a training, by accelerate."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from igcam.core.errors import IgcamError
from igcam.core.parallel import usual_device

if TYPE_CHECKING:
    from accelerate import Accelerator

_PATIENCE = timedelta(hours=12)
"""How long processes wait for each other: computing features takes long."""


def open_accelerator(compile: bool = False) -> Accelerator:
    """Join the processes that torchrun or `accelerate launch` has started, if any.

    GPUs compute in mixed precision: bfloat16 where the GPU has it, which needs no loss scaling, else float16. With
    `compile`, networks are compiled by torch.compile.

    Raises:
        IgcamError: There are more processes on this machine than GPUs.
    """
    # Importing it takes half a second.
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    gpu = torch.cuda.is_available()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if gpu and here > torch.cuda.device_count():
        raise IgcamError(f"{here} processes were started for {torch.cuda.device_count()} GPUs: start one for each")
    precision = ("bf16" if torch.cuda.is_bf16_supported() else "fp16") if gpu else "no"
    return Accelerator(
        cpu=not gpu,
        mixed_precision=precision,
        dynamo_backend="INDUCTOR" if compile else "NO",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )


def is_main_process() -> bool:
    """Tell whether this process reports; true where there is only one."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


class OneDevice:
    """Stands in for an accelerator where one process trains a small head in full precision."""

    num_processes, process_index, is_main_process = 1, 0, True

    def __init__(self) -> None:
        self.device = usual_device()

    def prepare(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Move the network to the device."""
        return model.to(self.device), optimiser

    def autocast(self, model: nn.Module | None = None) -> AbstractContextManager[None]:
        """Keep full precision, and as `no_sync` the gradients of this process."""
        return nullcontext()

    no_sync = autocast

    def backward(self, loss: Tensor) -> None:
        """Compute gradients."""
        loss.backward()

    def reduce(self, tensor: Tensor, reduction: str) -> Tensor:
        """Return the tensor itself."""
        return tensor

    def wait_for_everyone(self) -> None:
        """Return at once."""
