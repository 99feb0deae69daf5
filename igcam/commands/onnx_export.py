"""`export_onnx`: the segmenter or the head of a run as one ONNX file, for any number and size of images."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcam.commands.predicting.models import chosen_model
from igcam.core.errors import IgcamError
from igcam.core.files import write_bytes
from igcam.methods.network import open_backbone
from igcam.runs.artefacts import RunArtefacts, open_model
from igcam.runs.folder import RunFolder
from igcam.runs.segmenter_file import read_segmenter

TOLERANCE = 1e-4
"""Maximum difference between the logits of the file and those of torch, as a share of the largest; else no file."""
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


class AtImageSize(nn.Module):
    """A network whose logits (N, C + 1, h, w) are resized to its images, float (N, 3, H, W) in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float (N, C + 1, H, W)."""
        return F.interpolate(self.network(images), images.shape[2:], mode="bilinear", align_corners=False)


def export_onnx(run: str | Path | RunFolder, out: str | Path, model: str | None = None) -> float:
    """Write a file with the input `images` and the output `logits`, both of any batch size, height and width.

    Images are float32 (N, 3, H, W), RGB in [0, 1], best squashed to `size` of the file's metadata; logits are float32
    (N, C + 1, H, W), background first. Mirrored views, boundary refinement and CRF are not included. `model` is `head`
    or `segmenter`; None takes the segmenter where the run has one.

    Returns:
        The largest difference of its logits from those of torch, as a share of the largest, at four sizes.

    Raises:
        IgcamError: The extra `igcam[onnx]` is not installed, the run does not have this model, or the network cannot
            be exported.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise IgcamError(f"export-onnx: needs {', '.join(missing)}: install igcam[onnx]")
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    network, size, multiple = _network(run, model)
    # Sides must be multiples of the patch of a vision transformer.
    sizes = [max(multiple, side // multiple * multiple) for side in (size, size // 2, size * 3 // 4)]
    facts = {"classes": json.dumps(run.classes), "size": str(size), "multiple": str(multiple)}
    content = _exported(network, sizes, facts, str(out))
    first, half, maximum = sizes
    odd = (1, half + multiple, first - multiple if first > multiple else first)
    difference = _difference(network, content, [(1, first, half), (2, half, maximum), (1, maximum, first), odd])
    if not difference <= TOLERANCE:
        raise IgcamError(f"{out}: is not written: its logits would differ from torch's by {difference:.2g}")
    write_bytes(out, content)
    return difference


def _network(run: RunFolder, model: str | None) -> tuple[nn.Module, int, int]:
    """Return the network, the side of the squares it was trained on, and the divisor of all sides."""
    if chosen_model(run, model) == "segmenter":
        segmenter, facts = read_segmenter(run.file("segmenter"))
        return AtImageSize(segmenter).eval(), facts.size, segmenter.encoder.backbone.multiple
    options, backbone = run.options, open_backbone(RunArtefacts(run), run.options)
    network = open_model(run).network(backbone)
    if network is None:
        raise IgcamError(f"{run.path}: has no head, as {options.entry.name} trains none: nothing to export")
    return AtImageSize(network).eval(), options.size, backbone.multiple


def _exported(network: nn.Module, sizes: list[int], facts: dict[str, str], out: str) -> bytes:
    dynamic = torch.export.Dim.DYNAMIC
    # Torch exports a dimension of one as a constant.
    images = torch.rand(2, 3, sizes[0], sizes[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            program: Any = torch.onnx.export(
                network,
                (images,),
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},),
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # the exporter raises many kinds
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise IgcamError(f"{out}: this network cannot be exported: {reason}") from error
    proto = program.model_proto
    for name, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, value
    content: bytes = proto.SerializeToString()
    return content


@torch.inference_mode()
def _difference(network: nn.Module, content: bytes, shapes: list[tuple[int, int, int]]) -> float:
    """Return the largest difference of logits at these batch sizes, heights and widths, as a share of the largest."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = 0.0
    for count, height, width in shapes:
        images = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))
        expected = network(images).numpy()
        found = session.run(None, {"images": images.numpy()})[0]
        worst = max(worst, float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max()))))
    return worst
