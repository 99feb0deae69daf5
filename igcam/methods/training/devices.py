"""The processes and devices that share a training, by accelerate."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import InitProcessGroupKwargs

from igcam.core.errors import IgcamError

_PATIENCE = timedelta(hours=12)
"""How long processes wait for each other: computing features takes long."""


def open_accelerator(compile: bool = False) -> Accelerator:
    """Join the processes that torchrun or `accelerate launch` has started; alone where there are none.

    On GPUs mixed precision is used: bfloat16, which needs no scale of the loss, where the GPU has it, else float16.

    Args:
        compile: Compile networks by torch.compile.

    Raises:
        IgcamError: There are more processes on this machine than GPUs.
    """
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
    """Tell whether this is the process that reports; true where there is only one."""
    return bool(PartialState().is_main_process)
