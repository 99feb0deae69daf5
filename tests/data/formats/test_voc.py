from __future__ import annotations

import numpy as np
import pytest
from data_files import SHARED, mask, photos
from reader_suite import ReaderSuite

from igcam.core.errors import IgcamError
from igcam.data.formats.voc import VOC_CLASSES, read_voc
from igcam.data.masks import tags_in_mask

ANIMALS = ("cat", "cow", "dog", "horse", "person", "sheep")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("voc")
    photos(root / "JPEGImages", "x.jpg", "y.jpg", "z.jpg")
    mask(root / "SegmentationClass" / "x.png", 8, 15, 255)
    mask(root / "SegmentationClass" / "y.png", 12, 20)
    mask(root / "SegmentationClass" / "z.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("y\n x \r\n\nz\n")
    (lists / "val.txt").write_text("z\n")
    return root


class TestVoc(ReaderSuite):
    @pytest.fixture
    def dataset(self, root):
        return read_voc(root)

    def test_content(self, dataset):
        assert dataset.classes == VOC_CLASSES
        assert len(VOC_CLASSES) == 20
        assert dataset.names == ("y", "x", "z")
        assert [sample.tags for sample in dataset] == [(11, 19), (7, 14), ()]
        assert sorted(set(dataset.samples[1].truth.read().flat)) == [0, 8, 15, 255]


class TestVocSubset(ReaderSuite):
    @pytest.fixture
    def dataset(self, root):
        return read_voc(root, classes=("person", "dog"))

    def test_other_classes_become_background(self, dataset):
        assert [sample.tags for sample in dataset] == [(1,), (0,), ()]
        assert sorted(set(dataset.samples[0].truth.read().flat)) == [0, 2]
        assert sorted(set(dataset.samples[1].truth.read().flat)) == [0, 1, 255]


def test_list_files_and_mask_folders(root, tmp_path):
    assert read_voc(root, "val").names == ("z",)
    (tmp_path / "mine.txt").write_text("x")
    assert read_voc(root, str(tmp_path / "mine.txt")).names == ("x",)
    mask(root / "SegmentationClassAug" / "z.png", 3)
    assert read_voc(root, "val", masks="SegmentationClassAug").samples[0].tags == (2,)


def test_user_errors(root, tmp_path):
    with pytest.raises(IgcamError, match=r"no list 'test' in .*there is train, val"):
        read_voc(root, "test")
    with pytest.raises(IgcamError, match="VOC has no 'hrose'; did you mean 'horse'"):
        read_voc(root, classes=["hrose"])
    lists = {"empty": "\n", "twice": "x\ny\nx\n", "gaps": "x\nq\nr\n"}
    for name, content in lists.items():
        (tmp_path / f"{name}.txt").write_text(content)
    with pytest.raises(IgcamError, match=r"empty\.txt: is empty"):
        read_voc(root, str(tmp_path / "empty.txt"))
    (tmp_path / "latin.txt").write_bytes(b"k\xe4fer")
    with pytest.raises(IgcamError, match=r"latin\.txt: cannot be read"):
        read_voc(root, str(tmp_path / "latin.txt"))
    with pytest.raises(IgcamError, match=r"twice\.txt:3: 'x' is in line 1 already"):
        read_voc(root, str(tmp_path / "twice.txt"))
    with pytest.raises(IgcamError) as caught:
        read_voc(root, str(tmp_path / "gaps.txt"))
    lines = str(caught.value).splitlines()
    assert "4 files" in lines[0]
    assert [line.rsplit("/", 1)[1] for line in lines[1:]] == ["q.jpg", "q.png", "r.jpg", "r.png"]


def test_damaged_masks_are_listed(root, tmp_path):
    for name, value in {"x": 21, "y": 20, "z": 254}.items():
        mask(root / "Strange" / f"{name}.png", value)
    with pytest.raises(IgcamError) as caught:
        read_voc(root, masks="Strange")
    lines = str(caught.value).splitlines()
    assert "2 masks" in lines[0]
    assert [line.split("has ids ")[1].split(";")[0] for line in lines[1:]] == ["21", "254"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the checkout")
@pytest.mark.parametrize(("split", "count"), [("train", 437), ("val", 222), ("train_aug", 1337)])
def test_real_animals(split, count):
    dataset = read_voc(SHARED / "voc-animals", split, ANIMALS)
    assert len(dataset) == count
    assert dataset.classes == ANIMALS
    assert (dataset.tag_matrix().sum(0) > 0).all()
    for sample in dataset.samples[:: count // 10]:
        pixels = sample.truth.read()
        assert np.isin(pixels, [*range(7), 255]).all()
        assert tags_in_mask(pixels) == sample.tags
