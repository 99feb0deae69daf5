from __future__ import annotations

import json
import math

import numpy as np
import pytest
from data_files import SHARED, photos
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco
from reader_suite import ReaderSuite

from igcam.core.errors import IgcamError
from igcam.data.cue import BoxCue, MaskCue
from igcam.data.formats.coco import CocoMask, CocoShape, _lengths, coco_cues, read_coco

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEIGHT, WIDTH = 70, 90


def polygon(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(number, image, category, box, segmentation=None, crowd=0):
    left, top, right, bottom = box
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [left, top, right - left, bottom - top],
        "segmentation": polygon(*box) if segmentation is None else segmentation,
        "iscrowd": crowd,
    }


def run_lengths(mask):
    """Uncompressed run-length code, column by column, beginning with zeros."""
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [-1]])
    starts = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], starts])).tolist()
    return {"size": list(mask.shape), "counts": counts}


CROWD = np.zeros((HEIGHT, WIDTH), bool)
CROWD[:20, :50] = True

CONTENT = {
    "images": [
        {"id": 5, "file_name": "x.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 2, "file_name": "sub/y.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 9, "file_name": "z.jpg", "height": HEIGHT, "width": WIDTH},
    ],
    "categories": [{"id": 44, "name": "cup"}, {"id": 1, "name": "person"}, {"id": 17, "name": "cat"}],
    "annotations": [
        annotation(1, 5, 17, (20, 20, 30, 30)),
        annotation(2, 5, 44, (10, 10, 60, 50)),
        annotation(3, 5, 1, (0, 0, 50, 20), run_lengths(CROWD), crowd=1),
        annotation(4, 2, 44, (70, 50, 90, 70)),
        annotation(5, 2, 1, (80, 60, 100, 80)),
    ],
}


@pytest.fixture
def make(tmp_path):
    def write(**changes):
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(CONTENT | changes))
        return path

    photos(tmp_path / "images", "x.jpg", "sub/y.jpg", "z.jpg")
    return write


class TestCoco(ReaderSuite):
    @pytest.fixture
    def dataset(self, make, tmp_path):
        return read_coco(tmp_path / "images", make())

    def test_content(self, dataset):
        assert dataset.classes == ("person", "cat", "cup")
        assert dataset.names == ("x", "sub/y", "z")
        assert [sample.tags for sample in dataset] == [(0, 1, 2), (0, 2), ()]

    def test_truth_by_hand(self, dataset):
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        expected[:20, :50] = 255
        expected[10:50, 10:60] = 3
        expected[20:30, 20:30] = 2
        np.testing.assert_array_equal(dataset.samples[0].truth.read(), expected)
        assert not dataset.samples[2].truth.read().any()

    def test_objects_have_the_ids_of_their_annotations(self, dataset):
        found = [(item.label, item.instance, int(item.region.sum())) for item in dataset.samples[0].truth.objects()]
        assert found == [(3, 2, 50 * 40 - 100), (2, 1, 100)]


class TestCocoSubset(ReaderSuite):
    @pytest.fixture
    def dataset(self, make, tmp_path):
        return read_coco(tmp_path / "images", make(), classes=["cup", "person"])

    def test_other_categories_are_background(self, dataset):
        assert [sample.tags for sample in dataset] == [(0, 1), (0, 1), ()]
        truth = dataset.samples[0].truth.read()
        assert truth[25, 25] == 1
        assert truth[2, 2] == 255


def test_the_smaller_object_is_on_top_whatever_the_order():
    large, small = (CocoShape(1, polygon(0, 0, 8, 8))), CocoShape(2, polygon(2, 2, 5, 5))
    for shapes in ((large, small), (small, large)):
        mask = CocoMask("x", 10, 10, shapes).read()
        assert (np.bincount(mask.ravel()) == [36, 55, 9]).all()
    same = CocoShape(3, polygon(2, 2, 5, 5))
    assert CocoMask("x", 10, 10, (small, same)).read()[3, 3] == 3
    assert CocoMask("x", 10, 10, (same, small)).read()[3, 3] == 2


def test_empty_and_damaged_segmentations():
    shapes = tuple(CocoShape(1, segmentation) for segmentation in ([], [[1, 2, 3, 4]]))
    assert not CocoMask("x", 10, 10, shapes).read().any()
    for damaged in ({"size": [9, 9], "counts": [81]}, {"counts": [100]}, [["a"] * 6], 3):
        with pytest.raises(IgcamError, match="x: a COCO segmentation cannot be drawn"):
            CocoMask("x", 10, 10, (CocoShape(1, damaged),)).read()


def test_compressed_codes():
    code = coco.encode(np.asfortranarray(CROWD.astype(np.uint8)))
    for counts in (code["counts"], code["counts"].decode()):
        shape = CocoShape(2, {"size": [HEIGHT, WIDTH], "counts": counts})
        np.testing.assert_array_equal(CocoMask("x", HEIGHT, WIDTH, (shape,)).read(), CROWD * 2)


