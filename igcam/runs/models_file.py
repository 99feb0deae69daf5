"""Heads, classifiers and reductions of a run as safetensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from igcam.core.errors import IgcamError
from igcam.core.files import read_tensors, write_tensors
from igcam.methods.classify import Classifier
from igcam.models.linear_head import LinearHead
from igcam.models.image_prior import ImagePrior
from igcam.models.reduction import Reduction
from igcam.models.segmentation_head import SegmentationHead
from igcam.models.image_prior import Tagger
from igcam.runs.folder import RunFolder


def write_classifier(path: Path, classifier: Classifier) -> None:
    """Write a fitted linear head."""
    head = classifier.head
    tensors = {
        "weight": torch.from_numpy(np.ascontiguousarray(head.weight)),
        "bias": torch.from_numpy(np.ascontiguousarray(head.bias)),
        "l2_gradient_steps_scale": torch.tensor(
            [head.l2, head.gradient_norm, float(head.newton_steps), classifier.scale], dtype=torch.float64
        ),
    }
    write_tensors(path, tensors)


def read_classifier(path: Path) -> Classifier:
    """Read what `write_classifier` wrote.

    Raises:
        IgcamError: The file is missing, damaged or of something else.
    """
    with _tensors(path, "classifier") as tensors:
        weight, bias = _weight_and_bias(tensors)
        l2, gradient_norm, steps, scale = tensors["l2_gradient_steps_scale"].tolist()
        return Classifier(LinearHead(weight.numpy(), bias.numpy(), l2, gradient_norm, int(steps)), scale)


def write_tagger(path: Path, tagger: Tagger) -> None:
    """Write what tells the tags of photos."""
    write_tensors(path, tagger.state_dict())


def read_tagger(path: Path) -> Tagger:
    """Read what `write_tagger` wrote.

    Raises:
        IgcamError: The file is missing, damaged or of something else.
    """
    with _tensors(path, "tagger") as tensors:
        return Tagger(*_weight_and_bias(tensors))


def read_image_prior(run: RunFolder, share: float) -> ImagePrior:
    """Read what a run has learnt of whole photos, and of objects where these are asked.

    Args:
        run: The run.
        share: How far whole photos count.

    Raises:
        IgcamError: A file is missing, damaged or of something else.
    """
    tagger = read_tagger(run.file("stages", "tagger", "tagger.safetensors"))
    object_prior_weight = run.options.object_prior_weight
    objects = read_tagger(run.file("stages", "objects", "tagger.safetensors")) if object_prior_weight > 0 else None
    return ImagePrior(tagger, share, objects, object_prior_weight)


def write_head(path: Path, head: SegmentationHead) -> None:
    """Write a segmentation head; its sizes follow from its tensors."""
    write_tensors(path, head.state_dict())


def read_head(path: Path) -> SegmentationHead:
    """Read what `write_head` wrote, in evaluation mode.

    Raises:
        IgcamError: The file is missing, damaged or of something else.
    """
    with _tensors(path, "segmentation head") as tensors:
        hidden, channels = _floats(tensors, "enter.weight", 4).shape[:2]
        head = SegmentationHead(channels, len(_floats(tensors, "leave.bias", 1)) - 1, hidden)
        head.load_state_dict(tensors)
        return head.eval()


def read_reduction(path: Path) -> Reduction:
    """Read the principal components that `igcam.runs.features` wrote.

    Raises:
        IgcamError: The file is missing, damaged or of something else.
    """
    with _tensors(path, "reduction") as tensors:
        reduction = Reduction.from_tensors(tensors)
        if not reduction.means:
            raise ValueError("it has no level")
        for index, mean in enumerate(reduction.means):
            if len(_floats(tensors, f"mean{index}", 1)) != len(_floats(tensors, f"projection{index}", 2)):
                raise ValueError(f"mean{index} has {len(mean)} channels, projection{index} others")
        return reduction


@contextmanager
def _tensors(path: Path, what: str) -> Iterator[dict[str, Tensor]]:
    """Read a file; whatever does not fit what is made of it is told in a line."""
    tensors = read_tensors(path)
    try:
        yield tensors
    except KeyError as error:
        raise IgcamError(f"{path}: is no file of a {what}: {error} is missing") from error
    except (TypeError, ValueError, RuntimeError) as error:
        # Torch lists every tensor in a line of its own.
        reason = " ".join(str(error).split())[:200]
        raise IgcamError(f"{path}: is no file of a {what}: {reason}") from error


def _weight_and_bias(tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return those of a linear head, (C, D) and (C,)."""
    weight, bias = _floats(tensors, "weight", 2), _floats(tensors, "bias", 1)
    if len(weight) != len(bias):
        raise ValueError(f"weight is of {len(weight)} classes, bias of {len(bias)}")
    return weight, bias


def _floats(tensors: dict[str, Tensor], name: str, dimensions: int) -> Tensor:
    tensor = tensors[name]
    if not tensor.is_floating_point() or tensor.ndim != dimensions or tensor.numel() == 0:
        raise ValueError(f"{name} must be floats of {dimensions} dimensions, is {tensor.dtype} {tuple(tensor.shape)}")
    return tensor
