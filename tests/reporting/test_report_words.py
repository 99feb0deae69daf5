from __future__ import annotations

import pytest

from igcam.metrics.ledger import Ledger
from igcam.reporting.words import count, cue_words, duration, flattened, ledger_facts, listed, percent, signed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (200, "3 min 20 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (3_600_000, "1,000 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.04, "±0.0"), (-0.04, "±0.0"), (1.26, "+1.3"), (-12.0, "−12.0")]
)
def test_differences_have_a_sign(value: float | None, text: str) -> None:
    assert signed(value) == text


def test_numbers_and_lists() -> None:
    assert [percent(None), percent(57.25)] == ["–", "57.2"]
    assert [count(1, "image"), count(1437, "image"), count(2, "class")] == ["1 image", "1,437 images", "2 classes"]
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]
    assert listed([str(index) for index in range(10)], maximum=2) == "0, 1 and 8 more"


def test_cues() -> None:
    assert cue_words({"box": 0}) == "tags only"
    assert cue_words({"mask": 21, "point": 1}) == "tags, and masks on 21 images and points on 1 image"


def test_a_ledger_in_words() -> None:
    ledger = Ledger(
        "igcam",
        "voc2012 val",
        445,
        False,
        cues={"mask": 21},
        annotation_seconds=13_354,
        crf={"iterations": 10, "spatial_std": 3.0},
        multi_scale=(0.5, 1.0),
        flip=True,
        backbone="resnet50",
        regime="frozen",
    )
    facts = dict(ledger_facts(ledger, 90))
    assert facts["Scored on"] == "voc2012 val, 445 images"
    assert facts["Their true tags"] == "not used to make the masks"
    assert facts["Annotation time"] == "about 3 h 43 min (estimated)"
    assert facts["Dense CRF"] == "iterations 10, spatial std 3"
    assert facts["Views"] == "scales 0.5 and 1, also mirrored"
    assert facts["Backbone"] == "resnet50 (frozen)"
    assert facts["Seed"] == "mean over seeds"
    assert facts["Computing time"] == "1 min 30 s"
    assert "Truth masks" not in facts


def test_options_are_flattened() -> None:
    options = {"a": {"b": [1, 2.5], "c": None}, "d": True, "e": "x"}
    assert flattened(options) == [("a.b", "1, 2.5"), ("a.c", "none"), ("d", "yes"), ("e", "x")]
