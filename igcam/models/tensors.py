"""Checks of tensors read from a file."""

from __future__ import annotations

from torch import Tensor


def floats(tensors: dict[str, Tensor], name: str, dimensions: int) -> Tensor:
    """Return a float tensor; KeyError if it is missing, ValueError if empty or of another type or dimension."""
    tensor = tensors[name]
    if not tensor.is_floating_point() or tensor.ndim != dimensions or tensor.numel() == 0:
        raise ValueError(f"{name} must be floats of {dimensions} dimensions, is {tensor.dtype} {tuple(tensor.shape)}")
    return tensor


def weight_and_bias(tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return those of a linear head, (C, D) and (C,); KeyError or ValueError if they are missing or do not fit."""
    weight, bias = floats(tensors, "weight", 2), floats(tensors, "bias", 1)
    if len(weight) != len(bias):
        raise ValueError(f"weight is of {len(weight)} classes, bias of {len(bias)}")
    return weight, bias
