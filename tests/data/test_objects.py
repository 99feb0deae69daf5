from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from data_files import mask
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from igcam.core.errors import IgcamError
from igcam.data.formats.coco import CocoMask, CocoShape
from igcam.data.masks import MaskFile, tags_in_mask, write_mask
from igcam.data.objects import InstanceMask, ObjectMask, ObjectSource, find_objects, with_instances
from igcam.data.sample import Dataset, Sample

MASK = np.array(
    [
        [2, 0, 0, 0, 1, 1],
        [0, 2, 0, 0, 1, 1],
        [255, 255, 255, 0, 255, 255],
        [1, 1, 0, 0, 2, 2],
        [1, 1, 0, 2, 2, 2],
    ],
    np.uint8,
)


@dataclass(frozen=True)
class Given:
    """A mask that is there already."""

    mask: np.ndarray = field(compare=False)

    def read(self):
        return self.mask


def found(truth, min_share=0.0):
    return [(item.label, item.instance, int(item.region.sum())) for item in find_objects(truth, min_share)]


def test_parts_by_hand():
    assert found(Given(MASK)) == [(1, 1, 4), (1, 2, 4), (2, 3, 2), (2, 4, 5)]
    first, second, *_ = find_objects(Given(MASK), 0.0)
    assert first.region[:2, 4:].all()
    assert second.region[3:, :2].all()


def test_specks_are_left_out_but_not_the_largest_of_a_class():
    # The image has 30 pixels.
    assert found(Given(MASK), 4 / 30) == [(1, 1, 4), (1, 2, 4), (2, 3, 5)]
    assert found(Given(MASK), 4.5 / 30) == [(1, 1, 4), (1, 2, 4), (2, 3, 5)]
    assert found(Given(MASK), 1.0) == [(1, 1, 4), (1, 2, 4), (2, 3, 5)]


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_without_classes_has_no_objects(value):
    assert found(Given(np.full((3, 4), value, np.uint8))) == []


def test_an_object_may_fill_the_image_or_one_pixel():
    assert found(Given(np.full((3, 4), 254, np.uint8))) == [(254, 1, 12)]
    single = np.zeros((3, 4), np.uint8)
    single[2, 3] = 1
    assert found(Given(single), 1.0) == [(1, 1, 1)]


@given(pixels=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)).map(lambda ids: ids % 4))
def test_parts_are_those_of_another_library(pixels):
    pixels[pixels == 3] = 255
    expected = set()
    for label in (1, 2):
        parts, count = ndimage.label(pixels == label, np.ones((3, 3)))
        expected |= {(label, (parts == number).tobytes()) for number in range(1, count + 1)}
    objects = find_objects(Given(pixels), 0.0)
    assert {(item.label, item.region.tobytes()) for item in objects} == expected
    assert [item.instance for item in objects] == list(range(1, len(expected) + 1))
    firsts = [(item.label, int(item.region.argmax())) for item in objects]
    assert firsts == sorted(firsts)


@given(
    pixels=hnp.arrays(np.uint8, (8, 8)).map(lambda ids: ids % 3),
    min_share=st.floats(0, 1),
)
def test_every_class_has_an_object(pixels, min_share):
    objects = find_objects(Given(pixels), min_share)
    assert sorted({item.label - 1 for item in objects}) == list(tags_in_mask(pixels))
    by_share = find_objects(Given(pixels), 0.0)
    kept = {item.region.tobytes() for item in objects}
    assert kept <= {item.region.tobytes() for item in by_share}
    assert all(item.region.tobytes() in kept for item in by_share if item.region.sum() >= 64 * min_share)


def test_the_mask_of_one_object():
    source = ObjectMask(Given(MASK), 2, 4 / 30)
    expected = np.zeros_like(MASK)
    expected[3:, :2] = 1
    np.testing.assert_array_equal(source.read(), expected)
    assert source.read().dtype == np.uint8


def test_instances_by_hand(tmp_path):
    classes = np.array([[1, 255, 1, 1], [0, 255, 2, 2], [0, 0, 0, 0]], np.uint8)
    instances = np.array([[7, 7, 3, 255], [7, 7, 3, 9], [7, 7, 5, 0]], np.uint8)
    write_mask(tmp_path / "a.png", instances)
    truth = InstanceMask(Given(classes), MaskFile(tmp_path / "a.png"))
    assert isinstance(truth, ObjectSource)
    np.testing.assert_array_equal(truth.read(), classes)
    # Instance 3 has a pixel of each class: the lower id is taken. 5 has none, 7 only one.
    assert found(truth, 1.0) == [(1, 3, 1), (1, 7, 1), (2, 9, 1)]
    assert np.argwhere(find_objects(truth)[1].region).tolist() == [[0, 0]]


def test_instances_have_the_size_of_the_classes(tmp_path):
    mask(tmp_path / "a.png", 1, height=6, width=20)
    with pytest.raises(IgcamError, match=r"a\.png: must have the size of the true mask, 6 x 5 but 20 x 6"):
        find_objects(InstanceMask(Given(MASK), MaskFile(tmp_path / "a.png")))


def test_a_folder_of_instances_is_given_to_a_data_set(tmp_path):
    write_mask(tmp_path / "sub" / "a.png", (MASK == 1).astype(np.uint8))
    truth = Given(MASK)
    dataset = Dataset(("x", "y"), (Sample("sub/a", tmp_path / "a.jpg", None, (), truth),))
    (sample,) = with_instances(dataset, tmp_path)
    assert sample.truth == InstanceMask(truth, MaskFile(tmp_path / "sub" / "a.png"))
    assert found(sample.truth) == [(1, 1, 8)]
    lacking = Dataset(("x",), (Sample("b", tmp_path / "b.jpg"), Sample("c", tmp_path / "c.jpg", None, (), truth)))
    with pytest.raises(IgcamError, match=r"2 images lack masks\n  b: has no true mask\n  .*c\.png: does not exist"):
        with_instances(lacking, tmp_path)


def rectangle(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_annotations_of_coco_are_objects_where_they_show():
    pytest.importorskip("pycocotools")
    shapes = (
        CocoShape(1, rectangle(0, 0, 10, 10), 70),
        CocoShape(1, rectangle(2, 2, 6, 6), 50),
        CocoShape(255, rectangle(0, 0, 20, 12), 60),
        CocoShape(2, rectangle(2, 2, 6, 4), 80),
        CocoShape(2, rectangle(2, 4, 6, 6), 90),
        CocoShape(2, [], 95),
    )
    truth = CocoMask("x", 12, 20, shapes)
    assert isinstance(truth, ObjectSource)
    objects = {item.instance: item for item in find_objects(truth, 1.0)}
    # Annotation 50 is hidden by 80 and 90, 60 is a crowd, 95 is empty.
    assert {number: (item.label, int(item.region.sum())) for number, item in objects.items()} == {
        70: (1, 84),
        80: (2, 8),
        90: (2, 8),
    }
    for item in objects.values():
        assert (truth.read()[item.region] == item.label).all()
    assert ObjectMask(truth, 80, 0.0).read()[2:4, 2:6].all()
