"""Grad-CAM and LayerCAM from activations: one pass of the trunk, then gradients of what follows it only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

GradientMethod = Literal["gradcam", "layercam"]

_CHUNK_BYTES = 16 << 20
"""Allocating larger gradients anew for each class costs more than their arithmetic."""


def gradient_maps(
    feature: Tensor,
    score: Callable[[Tensor], Tensor],
    classes: Sequence[int] | None = None,
    method: GradientMethod = "gradcam",
) -> Tensor:
    """Compute the maps of several classes at once, float (N, C, h, w), at least 0, not normalised, detached.

    Grad-CAM: ReLU(sum_k a_ck A_k), a_ck the mean over locations of g_ck = dS_c / dA_k. LayerCAM: ReLU(sum_k ReLU(g_ck)
    * A_k), location by location; it suits inner levels.

    The trunk needs no gradient: run it under `torch.no_grad` or `torch.inference_mode`. No hooks are set, no parameter
    or `grad` changes. `score` must treat each image by itself (batch norm in evaluation mode); it is called with a few
    images at a time.

    Args:
        feature: float (N, D, h, w), the activations A.
        score: Maps activations to class scores, float (N, C), before any sigmoid or softmax, for instance
            `lambda a: pooling(head(backbone.tail(a, level)))`.
        classes: Which classes, in this order; None for all.
        method: `gradcam` or `layercam`.

    Raises:
        ValueError: `method` is unknown, shapes do not fit, or the scores do not depend on the activations.

    Source: Selvaraju et al., ICCV 2017, equations 1 and 2; Jiang et al., IEEE TIP 2021, equations 4 to 6.
    """
    if method not in ("gradcam", "layercam"):
        raise ValueError(f"method must be gradcam or layercam, got {method!r}")
    if feature.ndim != 4:
        raise ValueError(f"feature must be (N, D, h, w), got {tuple(feature.shape)}")
    image_bytes = feature[:1].numel() * feature.element_size()
    chunk = max(1, _CHUNK_BYTES // max(1, image_bytes))
    with torch.inference_mode(False), torch.enable_grad():
        return torch.cat([_maps(part, score, classes, method) for part in feature.split(chunk)])


def _maps(
    feature: Tensor, score: Callable[[Tensor], Tensor], classes: Sequence[int] | None, method: GradientMethod
) -> Tensor:
    # Tensors of inference mode cannot enter a graph, their copies can.
    leaf = (feature.clone() if feature.is_inference() else feature.detach()).requires_grad_()
    scores = score(leaf)
    if scores.ndim != 2 or len(scores) != len(feature):
        raise ValueError(f"score must return ({len(feature)}, C), got {tuple(scores.shape)}")
    if not scores.requires_grad:
        raise ValueError("score must return scores that depend on the activations")
    chosen = list(range(scores.shape[1])) if classes is None else list(classes)
    if not chosen:
        return feature.new_zeros(len(feature), 0, *feature.shape[2:])
    # One class at a time: the gradients of all of them together would be C times the activations in memory.
    gradients = (torch.autograd.grad(scores[:, index].sum(), leaf, retain_graph=True)[0] for index in chosen)
    activation = leaf.detach()
    if method == "gradcam":
        weights = torch.stack([gradient.mean(dim=(2, 3)) for gradient in gradients], dim=1)
        return torch.einsum("ncd,ndhw->nchw", weights, activation).relu()
    return torch.stack([gradient.relu().mul_(activation).sum(dim=1) for gradient in gradients], dim=1).relu()
