"""The first stages of every method: the network, trained on the tags where that is asked, and its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from igcam.methods.base import AllImages, Artefacts, Stage, Work
from igcam.methods.features import build_features
from igcam.methods.options import FitOptions
from igcam.methods.training.finetuning import finetune
from igcam.models.backbone import Backbone, BackboneOptions, build_backbone
from igcam.models.localiser import Localiser


def network_stages(run: FitOptions) -> tuple[Stage, ...]:
    """Return the stages that a method begins with."""
    return (*((Finetune(run),) if run.regime == "finetune" else ()), Features(run))


def open_backbone(artefacts: Artefacts, run: FitOptions, chosen: BackboneOptions | None = None) -> Backbone:
    """Build the backbone of a run, with its trained weights; `chosen` replaces its options, such as the levels."""
    chosen = chosen or run.backbone
    if run.regime == "finetune":
        chosen = replace(chosen, weights=artefacts.file("finetune/backbone"), pretrained=False)
    with torch.random.fork_rng(devices=[]):
        # Random weights must be the same in every process.
        torch.manual_seed(run.seed)
        return build_backbone(chosen)


class Finetune(AllImages):
    """Trains the backbone on the tags."""

    name = "finetune"
    title = "Training"
    about = "trains the backbone on the tags"
    leaves = ("backbone",)
    data = ("photos", "tags")
    regime = "finetune"

    def __init__(self, run: FitOptions) -> None:
        self.options = _network(run) | {"finetune": run.finetune}

    def run(self, work: Work) -> Mapping[str, object]:
        """Train in a fork of the random state."""
        run = work.options
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            # The loss is on the last level, which trains the inner ones too.
            backbone = build_backbone(replace(run.backbone, levels=run.backbone.levels[-1:]))
            localiser = Localiser(backbone, len(work.classes), run.finetune.pooling)
            curve = finetune(localiser, work.images, work.tags, run.size, run.finetune, run.seed, work.progress)
            work.leave("finetune/backbone", backbone.network.state_dict())
        return {"curve": curve}


class Features(AllImages):
    """Computes the features of all photos, and reduces them by principal components."""

    name = "features"
    title = "Features"
    about = "runs the backbone on all photos once"
    leaves = ("pooled", "reduced", "reduction")
    data = ("photos",)

    def __init__(self, run: FitOptions) -> None:
        self.options = _network(run) | {"flip": run.flip, "components": run.components}

    def run(self, work: Work) -> Mapping[str, object]:
        """Write pooled and reduced features; memory holds one image and a sample of locations."""
        run = work.options
        folder = work.file("features/pooled").parent
        build_features(work.bank, work.images, run.components, folder, run.seed, work.progress)
        return {}


def _network(run: FitOptions) -> dict[str, object]:
    return {"regime": run.regime, "backbone": run.backbone, "size": run.size, "seed": run.seed}
