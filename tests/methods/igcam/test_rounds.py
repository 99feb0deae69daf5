from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_inputs import toy_inputs, toy_masks, toy_targets

from igcam.core.errors import IgcamError
from igcam.data.cue import PointCue
from igcam.methods.igcam.rounds import RoundOptions, learn, mutual_iou
from igcam.methods.training.head import HeadOptions
from igcam.supervision.constraints import AnnotatedImage
from igcam.supervision.pseudo_labels import PseudoLabelOptions

COUNT = 8
HEAD = HeadOptions(hidden=16, epochs=1, min_steps=30, batch_size=4, learning_rate=0.02)
ONE = RoundOptions(rounds=1, mask_weight=0, head=HEAD, pseudo_labels=PseudoLabelOptions(size=0))
PROBABILITIES = (0.8 * toy_targets(toy_masks(COUNT)) + 0.2 / 3).astype(np.float32)


def test_every_round_begins_with_the_predictions_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("igcam.methods.igcam.rounds")
    begun: list[np.ndarray] = []
    aim = module.update_pseudo_labels

    def noting(inputs, indices, probabilities, options):
        begun.append(probabilities)
        return aim(inputs, indices, probabilities, options)

    monkeypatch.setattr(module, "update_pseudo_labels", noting)
    inputs = toy_inputs(COUNT, noise=1.0)
    twice = learn(inputs, PROBABILITIES, replace(ONE, rounds=2, converged=1))
    assert len(begun) == 2
    np.testing.assert_array_equal(begun[0], PROBABILITIES)
    np.testing.assert_array_equal(begun[1], learn(inputs, PROBABILITIES, ONE).probabilities)
    assert len(twice.agreement) == 2
    assert [entry["epoch"] for entry in twice.curve] == list(range(1, len(twice.curve) + 1))
    assert len(twice.curve) == 30


def test_rounds_end_when_nothing_changes() -> None:
    converged = learn(toy_inputs(COUNT), PROBABILITIES, replace(ONE, rounds=5, converged=0.5))
    assert len(converged.agreement) == 1
    assert converged.agreement[0] >= 0.5


def test_weights_scale_the_trust_but_not_that_of_masks() -> None:
    inputs = toy_inputs(COUNT, taught=(0,))
    weights = np.full((COUNT, 8, 8), 0.5, np.float32)
    plain, weighed = learn(inputs, PROBABILITIES, ONE), learn(inputs, PROBABILITIES, ONE, weights)
    np.testing.assert_allclose(weighed.confidence[1:], plain.confidence[1:] / 2, rtol=2e-3)
    assert (weighed.confidence[0] == 1).all()


def test_the_bias_for_objects_falls_with_the_share_of_images_whose_background_was_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module("igcam.methods.igcam.rounds")
    biases: list[float] = []
    train = module.train_head

    def noting(inputs, indices, targets, confidence, options):
        biases.append(options.foreground_bias)
        return train(inputs, indices, targets, confidence, options)

    monkeypatch.setattr(module, "train_head", noting)
    inputs = toy_inputs(COUNT)
    click, backdrop = PointCue(label=1, x=3, y=3), PointCue(label=0, x=0, y=0)
    for cues in ({}, {0: (click,)}, {0: (click, backdrop), 3: (backdrop,)}):
        annotated = {index: AnnotatedImage(points, 8, 8, 2) for index, points in cues.items()}
        learn(replace(inputs, annotated=annotated), PROBABILITIES, replace(ONE, head=replace(HEAD, foreground_bias=2)))
    assert biases == [2, 2, pytest.approx(2 * (1 - 2 / COUNT))]


def test_few_masks_have_their_share_of_the_trust() -> None:
    inputs = toy_inputs(COUNT, taught=(2, 5))
    confidence = learn(inputs, PROBABILITIES, replace(ONE, mask_weight=0.75)).confidence.astype(np.float32)
    masked = confidence[[2, 5]].sum()
    assert masked / confidence.sum() == pytest.approx(0.75, abs=1e-3)
    capped = learn(inputs, PROBABILITIES, replace(ONE, mask_weight=0.75, max_mask_weight=1.5)).confidence
    assert (capped[[2, 5]] == 1.5).all()
    every = learn(
        toy_inputs(COUNT, taught=tuple(range(COUNT))), PROBABILITIES, replace(ONE, mask_weight=0.75)
    ).confidence
    assert (every == 1).all()


def test_disagreement_takes_trust() -> None:
    inputs = toy_inputs(COUNT, taught=(0,))
    options = replace(ONE, rounds=2, converged=1)
    # Between the first round's start and its predictions, in another half of the images.
    begun = PROBABILITIES.copy()
    begun[4:] = begun[4:, [0, 2, 1]]
    usual, wary = (learn(inputs, begun, replace(options, disagreement=share)) for share in (0, 1))
    np.testing.assert_array_equal(usual.pseudo_labels, wary.pseudo_labels)
    assert (wary.confidence <= usual.confidence).all()
    assert (wary.confidence[0] == usual.confidence[0]).all()
    assert wary.confidence[1:].mean() < usual.confidence[1:].mean()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), classes=st.integers(1, 4))
def test_agreement_is_one_with_oneself_and_symmetric(seed: int, classes: int) -> None:
    first, second = np.random.default_rng(seed).random((2, 3, classes, 4, 4)).astype(np.float32)
    assert mutual_iou(first, first) == 1
    assert mutual_iou(first, second) == pytest.approx(mutual_iou(second, first))
    assert 0 <= mutual_iou(first, second) <= 1


def test_agreement_by_hand() -> None:
    first, second = (np.eye(3, dtype=np.float32)[ids].T[None, :, None] for ids in ([0, 0, 1, 1], [0, 1, 1, 1]))
    assert mutual_iou(first, second) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(IgcamError, match=r"rounds must be .*, got 0"):
        RoundOptions(rounds=0)
    with pytest.raises(IgcamError, match=r"mask_weight must be .*, got 1"):
        RoundOptions(mask_weight=1)


def test_tags_have_their_share_in_every_round_where_that_is_asked() -> None:
    inputs = toy_inputs(COUNT, noise=0.3)
    inputs = replace(inputs, tags=np.ones_like(inputs.tags))
    even = np.full_like(PROBABILITIES, 1 / 3)
    hard = replace(ONE, min_share=0.1)
    found, kept = (
        learn(inputs, 0.5 * PROBABILITIES + 0.5 * even, options).probabilities.argmax(axis=1) for options in (ONE, hard)
    )
    shares = [np.stack([(maximum == label).mean(axis=(1, 2)) for label in (1, 2)]).min() for maximum in (found, kept)]
    assert shares[0] < 0.05
    assert shares[1] >= 0.09
