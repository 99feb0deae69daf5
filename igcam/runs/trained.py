"""What a finished run has learnt, without its backbone: from features of photos to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.cams import normalise
from igcam.core.errors import IgcamError
from igcam.methods.background import with_background
from igcam.methods.classify import Classifier
from igcam.models.image_prior import ImagePrior
from igcam.models.reduction import Reduction
from igcam.models.segmentation_head import SegmentationHead
from igcam.models.views import mean_over_views
from igcam.runs.folder import RunFolder
from igcam.runs.models_file import read_classifier, read_head, read_image_prior, read_reduction
from igcam.runs.options import FitOptions
from igcam.supervision.pseudo_labels import restrict_to_tags

Array = NDArray[np.float32]


@dataclass(frozen=True)
class TrainedHeads:
    """Classifier, reduction and head of a run."""

    options: FitOptions
    classifier: Classifier
    prior: ImagePrior
    reduction: Reduction
    head: SegmentationHead | None
    """The last stage's head; None for plain CAM."""

    @classmethod
    def open(cls, run: RunFolder) -> TrainedHeads:
        """Load what a run has learnt.

        Raises:
            IgcamError: The run is not finished, or its files are damaged or do not fit each other.
        """
        options = run.options
        stages = options.learning_stages
        objects = ("objects",) if options.object_prior_weight > 0 else ()
        unfinished = [stage for stage in ("classify", "tagger", *stages, *objects) if not run.is_done(stage)]
        if unfinished:
            raise IgcamError(f"{run.path}: is not finished: no {', '.join(unfinished)}; run igcam fit again")
        head_file = run.file("stages", stages[-1], "head.safetensors") if stages else None
        return cls(
            options,
            read_classifier(run.file("stages", "classify", "head.safetensors")),
            read_image_prior(run, options.tag_prior_weight),
            read_reduction(run.file("stages", "features", "reduction.safetensors")),
            None if head_file is None else read_head(head_file),
        )

    def to(self, device: torch.device) -> TrainedHeads:
        """Return the same for features on a device."""
        reduction = Reduction(
            tuple(mean.to(device) for mean in self.reduction.means),
            tuple(projection.to(device) for projection in self.reduction.projections),
        )
        head = None if self.head is None else self.head.to(device)
        return replace(self, prior=self.prior.to(device), reduction=reduction, head=head)

    @torch.inference_mode()
    def scores(
        self, views: Sequence[Sequence[Tensor]], flips: Sequence[bool], tags: NDArray[np.floating] | None
    ) -> tuple[Array, Array]:
        """Return the scores of photos and features for the refinement of their boundaries.

        Args:
            views: One a view, of one float32 (N, D, h, w) a level of the backbone.
            flips: Which views are mirrored.
            tags: (N, C) of 0 and 1; None where they are not known. Then what the photo says as a whole is joined to
                what its places say, or decides on the classes of a plain CAM.

        Returns:
            Scores, float32 (N, C + 1, h, w), not negative, background first, and the reduced last level, mean over the
            views, float32 (N, D', h, w).
        """
        last = mean_over_views([levels[-1] for levels in views], flips)
        reduced = [self.reduction(levels) for levels in views]
        depth = self.reduction.projections[-1].shape[1]
        deep = mean_over_views([layers[:, -depth:] for layers in reduced], flips).cpu().numpy()
        if self.head is None:
            present = self.prior.tagger(last.mean(dim=(2, 3))).cpu().numpy() > 0 if tags is None else tags
            return np.stack([self._cam(*item) for item in zip(last.cpu().numpy(), present, strict=True)]), deep
        logits = mean_over_views([self.head(layers) for layers in reduced], flips)
        if tags is None:
            logits = self.prior(logits, last)
        probability: Array = torch.softmax(logits, dim=1).cpu().numpy()
        return probability if tags is None else restrict_to_tags(probability, np.asarray(tags, np.float32)), deep

    def _cam(self, feature: Array, present: NDArray[np.generic]) -> Array:
        activation = torch.from_numpy(self.classifier.activation_maps(feature))
        kept = normalise(activation).numpy() * np.asarray(present, np.float32)[:, None, None]
        method = self.options.igcam if self.options.method == "igcam" else self.options.cam
        return with_background(kept, method.background)
