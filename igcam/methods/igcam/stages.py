"""The stages of IG-CAM: files in and out around guidance.py, reweighting.py and noisy_tags.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.data.images import load_image
from igcam.methods.base import AllImages, Work
from igcam.methods.classifier import Classifier, ClassifyOptions, classify
from igcam.methods.igcam.guidance import GuideOptions, guide
from igcam.methods.igcam.noisy_tags import (
    NoisyTagOptions,
    agreement,
    posterior_activations,
    tag_posterior,
    weighted_by_posterior,
)
from igcam.methods.igcam.reweighting import ReweightOptions, reweight
from igcam.methods.igcam.rounds import Guided
from igcam.methods.inputs import Inputs
from igcam.methods.tag_prior import Opened
from igcam.models.image_prior import fit_tagger
from igcam.proposals.cache import ProposalCache
from igcam.proposals.segments import Masks, SegmentOptions, joined, proposal_kinds
from igcam.refine.stack import resized
from igcam.supervision.pseudo_labels import from_activation

Array = NDArray[np.float32]
MAX_PROPOSALS = 600
"""Further proposals of a photo, of all kinds together."""
MIN_SHARE = 0.005
"""Smallest share of a photo that an object must cover for its mean feature to be used."""


class NoisyTags(AllImages):
    """Estimates how probable each class is in each image, where tags may be wrong."""

    name = "noisy_tags"
    title = "Noisy tags"
    about = "estimates which tags are wrong or missing"
    reads = ("features/pooled",)
    leaves = ("posterior", "activations")
    data = ("tags", "cues")
    options: NoisyTagOptions

    def __init__(self, options: NoisyTagOptions, heads: ClassifyOptions) -> None:
        self.options, self._heads = options, heads

    def run(self, work: Work) -> Mapping[str, object]:
        """Leave the tag posterior, and activation maps of a classifier that was trained on it."""
        inputs = work.inputs
        posterior = tag_posterior(inputs, self.options)
        # Heads trained on wrong tags point at wrong locations.
        classifier = classify(replace(inputs, tags=posterior), self._heads)
        work.leave("noisy_tags/posterior", posterior)
        maps = posterior_activations(inputs, classifier, posterior, self.options.min_posterior)
        # A background score, as activation maps have one; nothing reads it.
        work.leave("noisy_tags/activations", np.pad(maps, ((0, 0), (1, 0), (0, 0), (0, 0))))
        return {}


def inputs_with_posterior(work: Work) -> Inputs:
    """Return the inputs after the stage `noisy_tags`."""
    posterior = np.asarray(work.load_array("noisy_tags/posterior"))
    weight = work.options.chosen.noisy_tags.disputed_weight
    return replace(work.inputs, posterior=posterior, image_confidence=agreement(posterior, weight))


def reads_of(inputs: Opened) -> tuple[str, ...]:
    """Return the artefacts that a stage with these inputs reads for them."""
    return ("noisy_tags/posterior",) if inputs is inputs_with_posterior else ()


class _Guiding(AllImages):
    """Base of the two stages that train a segmentation head."""

    leaves = ("pseudo_labels", "confidence", "maps", "head")
    data = ("cues",)
    optional = True
    scores = "maps"
    threshold_rule = "background trained as a class"
    uses_cues = True

    def __init__(self, options: object, maps: str, level: int, inputs: Opened) -> None:
        self.reads, self._inputs = (maps, *reads_of(inputs)), inputs
        self.options = {"options": options, "level": level}

    def _leave(self, work: Work, guided: Guided) -> Mapping[str, object]:
        work.leave(f"{self.name}/pseudo_labels", guided.pseudo_labels)
        work.leave(f"{self.name}/confidence", guided.confidence)
        work.leave(f"{self.name}/maps", guided.probabilities.astype(np.float16))
        work.leave(f"{self.name}/head", guided.head.state_dict())
        return {"curve": guided.curve, "agreement": guided.agreement}


class Guide(_Guiding):
    """Proposals and cues turn activation maps into pseudo labels, on which a head is trained."""

    name = "guide"
    title = "Guidance"
    about = "proposals and cues turn activation maps into pseudo labels, and a head learns them"
    caches = ("proposals",)

    def __init__(self, options: GuideOptions, maps: str, level: int, inputs: Opened) -> None:
        super().__init__(options, maps, level, inputs)
        self._guide = options

    def run(self, work: Work) -> Mapping[str, object]:
        """Guide by the activation maps that it reads."""
        options = self._guide
        inputs = self._inputs(work)
        _check_map_size(options, inputs, work.options.size)
        inputs = replace(inputs, proposals=_proposals(work, options))
        return self._leave(work, guide(inputs, activations(work, self.reads[0]), options))


class Reweight(_Guiding):
    """Influence weighs images and locations, and a new head is trained."""

    name = "reweight"
    title = "Influence"
    about = "influence functions weigh images and locations, and a new head learns again"

    def __init__(self, options: ReweightOptions, maps: str, level: int, inputs: Opened) -> None:
        super().__init__(options, maps, level, inputs)
        self.reads, self._maps, self._reweight = ("classify/head", *self.reads), maps, options

    def run(self, work: Work) -> Mapping[str, object]:
        """Start from the probabilities of the guide stage, or from activation maps where it is off."""
        inputs, maps = self._inputs(work), self._maps
        if maps == "guide/maps":
            base = work.load_array(maps).astype(np.float32)
        else:
            at_size = (inputs.at_map_size(item) for item in activations(work, maps))
            base = np.stack([from_activation(item, item.max(axis=0)) for item in at_size])
            base = weighted_by_posterior(inputs, base)
        classifier = work.load("classify/head", Classifier.from_tensors)
        return self._leave(work, reweight(inputs, classifier, base, self._reweight))


class ObjectPrior(AllImages):
    """Trains a linear head on the mean features of objects, which classifies similar locations together."""

    name = "objects"
    title = "Object prior"
    about = "a linear head names objects by the mean of all similar locations, in photos without tags"
    leaves = ("tagger",)

    def __init__(self, probabilities: str, inputs: Opened) -> None:
        self.reads, self._inputs = (probabilities, *reads_of(inputs)), inputs

    def run(self, work: Work) -> Mapping[str, object]:
        """Fit the head to the objects of the last stage's probabilities."""
        inputs = self._inputs(work)
        means, classes = object_features(inputs, work.load_array(self.reads[0]).astype(np.float32))
        work.leave("objects/tagger", fit_tagger(means, classes, inputs.seed).state_dict())
        return {}


