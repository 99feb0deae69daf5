"""The smallest runs that go through everything: 16 built-in scenes of 64 pixels and a tiny network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from igcam.data.formats.folder import read_folder
from igcam.data.sample import Dataset
from igcam.data.synthetic.scenes import SceneOptions
from igcam.methods.igcam.guidance import GuideOptions
from igcam.methods.igcam.method import IgcamOptions
from igcam.methods.igcam.reweighting import ReweightOptions
from igcam.methods.igcam.rounds import RoundOptions
from igcam.methods.options import FitOptions
from igcam.methods.training.finetuning import FinetuneOptions
from igcam.methods.training.head import HeadOptions
from igcam.models.backbone import BackboneOptions
from igcam.supervision.pseudo_labels import PseudoLabelOptions

# What is compared bit by bit must be computed alike, whatever ran before.
torch.set_num_threads(1)

SCENES = SceneOptions(size=64)
COUNT = 16


def tiny_dataset(scenes: Path) -> Dataset:
    """Read scenes that `write_scenes` wrote, with their masks as truth."""
    return read_folder(scenes / "photos", scenes / "tags.csv", scenes / "masks", SCENES.classes)


def tiny_options(weights: Path | None = None, **changes: Any) -> FitOptions:
    """Return options: with weights of an earlier run they take the place of training the backbone."""
    learning = RoundOptions(
        rounds=1, head=HeadOptions(hidden=16, epochs=1, min_steps=4), pseudo_labels=PseudoLabelOptions(size=32)
    )
    options = FitOptions(
        regime="finetune" if weights is None else "frozen",
        backbone=BackboneOptions("resnet10t", output_stride=8, weights=weights, pretrained=False, levels=(-2, -1)),
        size=64,
        components=(8, 8),
        object_prior=0.5,
        finetune=FinetuneOptions(epochs=1, learning_rate=3e-3),
        method=IgcamOptions(guide=GuideOptions(learn=learning), reweight=ReweightOptions(learn=learning)),
    )
    return replace(options, **changes)


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Return the content of all files that match, by their path in the folder."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for pattern in patterns
        for file in sorted(folder.glob(pattern))
        if file.is_file()
    }
