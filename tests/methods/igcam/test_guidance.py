from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from toy_inputs import toy_drawn, toy_inputs, toy_masks, toy_targets

from igcam.core.errors import IgcamError
from igcam.data.cue import BoxCue, PointCue
from igcam.methods.classifier import ClassifyOptions, classify, tagged_activation
from igcam.methods.igcam.guidance import GuideOptions, ObjectnessOptions, guide
from igcam.methods.igcam.rounds import RoundOptions
from igcam.methods.inputs import Inputs
from igcam.methods.training.head import HeadOptions
from igcam.proposals.objectness import ObjectScoreOptions
from igcam.refine.affinity import DenseAffinityOptions
from igcam.supervision.constraints import AnnotatedImage
from igcam.supervision.pseudo_labels import PseudoLabelOptions

HEAD = HeadOptions(hidden=16, epochs=1, min_steps=20, batch_size=4, learning_rate=0.02)
OPTIONS = GuideOptions(learn=RoundOptions(rounds=1, head=HEAD, pseudo_labels=PseudoLabelOptions(size=32)))
PLAIN = RoundOptions(rounds=1, head=HEAD, pseudo_labels=PseudoLabelOptions(size=0))
"""Without a CRF."""


def activations(inputs: Inputs) -> np.ndarray:
    classifier = classify(inputs, ClassifyOptions())
    return np.stack([tagged_activation(inputs, classifier, index, tags) for index, tags in enumerate(inputs.tags)])


def test_tags_alone_find_the_objects() -> None:
    inputs, masks = toy_inputs(12), toy_masks(12)
    guided = guide(inputs, activations(inputs), OPTIONS)
    assert guided.pseudo_labels.dtype == guided.confidence.dtype == np.float16
    assert guided.pseudo_labels.shape == (12, 3, 8, 8)
    assert guided.probabilities.shape == (12, 3, 8, 8)
    assert guided.probabilities.dtype == np.float32
    np.testing.assert_allclose(guided.pseudo_labels.sum(axis=1), 1, atol=2e-3)
    np.testing.assert_allclose(guided.probabilities.sum(axis=1), 1, atol=1e-5)
    assert not guided.pseudo_labels[:, 1:][inputs.tags == 0].any()
    assert not guided.probabilities[:, 1:][inputs.tags == 0].any()
    assert (guided.probabilities.argmax(axis=1) == masks).mean() > 0.9


def test_objects_are_found_by_their_distance_from_the_border() -> None:
    inputs, masks = toy_inputs(6), toy_masks(6)
    weak = activations(inputs) * (np.indices((8, 8)).sum(axis=0) % 5 == 0)
    objectness = ObjectnessOptions(ObjectScoreOptions(segment_weight=0, affinity=DenseAffinityOptions(4, 0)))
    options = GuideOptions(objectness, PLAIN)
    alike = replace(inputs, grouping=lambda index: np.ones((6, 8, 8), np.float32))
    labels = (guide(given, weak, options).pseudo_labels for given in (inputs, alike))
    found, blind = ((label[:, 0] < 0.5) == (masks > 0) for label in labels)
    assert found.mean() > 0.95
    assert blind.mean() < 0.9


