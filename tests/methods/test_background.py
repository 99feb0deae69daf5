from __future__ import annotations

import numpy as np
import pytest

from igcam.core.errors import IgcamError
from igcam.methods.background import RULES, BackgroundOptions, with_background

ACTIVATION = np.array([[[0.9, 0.5, 0.1, 0.0]], [[0.2, 0.6, 0.05, 0.0]]], np.float32)


def test_a_constant() -> None:
    scores = with_background(ACTIVATION, BackgroundOptions("constant", 0.3))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[0], 0.3)
    np.testing.assert_array_equal(scores[1:], ACTIVATION)
    np.testing.assert_array_equal(scores.argmax(axis=0), [[1, 2, 0, 0]])


def test_a_power_of_what_the_strongest_class_leaves() -> None:
    scores = with_background(ACTIVATION, BackgroundOptions("power", 2))
    np.testing.assert_allclose(scores[0, 0], [0.01, 0.16, 0.81, 1], rtol=1e-5)


def test_otsu_lies_between_two_levels() -> None:
    random = np.random.default_rng(0)
    inside = np.indices((20, 20))[1] < 6
    activation = np.where(inside, 0.7, 0.2)[None] + 0.05 * random.normal(size=(1, 20, 20))
    scores = with_background(activation.clip(0, 1), BackgroundOptions("otsu"))
    np.testing.assert_array_equal(scores.argmax(axis=0) == 1, inside)


@pytest.mark.parametrize("rule", RULES)
def test_an_image_without_activation_is_background(rule: str) -> None:
    scores = with_background(np.zeros((2, 3, 3), np.float32), BackgroundOptions(rule))
    assert (scores.argmax(axis=0) == 0).all()
    assert np.isfinite(scores).all()


def test_rules_in_words() -> None:
    assert BackgroundOptions().words == "constant 0.15"
    assert BackgroundOptions("power", 3.0).words == "power 3"
    assert BackgroundOptions("otsu").words == "otsu of each map"


def test_impossible_rules_are_refused() -> None:
    with pytest.raises(IgcamError, match="rule must be one of constant, otsu, power, got 'best'"):
        BackgroundOptions("best")
    with pytest.raises(IgcamError, match=r"value must be 0 to 1, got 1\.5"):
        BackgroundOptions("constant", 1.5)
