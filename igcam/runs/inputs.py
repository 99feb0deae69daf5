"""What the stages of a run work on, opened from its folder and the feature bank."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.core.progress import Progress, no_progress
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.supervision.constraints import annotated_images
from igcam.proposals.kinds import KINDS
from igcam.proposals.segments import Masks, SegmentOptions, joined
from igcam.methods.inputs import Inputs
from igcam.models.backbone import Backbone
from igcam.models.bank import FeatureBank
from igcam.models.views import View
from igcam.runs.features import load_features, mean_level, views_of
from igcam.runs.proposal_cache import ProposalCache
from igcam.runs.folder import RunFolder

Array = NDArray[np.float32]
MAX_PROPOSALS = 600
"""Further proposals of a photo, of all kinds together."""


def open_bank(run: RunFolder, backbone: Backbone, bank: str | Path | None = None) -> FeatureBank:
    """Return the features of a run's backbone in its views.

    Args:
        run: The run.
        backbone: Its network.
        bank: Folder of the feature bank; default: RUN/bank.
    """
    options = run.options
    return FeatureBank(Path(bank) if bank else run.file("bank"), backbone, views_of(options.size, options.flip))


def open_inputs(run: RunFolder, dataset: Dataset, bank: FeatureBank, progress: Progress = no_progress) -> Inputs:
    """Return the inputs of a run whose features are computed.

    Args:
        run: Its step `features` is done.
        dataset: The images of the run, with the cues that guide.
        bank: Their features.
        progress: Called with what is being done, the number done and the number to do.
    """
    images = [sample.image for sample in dataset]
    pooled, reduced, _ = load_features(run.file("stages", "features"))
    options = run.options
    kinds = options.igcam.guide.objectness.proposals if options.method == "igcam" else ()
    folder = run.file("stages", "guide", "proposals")
    cached = [ProposalCache(folder, name, KINDS[name]) for name in kinds]

    def proposals(index: int, feature: Array) -> Masks | None:
        if not cached:
            return None
        photo = load_image(images[index])
        return joined([propose(photo, feature) for propose in cached], SegmentOptions(max_count=MAX_PROPOSALS)).masks

    return Inputs(
        tags=dataset.tag_matrix(),
        pooled=pooled,
        reduced=reduced,
        last_level=lambda index: mean_level(bank, images[index]),
        grouping=lambda index: mean_level(bank, images[index], options.grouping_level),
        image=lambda index, size: View(size).apply(load_image(images[index])),
        proposals=proposals,
        annotated=annotated_images(dataset),
        seed=options.seed,
        progress=progress,
    )
