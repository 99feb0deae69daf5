"""Batch norm with statistics over all processes, on any device."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, here: Tensor) -> Tensor:
        total = here.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        # The input entered the sum of every process.
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


class SharedBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with two differences in training.

    Several processes normalise by the mean and variance over all their images, as a single process would; torch's own
    `nn.SyncBatchNorm` needs GPUs. A batch with a single value per channel, as behind global pooling, has no variance
    and is normalised by the running statistics.

    Source: Ioffe and Szegedy, ICML 2015.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised maps, float (N, K, h, w)."""
        if not self.training:
            return super().forward(input)
        count = input.numel() // input.shape[1]
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            return self._over_processes(input.float(), count).to(input.dtype)
        if count == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)

    def _over_processes(self, input: Tensor, count: int) -> Tensor:
        first, second = input.sum(dim=(0, 2, 3)), input.square().sum(dim=(0, 2, 3))
        here = torch.cat([first, second, first.new_tensor([float(count)])])
        first, second, total = _SumOverProcesses.apply(here).split([len(first), len(second), 1])
        mean = first / total
        variance = (second / total - mean.square()).clamp(min=0)
        number = float(total.detach())
        if number == 1:
            mean, variance = self.running_mean, self.running_var
        else:
            # The running statistics move as those of torch.
            share = 0.1 if self.momentum is None else self.momentum
            unbiased = variance.detach() * number / (number - 1)
            for kept, new in ((self.running_mean, mean.detach()), (self.running_var, unbiased)):
                if kept is not None:
                    kept.lerp_(new, share)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return input * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