def test_boxes_as_cues(make, tmp_path):
    cues = coco_cues(make())
    assert cues == {
        "x": (
            BoxCue(label=2, instance=1, left=20, top=20, right=30, bottom=30),
            BoxCue(label=3, instance=2, left=10, top=10, right=60, bottom=50),
        ),
        "sub/y": (
            BoxCue(label=3, instance=4, left=70, top=50, right=90, bottom=70),
            BoxCue(label=1, instance=5, left=80, top=60, right=90, bottom=70),
        ),
    }
    dataset = read_coco(tmp_path / "images", make()).with_cues(cues)
    assert len(dataset.samples[0].cues) == 2


def test_masks_as_cues(make):
    cue = coco_cues(make(), ["cat"], kind="mask")["x"][0]
    assert isinstance(cue, MaskCue)
    assert (cue.label, cue.instance) == (1, 1)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[20:30, 20:30] = True
    np.testing.assert_array_equal(cue.region(HEIGHT, WIDTH), expected)
    with pytest.raises(ValueError, match="kind must be 'box' or 'mask', got 'point'"):
        coco_cues(make(), kind="point")


@pytest.mark.parametrize(
    "damaged",
    [
        {"size": [10, 12], "counts": [5, 5]},
        {"size": [10, 12], "counts": [130, -20, 10]},
        {"size": [10, 12], "counts": []},
        {"size": [10, 12], "counts": "55"},
        {"size": [10, 12], "counts": ""},
        {"size": [10, 12], "counts": "PP"},
        {"size": [10, 12], "counts": "o" * 50},
        {"size": [10, 12], "counts": "\x01é"},
        [[0, 0, 1e9, 0, 1e9, 1e9]],
        [[0, 0, math.inf, 0, 5, 5]],
        [[0, 0, math.nan, 0, 5, 5]],
        [[0, 0, 1e7, 0] * 3],
    ],
)
def test_what_pycocotools_would_crash_on_or_leave_uninitialised(damaged):
    with pytest.raises(IgcamError, match="x: a COCO segmentation cannot be drawn") as caught:
        CocoMask("x", 10, 12, (CocoShape(1, damaged),)).read()
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(bool, shape)))
def test_compressed_codes_have_their_lengths(region):
    code = coco.encode(np.asfortranarray(region, np.uint8))
    np.testing.assert_array_equal(_lengths(code["counts"]), run_lengths(region)["counts"])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"images": [{"id": 1}]}, "'file_name' is missing"),
        ({"images": 3}, "is not a COCO instances file"),
        ({"images": [CONTENT["images"][0] | {"height": 0}]}, "image 5 has no file name, height or width"),
        ({"annotations": [{}]}, "'id' is missing"),
        ({"annotations": [annotation(8, 5, 99, (0, 0, 1, 1))]}, "annotation 8 has the unknown category 99"),
        ({"annotations": [annotation(8, 77, 1, (0, 0, 1, 1))]}, "annotation 8 has the unknown image 77"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 17, "name": "a"}]}, "category"),
        ({"images": CONTENT["images"] * 2}, "image name 'x' twice"),
    ],
)
def test_files_that_are_no_instances(make, tmp_path, changes, rule):
    with pytest.raises(IgcamError, match=rule) as caught:
        read_coco(tmp_path / "images", make(**changes))
    assert "\n" not in str(caught.value)
    assert "instances.json" in str(caught.value)


def test_missing_images_and_classes(make, tmp_path):
    with pytest.raises(IgcamError, match="has none of the 3 images"):
        read_coco(tmp_path, make())
    (tmp_path / "images" / "x.jpg").unlink()
    (tmp_path / "images" / "z.jpg").unlink()
    with pytest.raises(IgcamError, match=r"2 images of .* are missing\n  x\.jpg\n  z\.jpg"):
        read_coco(tmp_path / "images", make())
    with pytest.raises(IgcamError, match="no 'cta'; did you mean 'cat'"):
        read_coco(tmp_path / "images", make(), classes=["cta"])


@pytest.mark.parametrize("bbox", [None, [1, 2, 3], "box", [1, 2, 3, "4x"]])
def test_boxes_that_are_none(make, bbox):
    broken = annotation(8, 5, 1, (0, 0, 1, 1)) | {"bbox": bbox}
    with pytest.raises(IgcamError, match="annotation 8 has no bbox of four numbers"):
        coco_cues(make(annotations=[broken]))


@pytest.fixture(scope="module")
def tiny_coco():
    root = SHARED / "tiny-coco"
    if not root.is_dir():
        pytest.skip("no shared data beside the checkout")
    return read_coco(root / "val2017", root / "annotations" / "instances_val2017.json")


class TestTinyCoco(ReaderSuite):
    @pytest.fixture
    def dataset(self, tiny_coco):
        return tiny_coco.subset(tiny_coco.names[:10])

    def test_all_eighty_classes(self, tiny_coco):
        assert len(tiny_coco) == 50
        assert len(tiny_coco.classes) == 80
        assert (tiny_coco.classes[0], tiny_coco.classes[79]) == ("person", "toothbrush")
