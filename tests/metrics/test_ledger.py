from __future__ import annotations

import dataclasses
import json

import pytest

from igcam.metrics.ledger import ANNOTATION_SECONDS, Ledger, annotation_seconds

LEDGER = Ledger(
    method="igcam",
    split="voc2012 train",
    split_size=1464,
    tags_at_inference=True,
    cues={"mask": 21},
    annotation_seconds=annotation_seconds(437, {"mask": 21}),
    crf={"bilateral_width": 50.0},
    multi_scale=(0.5, 1.0),
    stages=("classify", "guide"),
    seed=3,
)


def test_tags_alone_cost_twenty_seconds_an_image() -> None:
    assert annotation_seconds(10) == 200


def test_costs_are_totals_that_contain_the_tags() -> None:
    assert annotation_seconds(10, {"point": 10}) == pytest.approx(221)
    assert annotation_seconds(10, {"mask": 1}) == pytest.approx(9 * 20 + 239.7)
    assert annotation_seconds(1, {"point": 1, "box": 1}) == pytest.approx(20 + 2.1 + 18.1)


def test_own_costs_are_used() -> None:
    assert annotation_seconds(2, {"box": 1}, {"tags": 1, "box": 3}) == 4


def test_impossible_cues_are_refused() -> None:
    with pytest.raises(ValueError, match="kinds must be among point, scribble, box, mask, got lasso"):
        annotation_seconds(2, {"lasso": 1})
    with pytest.raises(ValueError, match=r"box must be on 0..2 images, got 3"):
        annotation_seconds(2, {"box": 3})
    with pytest.raises(ValueError, match="got tags"):
        annotation_seconds(2, {"tags": 1})


def test_every_cost_is_at_least_that_of_the_tags() -> None:
    assert min(ANNOTATION_SECONDS.values()) == ANNOTATION_SECONDS["tags"]


def test_survives_json() -> None:
    assert Ledger.from_dict(json.loads(json.dumps(LEDGER.to_dict()))) == LEDGER


def test_old_files_lack_new_fields() -> None:
    plain = {"method": "cam", "split": "val", "split_size": 5, "tags_at_inference": False}
    ledger = Ledger.from_dict(plain)
    assert ledger.threshold_rule == "none"
    assert ledger.crf is None


def test_other_content_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown \['colour'\], missing \['split'"):
        Ledger.from_dict({"method": "cam", "colour": 1})


def test_differences_forbid_one_column() -> None:
    later = dataclasses.replace(LEDGER, seed=4, method="cam", wall_seconds=3.0)
    assert LEDGER.differences(later) == ()
    assert LEDGER.differences(dataclasses.replace(LEDGER, oracle_threshold=True, crf=None)) == (
        "oracle_threshold",
        "crf",
    )
