from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_inputs import toy_inputs, toy_masks, toy_targets

from igcam.influence import WeightOptions
from igcam.methods.classifier import Classifier, ClassifyOptions, classify
from igcam.methods.igcam.reweighting import ReweightOptions, _image_weights, _location_weights, reweight
from igcam.methods.igcam.rounds import RoundOptions, learn
from igcam.methods.inputs import Inputs
from igcam.methods.training.head import HeadOptions
from igcam.models.linear_head import CrossFit, cross_fit
from igcam.supervision.pseudo_labels import PseudoLabelOptions

COUNT = 20
OPTIONS = ReweightOptions(
    folds=4,
    learn=RoundOptions(
        rounds=1,
        mask_weight=0,
        head=HeadOptions(hidden=8, epochs=1, min_steps=3),
        pseudo_labels=PseudoLabelOptions(size=0, min_confidence=1.0),
    ),
)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return toy_inputs(COUNT, noise=1.0)


@pytest.fixture(scope="module")
def classifier(inputs: Inputs) -> Classifier:
    return classify(inputs, ClassifyOptions())


@pytest.fixture(scope="module")
def fitted(inputs: Inputs, classifier: Classifier) -> CrossFit:
    return cross_fit(inputs.pooled.astype(np.float64) * classifier.scale, inputs.tags, classifier.head.l2, 4, 0)


PROBABILITIES = 0.8 * toy_targets(toy_masks(COUNT)) + 0.2 / 3


def test_image_weights_have_mean_one_and_fall_with_the_influence(fitted: CrossFit) -> None:
    weights = _image_weights(fitted, OPTIONS, 0)
    assert weights.shape == (COUNT,)
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    assert weights.min() >= 0.1
    assert weights.max() <= 2
    assert weights.std() > 0.05
    influence = fitted.influence.sum(axis=1)
    assert (np.diff(weights[np.argsort(influence)]) <= 1e-6).all()


def test_the_control_deals_the_same_weights_out_at_random(fitted: CrossFit) -> None:
    weights = _image_weights(fitted, OPTIONS, 0)
    shuffled = _image_weights(fitted, replace(OPTIONS, shuffled=True), 0)
    np.testing.assert_array_equal(np.sort(shuffled), np.sort(weights))
    assert (shuffled != weights).any()
    np.testing.assert_array_equal(_image_weights(fitted, replace(OPTIONS, shuffled=True), 0), shuffled)


def test_place_weights_stay_in_range_and_leave_background_alone(
    inputs: Inputs, classifier: Classifier, fitted: CrossFit
) -> None:
    options = replace(OPTIONS, weights=WeightOptions(low=0.5, high=1.5))
    weights = _location_weights(inputs, fitted, classifier.scale, PROBABILITIES, options)
    assert weights.shape == (COUNT, 8, 8)
    assert weights.dtype == np.float32
    assert weights.min() >= 0.5 - 1e-6
    assert weights.max() <= 1.5 + 1e-6
    assert weights.std() > 0.01
    background = np.zeros_like(PROBABILITIES)
    background[:, 0] = 1
    np.testing.assert_array_equal(_location_weights(inputs, fitted, classifier.scale, background, options), 1)


def test_trust_is_weighed_by_images_and_places(inputs: Inputs, classifier: Classifier, fitted: CrossFit) -> None:
    found = {
        (images, locations): reweight(
            inputs, classifier, PROBABILITIES, replace(OPTIONS, images=images, locations=locations)
        ).confidence
        for images in (False, True)
        for locations in (False, True)
    }
    plain = learn(inputs, PROBABILITIES, OPTIONS.learn)
    np.testing.assert_array_equal(found[False, False], plain.confidence)
    images = _image_weights(fitted, OPTIONS, inputs.seed)[:, None, None]
    locations = _location_weights(inputs, fitted, classifier.scale, PROBABILITIES, OPTIONS)
    np.testing.assert_allclose(found[True, False], np.broadcast_to(images, (COUNT, 8, 8)), rtol=2e-3)
    np.testing.assert_allclose(found[False, True], locations, rtol=2e-3)
    np.testing.assert_allclose(found[True, True], images * locations, rtol=2e-3)


def test_the_control_learns_something_else(inputs: Inputs, classifier: Classifier) -> None:
    real, control = (
        reweight(inputs, classifier, PROBABILITIES, replace(OPTIONS, shuffled=shuffled)) for shuffled in (False, True)
    )
    assert (real.confidence != control.confidence).any()
    assert (real.probabilities != control.probabilities).any()
    np.testing.assert_array_equal(real.pseudo_labels, control.pseudo_labels)


def test_masks_keep_full_trust(inputs: Inputs, classifier: Classifier) -> None:
    taught = replace(inputs, annotated=toy_inputs(COUNT, noise=1.0, taught=(3,)).annotated)
    guided = reweight(taught, classifier, PROBABILITIES, OPTIONS)
    assert (guided.confidence[3] == 1).all()
    expected = taught.annotated[3].at(8, 8).probability
    np.testing.assert_array_equal(guided.pseudo_labels[3], expected)
