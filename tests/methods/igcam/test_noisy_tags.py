from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_inputs import CLASSES, toy_inputs, toy_masks

from igcam.core.errors import IgcamError
from igcam.methods.classifier import ClassifyOptions, classify
from igcam.methods.igcam.guidance import GuideOptions, guide
from igcam.methods.igcam.noisy_tags import NoisyTagOptions, agreement, posterior_activations, tag_posterior
from igcam.methods.igcam.rounds import RoundOptions, learn
from igcam.methods.inputs import Inputs
from igcam.methods.training.head import HeadOptions
from igcam.models.segmentation_head import predict_all
from igcam.supervision.pseudo_labels import PseudoLabelOptions, restrict_to_tags

COUNT = 60
ADDED, LOST = (4, 21), (13, 40)
"""Images that are tagged with a class too many, and images whose tag was lost and another one given."""
ALL = NoisyTagOptions(weight=1.0)


def predicted_by(inputs, head, indices, batch_size=32):
    return restrict_to_tags(predict_all(head, inputs.reduced[:, indices], batch_size), inputs.allowed[indices])


@pytest.fixture(scope="module")
def clean() -> Inputs:
    return toy_inputs(COUNT, noise=0.3)


@pytest.fixture(scope="module")
def spoilt(clean: Inputs) -> Inputs:
    tags = clean.tags.copy()
    tags[list(ADDED)] = 1
    tags[list(LOST)] = 1 - tags[list(LOST)]
    return replace(clean, tags=tags)


@pytest.fixture(scope="module")
def posterior(spoilt: Inputs) -> np.ndarray:
    return tag_posterior(spoilt, ALL)


def test_wrong_tags_get_a_low_posterior_and_missing_ones_a_high_one(
    clean: Inputs, spoilt: Inputs, posterior: np.ndarray
) -> None:
    assert posterior.shape == (COUNT, CLASSES)
    assert posterior.dtype == np.float32
    assert posterior.min() >= 0
    assert posterior.max() <= 1
    wrong = clean.tags != spoilt.tags
    error = np.abs(posterior - clean.tags)
    assert error[wrong].mean() < 0.5
    assert error[~wrong].mean() < 0.02


def test_half_the_weight_is_half_the_correction(spoilt: Inputs, posterior: np.ndarray) -> None:
    half = tag_posterior(spoilt, replace(ALL, weight=0.5))
    np.testing.assert_allclose(half, (posterior + spoilt.tags) / 2, atol=1e-6)
    np.testing.assert_array_equal(tag_posterior(spoilt, replace(ALL, weight=0.0)), spoilt.tags)


def test_annotated_images_keep_their_tags(spoilt: Inputs, posterior: np.ndarray) -> None:
    annotated = toy_inputs(COUNT, noise=0.3, taught=(4, 5)).annotated
    found = tag_posterior(replace(spoilt, annotated=annotated), ALL)
    np.testing.assert_array_equal(found[[4, 5]], spoilt.tags[[4, 5]])
    others = np.setdiff1d(np.arange(COUNT), [4, 5])
    np.testing.assert_array_equal(found[others], posterior[others])


def test_the_control_permutes_posteriors_within_their_kind(spoilt: Inputs, posterior: np.ndarray) -> None:
    control = tag_posterior(spoilt, replace(ALL, shuffled=True))
    assert (control != posterior).any()
    for kind in (0, 1):
        chosen = spoilt.tags == kind
        np.testing.assert_array_equal(np.sort(control[chosen]), np.sort(posterior[chosen]))


def test_activation_maps_are_of_probable_classes(spoilt: Inputs, posterior: np.ndarray) -> None:
    classifier = classify(spoilt, ClassifyOptions(penalties=(0.01,)))
    maps = posterior_activations(spoilt, classifier, posterior, 0.1)
    shown = maps.reshape(COUNT, CLASSES, -1).max(axis=2) > 0
    np.testing.assert_array_equal(shown, posterior >= 0.1)
    assert maps.dtype == np.float16


def test_guided_heads_follow_the_posterior(clean: Inputs, spoilt: Inputs, posterior: np.ndarray) -> None:
    classifier = classify(spoilt, ClassifyOptions(penalties=(0.01,)))
    head = HeadOptions(hidden=16, epochs=1, min_steps=40)
    options = GuideOptions(learn=RoundOptions(rounds=1, head=head, pseudo_labels=PseudoLabelOptions(size=0)))
    noisy = replace(spoilt, posterior=posterior)
    truth = toy_masks(COUNT)
    scores = {}
    for name, inputs, allowed in (("noisy", noisy, posterior), ("plain", spoilt, spoilt.tags)):
        guided = guide(inputs, posterior_activations(inputs, classifier, allowed, 0.1).astype(np.float32), options)
        np.testing.assert_allclose(guided.probabilities.sum(axis=1), 1, atol=1e-5)
        scores[name] = (guided.probabilities.argmax(axis=1) == truth)[list(ADDED + LOST)].mean()
        again = predicted_by(inputs, guided.head, np.arange(COUNT))
        np.testing.assert_array_equal(again, guided.probabilities)
    assert scores["noisy"] > scores["plain"] + 0.05


def test_images_with_disputed_tags_have_less_weight() -> None:
    posterior = np.array([[0, 1, 1], [0.5, 1, 0], [0.25, 0.1, 0]], np.float32)
    np.testing.assert_allclose(agreement(posterior, 0.1), [1, 0.1, 1 - 0.9 * 0.75], atol=1e-6)
    np.testing.assert_allclose(agreement(posterior, 1), 1)


def test_images_are_weighted_by_their_confidence(clean: Inputs) -> None:
    half = replace(clean, image_confidence=np.where(np.arange(COUNT) < 30, 0.5, 1).astype(np.float32))
    options = RoundOptions(rounds=1, head=HeadOptions(hidden=4, epochs=1, min_steps=1))
    start = np.full((COUNT, CLASSES + 1, *clean.map_size), 1 / (CLASSES + 1), np.float32)
    whole, less = (learn(inputs, start, options).confidence.astype(np.float32) for inputs in (clean, half))
    np.testing.assert_allclose(less[:30], whole[:30] / 2, rtol=1e-2)
    np.testing.assert_array_equal(less[30:], whole[30:])


@pytest.mark.parametrize(
    "setting", [{"weight": 1.5}, {"weight": -0.1}, {"min_posterior": 2.0}, {"disputed_weight": -1.0}]
)
def test_options_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(IgcamError, match=next(iter(setting))):
        NoisyTagOptions(**setting)