def test_given_masks_are_not_refined(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("igcam.supervision.pseudo_labels")
    refined: list[np.ndarray] = []
    refine = module.snap
    monkeypatch.setattr(module, "snap", lambda probability, *rest: refined.append(1) or refine(probability, *rest))
    inputs = toy_inputs(6, taught=(1, 4))
    guide(inputs, activations(inputs), OPTIONS)
    assert len(refined) == 4


def test_the_same_inputs_give_the_same() -> None:
    inputs = toy_inputs(6, taught=(1,))
    first, again = (guide(inputs, activations(inputs), OPTIONS) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    np.testing.assert_array_equal(first.pseudo_labels, again.pseudo_labels)


def test_masks_are_the_targets_of_their_images_with_their_own_trust() -> None:
    inputs, masks = toy_inputs(8, taught=(2, 5)), toy_masks(8)
    inputs = replace(inputs, annotated={2: inputs.annotated[2], 5: toy_drawn(masks[5], confidence=0.25)})
    guided = guide(inputs, activations(inputs), OPTIONS)
    np.testing.assert_array_equal(guided.pseudo_labels[[2, 5]], toy_targets(masks[[2, 5]]).astype(np.float16))
    assert guided.confidence[2].min() == guided.confidence[2].max()
    np.testing.assert_allclose(guided.confidence[5], 0.25 * guided.confidence[2], rtol=2e-3)


def test_places_that_a_mask_does_not_know_do_not_count() -> None:
    inputs, masks = toy_inputs(4), toy_masks(4)
    masks[1][:, :3] = 255
    inputs = replace(inputs, annotated={1: toy_drawn(masks[1])})
    guided = guide(inputs, activations(inputs), OPTIONS)
    assert (guided.confidence[1][:, :3] == 0).all()
    assert (guided.confidence[1][:, 3:] >= 1).all()
    np.testing.assert_allclose(guided.pseudo_labels[1].sum(axis=0), 1, atol=2e-3)


def drawn_on(masks: np.ndarray, kind: str) -> dict[int, AnnotatedImage]:
    """Draw a tight box around the rectangle of every image, or a point in its corner and one on the background."""
    annotated = {}
    for index, mask in enumerate(masks):
        rows, columns = np.nonzero(mask)
        label, left, top = int(mask.max()), columns.min(), rows.min()
        box = BoxCue(label=label, left=left, top=top, right=columns.max() + 1, bottom=rows.max() + 1)
        point = PointCue(label=label, x=left + 0.5, y=top + 0.5)
        cues = [box] if kind == "box" else [point, PointCue(label=0, x=0.5, y=0.5)]
        annotated[index] = toy_drawn(mask, *cues)
    return annotated


def test_boxes_correct_misleading_maps() -> None:
    inputs, masks = toy_inputs(12), toy_masks(12)
    shifted = np.roll(activations(inputs), 3, axis=2)
    options = GuideOptions(ObjectnessOptions(ObjectScoreOptions(segment_weight=0)), PLAIN)
    guided = guide(replace(inputs, annotated=drawn_on(masks, "box")), shifted, options)
    assert (guided.pseudo_labels.argmax(axis=1) == masks).mean() > 0.99
    assert (guide(inputs, shifted, options).pseudo_labels.argmax(axis=1) == masks).mean() < 0.95


def test_points_tell_the_classes_that_maps_confuse() -> None:
    inputs, masks = toy_inputs(12), toy_masks(12)
    both = replace(inputs, tags=np.ones_like(inputs.tags))
    strongest = activations(inputs).max(axis=1, keepdims=True).repeat(2, axis=1)
    options = GuideOptions(learn=PLAIN)
    guided = guide(replace(both, annotated=drawn_on(masks, "point")), strongest, options)
    objects = masks > 0
    assert (guided.pseudo_labels.argmax(axis=1) == masks)[objects].mean() > 0.95
    assert (guide(both, strongest, options).pseudo_labels.argmax(axis=1) == masks)[objects].mean() < 0.6
    for index, mask in enumerate(masks):
        row, column = np.argwhere(mask)[0]
        assert guided.confidence[index, row, column] == 1
        assert guided.pseudo_labels[index, mask.max(), row, column] == 1


def test_an_image_without_any_tag_is_background() -> None:
    inputs = toy_inputs(6)
    tags = inputs.tags.copy()
    tags[4] = 0
    inputs = replace(inputs, tags=tags)
    maps = activations(inputs)
    assert not maps[4].any()
    guided = guide(inputs, maps, OPTIONS)
    assert (guided.pseudo_labels[4, 0] == 1).all()
    assert (guided.probabilities[4, 0] == 1).all()


def test_impossible_options_are_refused() -> None:
    with pytest.raises(IgcamError, match=r"foreground_level must be 0 to 1, got 1\.5"):
        ObjectnessOptions(foreground_level=1.5)
