from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import mask, photo, photos

from igcam.core.errors import IgcamError
from igcam.data.formats.folder import read_photos, read_truth
from igcam.data.formats.voc import VOC_CLASSES


def test_a_folder_of_masks_is_truth(tmp_path: Path) -> None:
    mask(tmp_path / "a.png", 1, 255)
    mask(tmp_path / "farm" / "b.png", 3)
    (tmp_path / "notes.txt").write_text("")
    photo(tmp_path / "photo.jpg")
    data = read_truth(tmp_path)
    assert data.classes == ("class 1", "class 2", "class 3")
    assert data.names == ("a", "farm/b")
    assert all(sample.tags is None for sample in data)
    assert set(np.unique(data.samples[0].truth.read())) == {0, 1, 255}
    assert set(np.unique(data.samples[1].truth.read())) == {0, 3}


def test_classes_may_be_named(tmp_path: Path) -> None:
    mask(tmp_path / "a.png", 1)
    data = read_truth(tmp_path, classes=["cat", "dog"])
    assert data.classes == ("cat", "dog")
    mask(tmp_path / "a.png", 3)
    with pytest.raises(IgcamError, match=r"a\.png: has ids 3; allowed are 0-2, 255"):
        read_truth(tmp_path, classes=["cat", "dog"]).samples[0].truth.read()
    with pytest.raises(IgcamError, match="classes: 'cat' is named twice"):
        read_truth(tmp_path, classes=["cat", "cat"])


def test_masks_of_background_only_are_truth_too(tmp_path: Path) -> None:
    mask(tmp_path / "a.png")
    assert read_truth(tmp_path).classes == ("class 1",)


def test_a_voc_root_is_known_by_its_lists(tmp_path: Path) -> None:
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("one\n")
    (lists / "train.txt").write_text("two\n")
    for name, ids in (("one", (8, 255)), ("two", (12,))):
        photo(tmp_path / "JPEGImages" / f"{name}.jpg")
        mask(tmp_path / "SegmentationClass" / f"{name}.png", *ids)
    data = read_truth(tmp_path)
    assert data.classes == VOC_CLASSES
    assert data.names == ("one",)
    chosen = read_truth(tmp_path, "train", ["dog"])
    assert chosen.names == ("two",)
    assert set(np.unique(chosen.samples[0].truth.read())) == {0, 1}


def test_what_is_no_truth_is_told_in_a_line(tmp_path: Path) -> None:
    photos(tmp_path / "photos", "a.jpg")
    for folder in (tmp_path / "photos", tmp_path / "nowhere", tmp_path / "photos" / "a.jpg"):
        with pytest.raises(IgcamError, match=r"has no masks NAME\.png and is no VOC root") as caught:
            read_truth(folder)
        assert "\n" not in str(caught.value)
    photo(tmp_path / "bad" / "a.png")
    with pytest.raises(IgcamError, match=r"a\.png: has mode RGB; a mask must be"):
        read_truth(tmp_path / "bad")


def test_photos_without_a_table_have_no_tags_whatever_their_folders(tmp_path: Path) -> None:
    photos(tmp_path / "photos", "cat/a.jpg", "b.jpg", "zebra/c.jpg")
    data = read_photos(tmp_path / "photos", None, ("cat", "dog"))
    assert data.classes == ("cat", "dog")
    assert data.names == ("b", "cat/a", "zebra/c")
    assert all(sample.tags is None for sample in data)


def test_photos_with_a_table_have_its_tags(tmp_path: Path) -> None:
    photos(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    table = tmp_path / "tags.csv"
    table.write_text("image,tags\na.jpg,dog\nb.jpg,\n")
    data = read_photos(tmp_path / "photos", table, ("cat", "dog"))
    assert [sample.tags for sample in data] == [(1,), (), None]
    table.write_text("image,tags\na.jpg,dgo\nb.jpg,cow\n")
    with pytest.raises(IgcamError, match="2 errors") as caught:
        read_photos(tmp_path / "photos", table, ("cat", "dog"))
    assert "did you mean 'dog'?" in str(caught.value)


def test_photos_that_are_not_there_or_share_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IgcamError, match="nowhere: does not exist"):
        read_photos(tmp_path / "nowhere", None, ("cat",))
    photos(tmp_path / "photos", "a.jpg", "a.png")
    with pytest.raises(IgcamError, match=r"a\.png: has the same name as a\.jpg"):
        read_photos(tmp_path / "photos", None, ("cat",))
