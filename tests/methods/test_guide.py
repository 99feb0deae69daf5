from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from toy_inputs import toy_inputs, toy_masks, toy_target

from igcam.errors import IgcamError
from igcam.methods.classify import ClassifyOptions, classify, tagged_activations
from igcam.methods.guide import GuideOptions, guide, learn, with_masks
from igcam.methods.head_training import HeadOptions
from igcam.methods.inputs import Inputs
from igcam.methods.retarget import RetargetOptions
from igcam.refine.dense_affinity import DenseAffinityOptions

HEAD = HeadOptions(hidden=16, epochs=1, least_steps=20, batch_size=4, learning_rate=0.02)
OPTIONS = GuideOptions(head=HEAD, retarget=RetargetOptions(size=32), teacher_share=0.5)


def activations(inputs: Inputs) -> np.ndarray:
    classifier = classify(inputs, ClassifyOptions())
    features = (inputs.last_level(index) for index in range(len(inputs.tags)))
    return np.stack(list(tagged_activations(classifier, features, inputs.tags)))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Note the images that each head is trained on."""
    module = importlib.import_module("igcam.methods.guide")
    calls: list[list[int]] = []
    train = module.train_head

    def noting(inputs, indices, *rest):
        calls.append(indices.tolist())
        return train(inputs, indices, *rest)

    monkeypatch.setattr(module, "train_head", noting)
    return calls


def test_tags_alone_find_the_objects(trained: list[list[int]]) -> None:
    inputs, masks = toy_inputs(12), toy_masks(12)
    guided = guide(inputs, activations(inputs), OPTIONS)
    assert guided.targets.dtype == guided.trust.dtype == np.float16
    assert guided.targets.shape == (12, 3, 8, 8)
    assert guided.probabilities.shape == (12, 3, 8, 8)
    assert guided.probabilities.dtype == np.float32
    np.testing.assert_allclose(guided.targets.sum(axis=1), 1, atol=2e-3)
    np.testing.assert_allclose(guided.probabilities.sum(axis=1), 1, atol=1e-5)
    assert not guided.targets[:, 1:][inputs.tags == 0].any()
    assert not guided.probabilities[:, 1:][inputs.tags == 0].any()
    assert (guided.probabilities.argmax(axis=1) == masks).mean() > 0.9
    assert trained == [list(range(12))]


def test_objects_are_found_by_their_distance_from_the_border() -> None:
    inputs, masks = toy_inputs(6), toy_masks(6)
    weak = activations(inputs) * (np.indices((8, 8)).sum(axis=0) % 5 == 0)
    options = replace(OPTIONS, segment_share=0, retarget=RetargetOptions(size=0), places=DenseAffinityOptions(4, 0))
    alike = replace(inputs, grouping=lambda index: np.ones((6, 8, 8), np.float32))
    found, blind = (((guide(given, weak, options).targets[:, 0] < 0.5) == (masks > 0)) for given in (inputs, alike))
    assert found.mean() > 0.95
    assert blind.mean() < 0.9


def test_given_masks_are_not_refined(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("igcam.methods.guide")
    refined: list[int] = []
    refine = module.retarget

    def noting(inputs, indices, *rest):
        refined.extend(indices.tolist())
        return refine(inputs, indices, *rest)

    monkeypatch.setattr(module, "retarget", noting)
    inputs = toy_inputs(6, taught=(1, 4))
    guide(inputs, activations(inputs), OPTIONS)
    assert refined == [0, 2, 3, 5]


def test_the_same_inputs_give_the_same() -> None:
    inputs = toy_inputs(6, taught=(1,))
    first, again = (guide(inputs, activations(inputs), OPTIONS) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    np.testing.assert_array_equal(first.targets, again.targets)


def test_masks_are_the_targets_of_their_images_with_their_own_trust(trained: list[list[int]]) -> None:
    inputs = toy_inputs(8, taught=(2, 5))
    half = toy_target(toy_masks(8)[5][::-1], trust=0.25)
    inputs = replace(inputs, masks={2: inputs.masks[2], 5: half})
    guided = guide(inputs, activations(inputs), OPTIONS)
    np.testing.assert_array_equal(guided.targets[2], inputs.masks[2].probability.astype(np.float16))
    assert (guided.trust[2] == 1).all()
    np.testing.assert_array_equal(guided.targets[5], half.probability.astype(np.float16))
    assert (guided.trust[5] == 0.25).all()
    assert len(trained) == 1, "two masks are too few for a teacher"


def test_enough_masks_train_a_teacher_first(trained: list[list[int]]) -> None:
    inputs, masks = toy_inputs(12, taught=(7, 0, 3, 4)), toy_masks(12)
    guided = guide(inputs, activations(inputs), OPTIONS)
    assert trained == [[0, 3, 4, 7], list(range(12))]
    assert not guided.targets[:, 1:][inputs.tags == 0].any()
    assert (guided.probabilities.argmax(axis=1) == masks).mean() > 0.9
    guide(inputs, activations(inputs), replace(OPTIONS, teacher_share=0))
    assert trained[2:] == [list(range(12))]


def test_a_teacher_corrects_misleading_activations() -> None:
    inputs, masks = toy_inputs(12, taught=(0, 1, 2, 3)), toy_masks(12)
    shifted = np.roll(activations(inputs), 3, axis=2)
    flat = replace(inputs, grouping=lambda index: np.ones((6, 8, 8), np.float32))
    options = replace(OPTIONS, retarget=RetargetOptions(size=0))
    without = guide(flat, shifted, replace(options, teacher_share=0)).targets.argmax(axis=1)
    taught = guide(flat, shifted, replace(options, teacher_share=1)).targets.argmax(axis=1)
    assert (taught[4:] == masks[4:]).mean() > (without[4:] == masks[4:]).mean() + 0.05


def test_where_every_image_has_a_mask_no_teacher_is_needed(trained: list[list[int]]) -> None:
    inputs = toy_inputs(6, taught=tuple(range(6)))
    guided = guide(inputs, activations(inputs), OPTIONS)
    assert trained == [list(range(6))]
    expected = np.stack([inputs.masks[index].probability for index in range(6)])
    np.testing.assert_array_equal(guided.targets, expected.astype(np.float16))
    assert (guided.trust == 1).all()


def test_an_image_without_any_tag_is_background() -> None:
    inputs = toy_inputs(6)
    tags = inputs.tags.copy()
    tags[4] = 0
    inputs = replace(inputs, tags=tags)
    maps = activations(inputs)
    assert not maps[4].any()
    guided = guide(inputs, maps, OPTIONS)
    assert (guided.targets[4, 0] == 1).all()
    assert (guided.probabilities[4, 0] == 1).all()


def test_weights_scale_the_trust_but_not_that_of_masks() -> None:
    inputs = toy_inputs(6, taught=(0,))
    probabilities = guide(inputs, activations(inputs), OPTIONS).probabilities
    plain = learn(inputs, probabilities, HEAD, RetargetOptions(size=0))
    weights = np.full((6, 8, 8), 0.5, np.float32)
    weighed = learn(inputs, probabilities, HEAD, RetargetOptions(size=0), weights)
    np.testing.assert_allclose(weighed.trust[1:], plain.trust[1:] / 2, rtol=2e-3)
    assert (weighed.trust[0] == 1).all()


def test_masks_are_put_in_place() -> None:
    inputs = toy_inputs(3, taught=(1,))
    targets, trust = with_masks(inputs, np.zeros((3, 3, 8, 8), np.float32), np.zeros((3, 8, 8), np.float32))
    assert (trust.reshape(3, -1).max(axis=1) == [0, 1, 0]).all()
    np.testing.assert_array_equal(targets[1], inputs.masks[1].probability)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(IgcamError, match=r"teacher_share must be 0 to 1, got 1\.5"):
        GuideOptions(teacher_share=1.5)
