from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_inputs import toy_inputs, toy_masks

from igcam.core.errors import IgcamError
from igcam.methods.classifier import Classifier, ClassifyOptions, classify, tagged_activation
from igcam.models.linear_head import cross_fitted_logits, fit_linear_head, tag_loss


def image_logits(classifier: Classifier, pooled: np.ndarray) -> np.ndarray:
    return classifier.head.logits(pooled.astype(np.float64) * classifier.scale).astype(np.float32)


def test_the_penalty_with_the_least_loss_on_held_out_images_is_taken() -> None:
    inputs = toy_inputs(noise=1.5, count=20)
    options = ClassifyOptions(penalties=(3.0, 0.3, 0.03, 0.003, 0.0003), folds=4)
    classifier = classify(inputs, options)
    features = inputs.pooled.astype(np.float64) * classifier.scale
    assert np.sqrt((features**2).sum(axis=1).mean()) == pytest.approx(10)
    losses = {
        penalty: tag_loss(cross_fitted_logits(features, inputs.tags, penalty, 4, inputs.seed), inputs.tags)
        for penalty in options.penalties
    }
    assert classifier.head.l2 == min(losses, key=losses.__getitem__)
    np.testing.assert_allclose(
        classifier.head.weight, fit_linear_head(features, inputs.tags, classifier.head.l2).weight, atol=1e-6
    )


def test_a_single_penalty_is_taken_as_it_is() -> None:
    assert classify(toy_inputs(), ClassifyOptions(penalties=(0.07,))).head.l2 == 0.07


def test_more_folds_than_images_are_no_obstacle() -> None:
    assert classify(toy_inputs(count=3), ClassifyOptions(folds=5)).head.weight.shape == (2, 6)


def test_activation_maps_are_the_logit_split_over_places() -> None:
    inputs = toy_inputs()
    classifier = classify(inputs, ClassifyOptions())
    logits = image_logits(classifier, inputs.pooled)
    assert logits.dtype == np.float32
    for index in range(len(inputs.tags)):
        maps = classifier.activation_maps(inputs.last_level(index))
        assert maps.dtype == np.float32
        np.testing.assert_allclose(maps.mean(axis=(1, 2)) + classifier.head.bias, logits[index], rtol=1e-4, atol=1e-4)


def test_the_scale_of_the_features_does_not_matter() -> None:
    inputs = toy_inputs()
    classifier = classify(inputs, ClassifyOptions())
    larger = replace(inputs, pooled=inputs.pooled * 50)
    np.testing.assert_allclose(
        image_logits(classify(larger, ClassifyOptions()), larger.pooled),
        image_logits(classifier, inputs.pooled),
        rtol=1e-4,
    )


def test_activations_find_the_objects_of_the_tagged_classes_only() -> None:
    inputs, masks = toy_inputs(), toy_masks(12)
    classifier = classify(inputs, ClassifyOptions())
    found = [tagged_activation(inputs, classifier, index, tags) for index, tags in enumerate(inputs.tags)]
    assert len(found) == 12
    for activation, tags, mask in zip(found, inputs.tags, masks, strict=True):
        assert activation.min() >= 0
        assert activation.max() <= 1
        assert not activation[tags == 0].any()
        inside, outside = activation.max(axis=0)[mask > 0], activation.max(axis=0)[mask == 0]
        assert inside.mean() > outside.mean() + 0.3


def test_tag_loss_is_stable_and_by_hand() -> None:
    assert tag_loss(np.array([[0.0, 800.0]]), np.array([[1.0, 1.0]])) == pytest.approx(np.log(2) / 2)
    assert tag_loss(np.array([[-800.0]]), np.array([[1.0]])) == pytest.approx(800)


@pytest.mark.parametrize("bad", [{"penalties": ()}, {"penalties": (0.1, 0.0)}, {"folds": 1}])
def test_impossible_options_are_refused(bad: dict) -> None:
    with pytest.raises(IgcamError, match="must be"):
        ClassifyOptions(**bad)
