from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igcam.core.errors import IgcamError
from igcam.data.cue import PointCue
from igcam.data.sample import (
    Dataset,
    Sample,
    choose_classes,
    mask_id_to_tag,
    named_once,
    tag_to_mask_id,
)

DATASET = Dataset(
    ("cat", "dog", "cow"),
    (
        Sample("a", Path("a.jpg"), (0, 2)),
        Sample("b", Path("b.jpg"), ()),
        Sample("c/d", Path("c/d.png"), None),
    ),
)


def test_tags_and_mask_ids():
    assert [tag_to_mask_id(tag) for tag in range(3)] == [1, 2, 3]
    assert all(mask_id_to_tag(tag_to_mask_id(tag)) == tag for tag in range(254))
    with pytest.raises(ValueError, match="background has no tag"):
        mask_id_to_tag(0)
    with pytest.raises(ValueError, match="tag must be at least 0"):
        tag_to_mask_id(-1)


def test_tag_matrix():
    matrix = DATASET.tagged().tag_matrix()
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1, 0, 1], [0, 0, 0]]
    with pytest.raises(IgcamError, match=r"images without tags:\n  c/d"):
        DATASET.tag_matrix()


def test_subset_keeps_order_and_lists_unknown_names():
    assert DATASET.subset(["c/d", "a"]).names == ("c/d", "a")
    with pytest.raises(IgcamError, match=r"not in the data set:\n  x\n  y"):
        DATASET.subset(["x", "a", "y"])


def test_with_cues_replaces_all():
    point = PointCue(label=1, x=1, y=2)
    drawn = DATASET.with_cues({"b": [point]})
    assert [sample.cues for sample in drawn] == [(), (point,), ()]
    assert [sample.cues for sample in drawn.with_cues({})] == [(), (), ()]
    assert DATASET.samples[1].cues == ()
    with pytest.raises(IgcamError, match="nobody"):
        DATASET.with_cues({"nobody": [point]})


@pytest.mark.parametrize(
    ("classes", "samples", "rule"),
    [
        (("a", "a"), (), "classes must be unique"),
        (("background",), (), "without 'background'"),
        (tuple(map(str, range(255))), (), "at most 254"),
        (("a",), (Sample("x", Path("x.jpg")),) * 2, "'x' twice"),
        (("a",), (Sample("x", Path("x.jpg"), (1,)),), r"in 0\.\.0"),
        (("a", "b"), (Sample("x", Path("x.jpg"), (1, 0)),), "sorted"),
        (("a", "b"), (Sample("x", Path("x.jpg"), (1, 1)),), "unique"),
    ],
)
def test_a_data_set_is_consistent(classes, samples, rule):
    with pytest.raises(ValueError, match=rule):
        Dataset(classes, samples)


def test_choosing_classes():
    assert choose_classes(["cat", "dog"], None, "VOC") == ("cat", "dog")
    assert choose_classes(["cat", "dog"], ["dog"], "VOC") == ("dog",)
    with pytest.raises(IgcamError, match="classes: VOC has no 'dgo'; did you mean 'dog'\\?, 'zebra'"):
        choose_classes(["cat", "dog"], ["cat", "dgo", "zebra"], "VOC")


@pytest.mark.parametrize(
    ("classes", "rule"),
    [
        (["a", "b", "a"], "'a' is named twice"),
        ([], "at least one"),
        (["Background"], "mask id 0"),
        (list(map(str, range(255))), "at most 254"),
    ],
)
def test_named_once(classes, rule):
    with pytest.raises(IgcamError, match=f"^classes: .*{rule}"):
        named_once(classes)
