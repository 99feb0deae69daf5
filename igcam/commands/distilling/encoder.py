"""The encoder of a segmenter: the backbone of a run at the decoder's levels, with principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from igcam.core.files import read_tensors, write_tensors
from igcam.core.progress import Progress
from igcam.data.images import load_image
from igcam.methods.features import SAMPLED_LOCATIONS
from igcam.methods.network import open_backbone
from igcam.methods.options import FitOptions
from igcam.models.backbone import BackboneOptions, build_backbone
from igcam.models.decoders import choose_levels
from igcam.models.reduction import Reduction, fit_reduction, sample_locations
from igcam.models.segmenter import Encoder, SegmenterOptions
from igcam.models.views import View, to_pixels
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder

SAMPLED_IMAGES = 128
"""Images to which the principal components are fitted."""


def open_encoder(run: RunFolder, options: SegmenterOptions) -> tuple[Encoder, BackboneOptions]:
    """Build the backbone of a run at the levels of a decoder; the projections are still random.

    Returns:
        The encoder, and the options that its backbone was built with.

    Raises:
        IgcamError: The network has too few stages for the decoder.
    """
    fitted = run.options
    levels = decoder_levels(fitted, options.decoder)
    chosen = replace(fitted.backbone, levels=levels)
    backbone = open_backbone(RunArtefacts(run), fitted, chosen)
    return Encoder(backbone, options.max_components), chosen


def decoder_levels(fitted: FitOptions, decoder: str) -> tuple[int, ...]:
    """Return the stages of a run's network that a decoder takes, none deeper than the last one of the run."""
    with torch.random.fork_rng(devices=[]):
        plain = build_backbone(replace(fitted.backbone, weights=None, pretrained=False))
    strides = [int(stage["reduction"]) for stage in plain.network.feature_info]
    return choose_levels(decoder, strides[: plain.levels[-1] + 1])


def reduce_levels(
    encoder: Encoder, images: Sequence[Path], size: int, file: Path, seed: int, progress: Progress
) -> None:
    """Fit the principal components of every level to a sample of images and write them, unless the file exists."""
    if file.exists():
        return
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(images), min(SAMPLED_IMAGES, len(images)), replace=False))
    samples: list[list[np.ndarray]] = [[] for _ in encoder.channels]
    for done, index in enumerate(chosen, start=1):
        with torch.inference_mode():
            square = View(size).apply(load_image(images[index]))[None]
            levels = encoder.backbone(to_pixels(square, encoder.mean.device))
        for sample, level in zip(samples, levels, strict=True):
            sample.append(sample_locations(level[0].cpu().numpy(), -(-SAMPLED_LOCATIONS // len(chosen)), random))
        progress("sample features", done, len(chosen))
    reduction = fit_reduction([np.concatenate(sample) for sample in samples], encoder.channels)
    write_tensors(file, reduction.tensors())


def use_reduction(encoder: Encoder, file: Path) -> None:
    """Load the projections that `reduce_levels` has written."""
    encoder.use_reduction(Reduction.from_tensors(read_tensors(file)))
