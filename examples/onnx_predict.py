"""Run a network that igcam export-onnx wrote, without torch: python onnx_predict.py MODEL.onnx PHOTO MASK.png."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
from PIL import Image


def main(model: str, photo: str, mask: str) -> None:
    """Write the ids of the classes, 0 for background, at the photo's own size."""
    session = onnxruntime.InferenceSession(model)
    facts = session.get_modelmeta().custom_metadata_map
    image = Image.open(photo).convert("RGB")
    pixels = np.asarray(image.resize((int(facts["size"]),) * 2), np.float32) / 255
    logits = session.run(None, {"images": pixels.transpose(2, 0, 1)[None]})[0][0]
    whole = [np.asarray(Image.fromarray(layer).resize(image.size, Image.Resampling.BILINEAR)) for layer in logits]
    Image.fromarray(np.argmax(whole, axis=0).astype(np.uint8)).save(mask)


if __name__ == "__main__":
    main(*sys.argv[1:])
