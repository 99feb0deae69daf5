"""SAM, SAM 2 and SAM 3 through transformers, an optional extra, as promptable segmenters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.proposals.promptable import ConceptSegmenter, PointAndBoxSegmenter
from igcam.proposals.segments import Image, Masks

Array = NDArray[np.float32]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
INSTALL = "promptable segmenters need transformers: pip install 'igcam[promptable]'"


def load_point_and_box_segmenter(
    model: str | Path, device: str = "cpu", dtype: str = "float32"
) -> PointAndBoxSegmenter:
    """Load SAM or SAM 2.

    Args:
        model: A folder in the layout of transformers, or a name on its hub.
        device: As torch names them.
        dtype: float32, float16 or bfloat16.

    Raises:
        IgcamError: transformers is not installed, the model cannot be had, or is of another kind.
    """
    kind, transformers = _kind(model)
    names = {"sam": ("SamModel", "SamProcessor"), "sam2": ("Sam2Model", "Sam2Processor")}
    if kind not in names:
        raise IgcamError(f"{model}: must be a SAM or SAM 2 model to be prompted by points and boxes, got {kind}")
    return _PointsAndBoxes(*_load(transformers, names[kind], model, device, dtype))


def load_concept_segmenter(
    model: str | Path, device: str = "cpu", dtype: str = "float32", threshold: float = 0.3
) -> ConceptSegmenter:
    """Load SAM 3; arguments and errors as for `load_point_and_box_segmenter`.

    Answers whose certainty is below `threshold` are dropped.
    """
    kind, transformers = _kind(model)
    if kind != "sam3":
        raise IgcamError(f"{model}: must be a SAM 3 model to be prompted by names, got {kind}")
    if not hasattr(transformers, "Sam3Model"):
        raise IgcamError(f"{model}: SAM 3 needs transformers 5 or newer, got {transformers.__version__}")
    network, processor = _load(transformers, ("Sam3Model", "Sam3Processor"), model, device, dtype)
    return _Concepts(network, processor, threshold)


class _PointsAndBoxes:
    """SAM and SAM 2: one pass over the image, then a light one for each kind of prompt."""

    def __init__(self, network: Any, processor: Any) -> None:
        self.network, self.processor = network, processor

    def __call__(self, image: Image, points: Array, boxes: Array) -> tuple[Masks, Array]:
        prompts = []
        if len(points):
            nested = [[[[float(x), float(y)]] for x, y in points]]
            prompts.append({"input_points": nested, "input_labels": [[[1]] * len(points)]})
        if len(boxes):
            prompts.append({"input_boxes": [[[float(value) for value in box] for box in boxes]]})
        masks: list[Masks] = [np.zeros((0, *image.shape[:2]), bool)]
        certainty: list[Array] = [np.zeros(0, np.float32)]
        embeddings = None
        with torch.inference_mode():
            for prompt in prompts:
                inputs = self.processor(images=image, return_tensors="pt", **prompt).to(
                    self.network.device, self.network.dtype
                )
                pixels = inputs.pop("pixel_values")
                if embeddings is None:
                    embeddings = self.network.get_image_embeddings(pixels)
                given = {name: inputs[name] for name in prompt}
                output = self.network(image_embeddings=embeddings, multimask_output=True, **given)
                sizes = [inputs[name].cpu() for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
                found = self.processor.post_process_masks(output.pred_masks.float().cpu(), *sizes)[0]
                masks.append(found.flatten(0, 1).numpy().astype(bool))
                certainty.append(output.iou_scores[0].flatten().float().cpu().numpy())
        return np.concatenate(masks), np.concatenate(certainty)


class _Concepts:
    """SAM 3: all objects of a noun."""

    def __init__(self, network: Any, processor: Any, threshold: float) -> None:
        self.network, self.processor, self.threshold = network, processor, threshold

    def __call__(self, image: Image, concept: str) -> tuple[Masks, Array]:
        with torch.inference_mode():
            inputs = self.processor(images=image, text=concept, return_tensors="pt").to(
                self.network.device, self.network.dtype
            )
            sizes = inputs.pop("original_sizes").tolist()
            output = self.network(**inputs)
            found = self.processor.post_process_instance_segmentation(
                output, threshold=self.threshold, target_sizes=sizes
            )[0]
        masks = found["masks"].cpu().numpy().astype(bool).reshape(-1, *image.shape[:2])
        return masks, found["scores"].float().cpu().numpy().reshape(-1)


def _kind(model: str | Path) -> tuple[str, Any]:
    """Return "sam", "sam2", "sam3" or another kind of model, and the library."""
    try:
        import transformers
    except ImportError as error:
        raise IgcamError(INSTALL) from error
    try:
        kind = str(transformers.AutoConfig.from_pretrained(str(model), **_where(model)).model_type)
    except (OSError, ValueError) as error:
        raise IgcamError(f"{model}: cannot be loaded: {str(error).splitlines()[0]}") from error
    # Published SAM 2 and SAM 3 weights are named after the video model, of which we take the image part.
    return kind.removesuffix("_video"), transformers


def _where(model: str | Path) -> dict[str, bool]:
    """Return the arguments that keep a local folder from being looked up on the hub."""
    return {"local_files_only": Path(model).is_dir()}


def _load(transformers: Any, names: tuple[str, str], model: str | Path, device: str, dtype: str) -> tuple[Any, Any]:
    if dtype not in DTYPES:
        raise IgcamError(f"dtype must be {', '.join(DTYPES)}, got {dtype}")
    try:
        network = getattr(transformers, names[0]).from_pretrained(str(model), **_where(model))
        processor = getattr(transformers, names[1]).from_pretrained(str(model), **_where(model))
        return network.to(device=torch.device(device), dtype=DTYPES[dtype]).eval(), processor
    except (OSError, ValueError, RuntimeError) as error:
        raise IgcamError(f"{model}: cannot be loaded: {str(error).splitlines()[0]}") from error
