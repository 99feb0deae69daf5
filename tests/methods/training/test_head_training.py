from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_inputs import toy_inputs, toy_masks, toy_targets

from igcam.core.errors import IgcamError
from igcam.methods.inputs import Inputs
from igcam.methods.training.head import HeadOptions, balance, train_head
from igcam.models.segmentation_head import SegmentationHead, predict_all
from igcam.supervision.pseudo_labels import restrict_to_tags

QUICK = HeadOptions(hidden=16, epochs=2, min_steps=30, batch_size=4, learning_rate=0.02)


def predicted_by(inputs, head, indices, batch_size=32):
    return restrict_to_tags(predict_all(head, inputs.reduced[:, indices], batch_size), inputs.allowed[indices])


def train(inputs: Inputs, indices: np.ndarray, options: HeadOptions = QUICK) -> tuple[SegmentationHead, list]:
    targets = toy_targets(toy_masks(len(inputs.tags)))
    return train_head(inputs, indices, targets, np.ones(targets[:, 0].shape, np.float32), options)


def test_a_toy_task_is_fitted_and_generalises_to_other_images() -> None:
    inputs, masks = toy_inputs(16), toy_masks(16)
    head, curve = train(inputs, np.arange(8))
    assert not head.training
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"]
    assert [point["epoch"] for point in curve] == list(range(1, 16))
    predicted = predicted_by(inputs, head, np.arange(16)).argmax(axis=1)
    assert (predicted[:8] == masks[:8]).mean() > 0.97
    assert (predicted[8:] == masks[8:]).mean() > 0.95


def test_the_same_seed_gives_the_same_head_and_leaves_torch_alone() -> None:
    inputs = toy_inputs()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, curve = train(inputs, np.arange(6))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(99)
    again, same = train(inputs, np.arange(6))
    assert curve == same
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    other, _ = train(replace(inputs, seed=1), np.arange(6))
    assert not torch.equal(first.enter.weight, other.enter.weight)


def test_training_uses_only_the_chosen_images_and_locations_with_confidence() -> None:
    inputs = toy_inputs(8)
    targets = toy_targets(toy_masks(8))
    confidence = np.ones((8, 8, 8), np.float32)
    confidence[:, :3] = 0
    head, _ = train_head(inputs, np.arange(4), targets, confidence, QUICK)
    spoilt = targets.copy()
    spoilt[4:] = np.nan
    spoilt[:4, :, :3] = [[[1.0]], [[0.0]], [[0.0]]]
    same, _ = train_head(inputs, np.arange(4), spoilt, confidence, QUICK)
    for name, tensor in head.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name]), name


def test_a_single_view_is_enough() -> None:
    inputs = toy_inputs(8)
    plain = replace(inputs, reduced=inputs.reduced[:1])
    head, _ = train(plain, np.arange(8))
    assert (predicted_by(plain, head, np.arange(8)).argmax(axis=1) == toy_masks(8)).mean() > 0.95


def test_targets_are_mirrored_with_their_view() -> None:
    # Otherwise a head could not fit objects that lie at the left of every image from both views.
    inputs = toy_inputs(8)
    masks = np.zeros((8, 8, 8), np.uint8)
    masks[:, :, :4] = 1
    features = np.zeros((8, 6, 8, 8), np.float16)
    features[:, 0] = masks
    sided = replace(inputs, reduced=np.stack([features, features[..., ::-1]]))
    head, _ = train_head(sided, np.arange(8), toy_targets(masks), np.ones((8, 8, 8), np.float32), QUICK)
    both = replace(sided, tags=np.ones((8, 2), np.float32))
    assert (predicted_by(both, head, np.arange(8)).argmax(axis=1) == masks).mean() > 0.95


def test_predictions_are_probabilities_of_the_tagged_classes() -> None:
    inputs = toy_inputs(7)
    head, _ = train(inputs, np.arange(7), replace(QUICK, min_steps=2))
    indices = np.array([5, 0, 2])
    predicted = predicted_by(inputs, head, indices)
    assert predicted.dtype == np.float32
    assert predicted.shape == (3, 3, 8, 8)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)
    for row, index in enumerate(indices):
        assert not predicted[row, 1:][inputs.tags[index] == 0].any()
        assert predicted[row, 1:][inputs.tags[index] == 1].any()
    np.testing.assert_allclose(predicted_by(inputs, head, indices, 2), predicted, atol=1e-6)


def test_least_steps_make_more_epochs() -> None:
    seen = []
    inputs = replace(toy_inputs(6), progress=lambda task, done, total: seen.append((task, done, total)))
    _, curve = train(inputs, np.arange(6), replace(QUICK, epochs=3, min_steps=8, batch_size=3))
    assert len(curve) == 4
    assert seen == [("train the head", step, 4) for step in (1, 2, 3, 4)]
    _, curve = train(inputs, np.arange(6), replace(QUICK, epochs=3, min_steps=0))
    assert len(curve) == 3


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"batch_size": 0}, {"hidden": 0}, {"dropout": float("nan")}])
def test_impossible_options_are_refused(bad: dict) -> None:
    with pytest.raises(IgcamError, match=f"{next(iter(bad))} must be"):
        HeadOptions(**bad)


def test_a_running_average_of_the_weights_predicts() -> None:
    inputs, targets = toy_inputs(8), toy_targets(toy_masks(8))
    confidence = np.ones((8, 8, 8), np.float32)
    options = HeadOptions(hidden=8, epochs=1, min_steps=4, batch_size=4, foreground_bias=0)
    last, still = (
        train_head(inputs, np.arange(8), targets, confidence, replace(options, averaging=decay))[0]
        for decay in (0, 0.9)
    )
    torch.manual_seed(inputs.seed)
    begun = SegmentationHead(inputs.reduced.shape[2], 2, 8).leave.weight
    assert 0 < (still.leave.weight - begun).norm() < 0.8 * (last.leave.weight - begun).norm()


def test_the_bias_is_taken_from_the_background() -> None:
    inputs, targets = toy_inputs(8), toy_targets(toy_masks(8))
    confidence = np.ones((8, 8, 8), np.float32)
    options = HeadOptions(hidden=8, epochs=1, min_steps=4)
    plain, biased = (
        train_head(inputs, np.arange(8), targets, confidence, replace(options, foreground_bias=bias))[0]
        for bias in (0, 2)
    )
    difference = plain.leave.bias.detach() - biased.leave.bias.detach()
    np.testing.assert_allclose(difference.numpy(), [2, 0, 0], atol=1e-6)


def test_classes_count_by_their_share() -> None:
    targets = np.zeros((1, 3, 1, 4), np.float32)
    targets[0, [0, 0, 0, 1], 0, [0, 1, 2, 3]] = 1
    confidence = np.ones((1, 1, 4), np.float32)
    assert (balance(targets, confidence, np.arange(1), 0) == 1).all()
    np.testing.assert_allclose(balance(targets, confidence, np.arange(1), 1)[0, 0], [2 / 3, 2 / 3, 2 / 3, 2], rtol=1e-2)
    half = balance(targets, confidence, np.arange(1), 0.5)[0, 0]
    assert half.mean() == pytest.approx(1, abs=0.02)
    assert half[3] / half[0] == pytest.approx(3**0.5, rel=1e-3)
