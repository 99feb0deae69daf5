"""Step `backbone`: the network of a run, as it came or trained on the tags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from igcam.core.progress import Progress
from igcam.data.sample import Dataset
from igcam.core.files import write_tensors
from igcam.methods.training.finetune import finetune
from igcam.models.backbone import Backbone, build_backbone
from igcam.models.localiser import Localiser
from igcam.runs.options import FitOptions
from igcam.runs.folder import RunFolder



def run_backbone(run: RunFolder, options: FitOptions, dataset: Dataset, step: Any, progress: Progress) -> Backbone:
    """Return the backbone of a run; in the finetune regime it is trained first and kept in the run."""
    if options.regime == "finetune" and not run.is_done("finetune"):
        with step("finetune") as facts, torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            # The tags train the last level; the inner ones are taken along.
            backbone = build_backbone(replace(options.backbone, levels=options.backbone.levels[-1:]))
            localiser = Localiser(backbone, len(dataset.classes), options.finetune.pooling)
            images = [sample.image for sample in dataset]
            facts["curve"] = finetune(
                localiser,
                images,
                dataset.tag_matrix(),
                options.size,
                options.finetune,
                options.seed,
                progress,
            )
            write_tensors(_weights(run), backbone.network.state_dict())
    return open_backbone(run, options)


def open_backbone(run: RunFolder, options: FitOptions) -> Backbone:
    """Build the backbone that a run has used."""
    chosen = options.backbone
    if options.regime == "finetune":
        chosen = replace(chosen, weights=_weights(run), pretrained=False)
    with torch.random.fork_rng(devices=[]):
        # Random weights, where no others are asked for, must be the same in every process.
        torch.manual_seed(options.seed)
        return build_backbone(chosen)


def _weights(run: RunFolder) -> Path:
    return run.file("stages", "finetune", "backbone.safetensors")
