"""`fit`: from photos, tags and cues to a run folder with heads, masks and metrics, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.commands.stage_metrics import write_stage_metrics
from igcam.core.errors import IgcamError
from igcam.core.files import read_array, write_array
from igcam.core.progress import Progress, no_progress
from igcam.data.sample import Dataset
from igcam.methods.background import BackgroundOptions, with_background
from igcam.methods.classify import Classifier, ClassifyOptions, classify, tagged_activations
from igcam.methods.igcam.guide import guide
from igcam.methods.igcam.noisy_tags import (
    NoisyTagOptions,
    agreement,
    posterior_activations,
    tag_posterior,
    weighted_by_posterior,
)
from igcam.methods.igcam.object_features import object_features
from igcam.methods.igcam.reweight import reweight
from igcam.methods.igcam.rounds import Guided
from igcam.methods.inputs import Inputs
from igcam.models.devices import usual_device
from igcam.models.image_prior import fit_tagger
from igcam.runs.backbone_file import run_backbone
from igcam.runs.features import build_features
from igcam.runs.folder import RunFolder
from igcam.runs.inputs import open_bank, open_inputs
from igcam.runs.models_file import read_classifier, write_classifier, write_head, write_tagger
from igcam.runs.options import FitOptions
from igcam.runs.reuse import reuse_stages
from igcam.runs.stage_masks import write_stage_masks
from igcam.supervision.pseudo_labels import from_activation

Array = NDArray[np.float32]


def fit(
    dataset: Dataset,
    out: str | Path,
    options: FitOptions | None = None,
    *,
    bank: str | Path | None = None,
    earlier: str | Path | None = None,
    split: str = "train",
    progress: Progress = no_progress,
) -> RunFolder:
    """Learn from tags and cues, and label the images that were learnt from.

    The same call again goes on where it was stopped: finished stages are not repeated, and the outcome is
    that of an undisturbed run.

    Args:
        dataset: Images without tags are left out. Cues of all kinds guide; truth is only used for metrics.
        out: The run folder.
        options: Defaults to `FitOptions()`.
        bank: Folder of the feature bank, which runs may share; default: OUT/bank.
        earlier: Another run, whose stages are taken over where they would come out the same: after new cues have
            been drawn, features and classifier need not be computed again.
        split: Name of these images in the ledger.
        progress: Called with what is being done, the number done and the number to do.

    Returns:
        The finished run.

    Raises:
        IgcamError: There are no tagged images, a class has none, weights cannot be had, OUT holds another run,
            or a file cannot be read or written.
    """
    options = options or FitOptions()
    dataset = dataset.tagged()
    _check_tags(dataset)
    source = None if earlier is None else RunFolder.open(earlier)
    run = RunFolder.begin(out, options, dataset)
    run.log(f"fit: {len(dataset)} images, classes {', '.join(dataset.classes)}")
    if source is not None:
        reuse_stages(run, source, dataset, bank=bank is None)
    step = _Steps(run)
    backbone = run_backbone(run, options, dataset, step, progress)
    features = open_bank(run, backbone.to(usual_device()), bank)
    if not run.is_done("features"):
        with step("features"):
            images = [sample.image for sample in dataset]
            folder = run.file("stages", "features")
            build_features(features, images, options.components, folder, options.seed, progress)
    inputs = open_inputs(run, dataset, features, progress)
    _map_stages(run, options, dataset, inputs, step)
    write_stage_masks(run, options, dataset, progress)
    write_stage_metrics(run, options, dataset, split, progress)
    return run


class _Steps:
    """Runs what is not done yet, and notes its time."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    @contextmanager
    def __call__(self, name: str) -> Iterator[dict[str, object]]:
        facts: dict[str, object] = {}
        start = time.perf_counter()
        yield facts
        self.run.finish(name, time.perf_counter() - start, **facts)