def object_features(inputs: Inputs, probabilities: NDArray[np.floating]) -> tuple[Array, Array]:
    """Return the mean feature of each class in each photo that is tagged with it, or has it with a posterior of 0.5.

    Args:
        inputs: Features and tags.
        probabilities: (N, C + 1, h, w), background first: predictions of the last stage.

    Returns:
        Means of the last level, float32 (n, D), weighted by probability, and their classes, float32 (n, C) of 0 and 1.
        Means of small objects are left out, unless a class has no others.
    """
    means: list[Array] = []
    classes: list[int] = []
    sizes: list[float] = []
    for index, allowed in enumerate(inputs.allowed):
        level = inputs.last_level(index)
        for label in np.flatnonzero(allowed >= 0.5):
            chance = resized(probabilities[index, label + 1][None], *level.shape[1:])[0]
            total = float(chance.sum())
            weights = chance / total if total > 0 else np.full_like(chance, 1 / chance.size)
            means.append(np.einsum("dhw,hw->d", level, weights))
            classes.append(int(label))
            sizes.append(total / chance.size)
        inputs.progress("average the features of objects", index + 1, len(inputs.tags))
    large = {label for label, size in zip(classes, sizes, strict=True) if size >= MIN_SHARE}
    kept = [position for position, label in enumerate(classes) if sizes[position] >= MIN_SHARE or label not in large]
    chosen = np.array([means[position] for position in kept], np.float32)
    return chosen, np.eye(inputs.tags.shape[1], dtype=np.float32)[[classes[position] for position in kept]]


def activations(work: Work, maps: str) -> Array:
    """Return activation maps without their background score, float32 (N, C, h, w)."""
    return np.asarray(work.load_array(maps)[:, 1:].astype(np.float32))


def _proposals(work: Work, options: GuideOptions) -> Any:
    folder = work.file("guide/maps").parent / "proposals"
    kinds = proposal_kinds()
    cached = [ProposalCache(folder, name, kinds[name]) for name in options.objectness.proposals]

    def proposals(index: int, feature: Array) -> Masks | None:
        if not cached:
            return None
        photo = load_image(work.images[index])
        return joined([propose(photo, feature) for propose in cached], SegmentOptions(max_count=MAX_PROPOSALS)).masks

    return proposals


def _check_map_size(options: GuideOptions, inputs: Inputs, size: int) -> None:
    height, width = inputs.grouping(0).shape[1:]
    needed = options.objectness.object_score.clusters.cut.cuts + 2
    if height * width < needed:
        raise IgcamError(
            f"size: gives feature maps of {height} x {width} locations with {size} pixels, "
            f"but the guide stage needs {needed} locations or more"
        )