def _map_stages(run: RunFolder, options: FitOptions, dataset: Dataset, inputs: Inputs, step: _Steps) -> None:
    method = options.igcam if options.method == "igcam" else options.cam
    if "guide" in options.stages:
        _check_map_size(options, inputs)
    classifier = _classify(run, inputs, method.classify, method.background, step)
    if options.method == "igcam" and options.igcam.noisy_tags.weight > 0:
        inputs = _doubt(run, inputs, method.classify, options.igcam.noisy_tags, step)
    if not run.is_done("tagger"):
        with step("tagger"):
            write_tagger(
                run.file("stages", "tagger", "tagger.safetensors"),
                fit_tagger(inputs.pooled, inputs.allowed, inputs.seed),
            )
    if options.method == "cam":
        return
    probabilities = None
    for name in options.learning_stages:
        if not run.is_done(name):
            with step(name) as facts:
                if name == "guide":
                    guided = guide(inputs, _activations(run, inputs), options.igcam.guide)
                else:
                    base = _labels_by_activation(run, inputs) if probabilities is None else probabilities
                    guided = reweight(inputs, classifier, base, options.igcam.reweight)
                _write_guided(run, name, guided)
                facts.update(curve=guided.curve, agreement=guided.agreement)
        probabilities = read_array(run.file("stages", name, "maps.npy")).astype(np.float32)
    if probabilities is not None and options.object_prior_weight > 0 and not run.is_done("objects"):
        with step("objects"):
            means, classes = object_features(inputs, probabilities)
            file = run.file("stages", "objects", "tagger.safetensors")
            write_tagger(file, fit_tagger(means, classes, inputs.seed))


def _classify(
    run: RunFolder, inputs: Inputs, options: ClassifyOptions, background: BackgroundOptions, step: _Steps
) -> Classifier:
    head_file, maps_file = (run.file("stages", "classify", name) for name in ("head.safetensors", "maps.npy"))
    if not run.is_done("classify"):
        with step("classify") as facts:
            classifier = classify(inputs, options)
            found = tagged_activations(inputs, classifier, inputs.tags)
            write_array(maps_file, np.stack([with_background(maps, background).astype(np.float16) for maps in found]))
            write_classifier(head_file, classifier)
            facts.update(curve=[], penalty=classifier.head.l2)
    return read_classifier(head_file)


def _doubt(run: RunFolder, inputs: Inputs, heads: ClassifyOptions, options: NoisyTagOptions, step: _Steps) -> Inputs:
    """Return the inputs with beliefs, once these and the activation maps of what is believed are written."""
    file = run.file("stages", "doubt", "posterior.npy")
    if not run.is_done("doubt"):
        with step("doubt"):
            posterior = tag_posterior(inputs, options)
            write_array(file, posterior)
            # Heads that have learnt wrong tags point at wrong places.
            taught = classify(replace(inputs, tags=posterior), heads)
            write_array(_noisy_tag_maps(run), posterior_activations(inputs, taught, posterior, options.min_posterior))
    posterior = read_array(file)
    return replace(inputs, posterior=posterior, image_confidence=agreement(posterior, options.disputed_weight))


def _noisy_tag_maps(run: RunFolder) -> Path:
    return run.file("stages", "doubt", "activations.npy")


def _activations(run: RunFolder, inputs: Inputs) -> Array:
    """Return the activation maps of all classes that are tagged, or believed where tags are doubted."""
    if inputs.posterior is not None:
        return read_array(_noisy_tag_maps(run)).astype(np.float32)
    return read_array(run.file("stages", "classify", "maps.npy"))[:, 1:].astype(np.float32)


def _labels_by_activation(run: RunFolder, inputs: Inputs) -> Array:
    """Return what stands in for guided probabilities where the guide stage is off: the activation alone."""
    resized = (inputs.at_map_size(maps) for maps in _activations(run, inputs))
    return weighted_by_posterior(inputs, np.stack([from_activation(maps, maps.max(axis=0)) for maps in resized]))


def _write_guided(run: RunFolder, name: str, guided: Guided) -> None:
    folder = run.file("stages", name)
    write_array(folder / "pseudo_labels.npy", guided.targets)
    write_array(folder / "confidence.npy", guided.confidence)
    write_array(folder / "maps.npy", guided.probabilities.astype(np.float16))
    write_head(folder / "head.safetensors", guided.head)


def _check_tags(dataset: Dataset) -> None:
    if len(dataset) < 2:
        raise IgcamError(f"fit: needs at least 2 tagged images, got {len(dataset)}")
    counts = dataset.tag_matrix().sum(axis=0)
    empty = [name for name, count in zip(dataset.classes, counts, strict=True) if count == 0]
    if empty:
        raise IgcamError(f"fit: no image is tagged with {', '.join(empty)}; leave the class out of --classes")


def _check_map_size(options: FitOptions, inputs: Inputs) -> None:
    height, width = inputs.grouping(0).shape[1:]
    needed = options.igcam.guide.objectness.object_score.clusters.cut.cuts + 2
    if height * width < needed:
        raise IgcamError(
            f"size: gives feature maps of {height} x {width} places with {options.size} pixels, "
            f"but the guide stage needs {needed} places or more"
        )
