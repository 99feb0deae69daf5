from __future__ import annotations

from pathlib import Path

import pytest
from data_files import mask, photo, photos
from reader_suite import ReaderSuite

from igcam.core.errors import IgcamError
from igcam.data.formats.folder import examine_folder, read_folder

NAMES = ("a.jpg", "b.PNG", "sub/c.webp.jpg", "sub/d.bmp.jpeg")


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def found(findings, level="error"):
    return [(Path(finding.file).name, finding.line, finding.rule) for finding in findings if finding.level == level]


@pytest.fixture(scope="module")
def list_dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("list")
    photos(folder / "photos", *NAMES)
    mask(folder / "masks" / "a.png", 1, 2, 255)
    mask(folder / "masks" / "sub" / "d.bmp.png", 2)
    table = write(folder / "tags.csv", "image,tags", "b,", "sub/c.webp.jpg,dog", r"sub\d.bmp,dog", "./a.jpg,dog;cat")
    return read_folder(folder / "photos", table, folder / "masks")


class TestListTable(ReaderSuite):
    @pytest.fixture
    def dataset(self, list_dataset):
        return list_dataset

    def test_content(self, dataset):
        assert dataset.classes == ("cat", "dog")
        assert dataset.names == ("a", "b", "sub/c.webp", "sub/d.bmp")
        assert [sample.tags for sample in dataset] == [(0, 1), (), (1,), (1,)]
        assert [sample.truth is not None for sample in dataset] == [True, False, False, True]


@pytest.fixture(scope="module")
def one_hot_dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onehot")
    photos(folder / "photos", *NAMES)
    lines = ["image,dog,cat,ant", "a,1,1,0", "b.PNG,0,0,0", "sub/c.webp,1,0,0", "sub/d.bmp.jpeg,0,1,0"]
    return read_folder(folder / "photos", write(folder / "tags.csv", *lines))


class TestOneHotTable(ReaderSuite):
    @pytest.fixture
    def dataset(self, one_hot_dataset):
        return one_hot_dataset

    def test_content(self, dataset):
        assert dataset.classes == ("ant", "cat", "dog")
        assert [sample.tags for sample in dataset] == [(1, 2), (), (2,), (1,)]


@pytest.fixture(scope="module")
def folders_dataset(tmp_path_factory):
    folder = photos(tmp_path_factory.mktemp("folders"), "dog/1.jpg", "cat/1.jpg", "cat/x/2.jpg")
    photos(folder, "background/1.jpg", "loose.jpg")
    return read_folder(folder)


class TestFolders(ReaderSuite):
    @pytest.fixture
    def dataset(self, folders_dataset):
        return folders_dataset

    def test_content(self, dataset):
        assert dataset.classes == ("cat", "dog")
        assert {sample.name: sample.tags for sample in dataset} == {
            "background/1": (),
            "cat/1": (0,),
            "cat/x/2": (0,),
            "dog/1": (1,),
            "loose": None,
        }


@pytest.fixture(scope="module")
def untagged_dataset(tmp_path_factory):
    return read_folder(photos(tmp_path_factory.mktemp("untagged"), "b.jpg", "a.jpg"))


class TestUntagged(ReaderSuite):
    @pytest.fixture
    def dataset(self, untagged_dataset):
        return untagged_dataset

    def test_content(self, dataset):
        assert dataset.classes == ()
        assert [sample.tags for sample in dataset] == [None, None]


def test_given_classes_keep_their_order(tmp_path):
    photos(tmp_path / "photos", "a.jpg", "b.jpg")
    table = write(tmp_path / "tags.csv", "image,tags", "a,dog", "b,cat")
    dataset = read_folder(tmp_path / "photos", table, classes=["dog", " cat", "bu\u0308ffel"])
    assert dataset.classes == ("dog", "cat", "b\u00fcffel")
    assert [sample.tags for sample in dataset] == [(0,), (1,)]
    findings = examine_folder(tmp_path / "photos", table, classes=dataset.classes)[1]
    assert found(findings, "warning") == [("tags.csv", None, "class-without-image")]


def test_all_errors_are_raised_at_once(tmp_path):
    photos(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg", "sub/e.jpg")
    table = write(
        tmp_path / "tags.csv",
        "image,tags",
        "a,dgo",
        "b,cat",
        "b,dog",
        "B.jpg,cat",
        "e.jpg,cat",
        "zz.jpg,cat",
        "c,cat,dog",
        "sub/e,cat",
        "sub/e.jpg,cat",
    )
    findings = examine_folder(tmp_path / "photos", table, classes=["cat", "dog"])[1]
    assert sorted(found(findings)) == [
        ("tags.csv", 2, "unknown-class"),
        ("tags.csv", 4, "contradicting-row"),
        ("tags.csv", 5, "tags-without-image"),
        ("tags.csv", 6, "tags-without-image"),
        ("tags.csv", 7, "tags-without-image"),
        ("tags.csv", 8, "bad-row"),
    ]
    assert ("tags.csv", 10, "duplicate-row") in found(findings, "warning")
    with pytest.raises(IgcamError) as caught:
        read_folder(tmp_path / "photos", table, classes=["cat", "dog"])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{table}: 6 errors"
    assert lines[1] == f"  {table}:2: 'dgo' is not one of the classes; did you mean 'dog'?"
    assert lines[2] == f"  {table}:4: 'b' has the tags dog, but cat in line 3"
    assert lines[3].endswith("did you mean 'b.jpg'?")
    assert lines[4].endswith("did you mean 'sub/e.jpg'?")
    assert lines[5].endswith(f"no photo 'zz.jpg' in {tmp_path / 'photos'}")


def test_tags_in_doubt_are_unknown(tmp_path):
    photos(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    table = write(tmp_path / "tags.csv", "image,tags", "a,cat", "b,cat", "b,dog", "c,cat;dgo")
    dataset, _ = examine_folder(tmp_path / "photos", table, classes=["cat", "dog"])
    assert [sample.tags for sample in dataset] == [(0,), None, None]


def test_a_single_error_is_one_line(tmp_path):
    photos(tmp_path / "photos", "a.jpg")
    table = write(tmp_path / "tags.csv", "image,tags", "a,cat", "b,cat")
    with pytest.raises(IgcamError, match=r"tags\.csv:3: no photo 'b'") as caught:
        read_folder(tmp_path / "photos", table)
    assert "\n" not in str(caught.value)


def test_misspelt_classes(tmp_path):
    photos(tmp_path / "photos", *(f"{number}.jpg" for number in range(5)))
    table = write(tmp_path / "tags.csv", "image,tags", "0,horse", "1,horse;cat", "2,horse", "3,cat", "4,hosre")
    with pytest.raises(IgcamError, match=r"csv:6: 'hosre' looks like a misspelt 'horse' .*--classes"):
        read_folder(tmp_path / "photos", table)
    assert examine_folder(tmp_path / "photos", table)[0].classes == ("cat", "horse")
    assert len(read_folder(tmp_path / "photos", table, classes=["horse", "cat", "hosre"]).classes) == 3


def test_folders_are_checked_for_misspelling_too(tmp_path):
    photos(tmp_path, "cat/1.jpg", "cat/2.jpg", "Cat/3.jpg")
    with pytest.raises(IgcamError, match="'Cat' looks like a misspelt 'cat'"):
        read_folder(tmp_path)


def test_columns_are_meant(tmp_path):
    photos(tmp_path / "photos", *(f"{number}.jpg" for number in range(4)))
    table = write(tmp_path / "tags.csv", "image,car,cart", "0,1,0", "1,1,0", "2,1,0", "3,0,1")
    assert read_folder(tmp_path / "photos", table).classes == ("car", "cart")


def test_comma_in_a_tag(tmp_path):
    photos(tmp_path / "photos", "a.jpg")
    table = write(tmp_path / "tags.csv", "image,tags", 'a,"cat,dog"')
    with pytest.raises(IgcamError, match=r"csv:2: 'cat,dog' has a comma"):
        read_folder(tmp_path / "photos", table)
    assert read_folder(tmp_path / "photos", table, classes=["cat,dog"]).classes == ("cat,dog",)


def test_a_wrong_folder_is_one_error(tmp_path):
    photos(tmp_path / "photos", "a.jpg")
    table = write(tmp_path / "tags.csv", "image,tags", *(f"x{number},cat" for number in range(50)))
    with pytest.raises(IgcamError, match=r"none of its 50 images is in .*; the first is 'x0'") as caught:
        read_folder(tmp_path / "photos", table)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "classes", "rule"),
    [
        (["image,tags"], None, "has a header but no rows"),
        (["image,tags", "a,"], None, "no image has a tag"),
        (["image,tags", "a,"], ["cat"], "no image has a tag"),
        (["image,tags", "a,cat"], ["cat", "cat"], "--classes: 'cat' is named twice"),
        (["image,tags", "a," + ";".join(map(str, range(255)))], None, "255 classes; at most 254"),
        (["image," + ",".join(map(str, range(255))), "a" + ",1" * 255], None, "at most 254"),
    ],
)
def test_classes_that_cannot_be(tmp_path, lines, classes, rule):
    photos(tmp_path / "photos", "a.jpg")
    with pytest.raises(IgcamError, match=rule):
        read_folder(tmp_path / "photos", write(tmp_path / "tags.csv", *lines), classes=classes)


def test_photos_that_cannot_be(tmp_path):
    with pytest.raises(IgcamError, match="absent: does not exist"):
        read_folder(tmp_path / "absent")
    write(tmp_path / "file", "")
    with pytest.raises(IgcamError, match="file: is not a folder"):
        read_folder(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.heic").touch()
    with pytest.raises(IgcamError, match=r"empty: has no photos \(jpg"):
        read_folder(tmp_path / "empty")
    assert found(examine_folder(tmp_path / "empty", None)[1], "warning") == [("a.heic", None, "format")]


def test_two_photos_of_one_name(tmp_path):
    photos(tmp_path, "a.jpg", "a.png", "sub/a.jpg")
    with pytest.raises(IgcamError, match=r"a\.png: has the same name as a\.jpg"):
        read_folder(tmp_path)
    photos(tmp_path / "other", "x.jpg", "x.jpg.png")
    with pytest.raises(IgcamError, match="rename one"):
        read_folder(tmp_path / "other")


def test_images_without_tags_are_kept_and_told(tmp_path):
    photos(tmp_path / "photos", "a.jpg", "b.jpg")
    table = write(tmp_path / "tags.csv", "image,tags", "a,cat")
    dataset, findings = examine_folder(tmp_path / "photos", table)
    assert [sample.tags for sample in dataset] == [(0,), None]
    assert found(findings, "warning") == [("b.jpg", None, "image-without-tags")]
    assert dataset.tagged().names == ("a",)


def test_masks(tmp_path):
    photos(tmp_path / "photos", "a.jpg")
    table = write(tmp_path / "tags.csv", "image,tags", "a,cat")
    with pytest.raises(IgcamError, match="masks: is not a folder"):
        read_folder(tmp_path / "photos", table, tmp_path / "masks")
    mask(tmp_path / "masks" / "other.png", 1)
    with pytest.raises(IgcamError, match=r"masks: has no mask of any photo; the first would be a\.png"):
        read_folder(tmp_path / "photos", table, tmp_path / "masks")
    mask(tmp_path / "masks" / "a.png", 2)
    dataset, findings = examine_folder(tmp_path / "photos", table, tmp_path / "masks")
    assert found(findings) == []
    assert found(findings, "warning") == [("other.png", None, "mask-without-image")]
    with pytest.raises(IgcamError, match="has ids 2; allowed are 0-1, 255"):
        dataset.samples[0].truth.read()


def test_masks_below_the_photos_are_no_photos(tmp_path, monkeypatch):
    photos(tmp_path, "a.jpg")
    mask(tmp_path / "masks" / "a.png", 1)
    write(tmp_path / "tags.csv", "image,tags", "a,cat")
    monkeypatch.chdir(tmp_path)
    for folder in (Path("."), tmp_path):
        dataset, findings = examine_folder(folder, "tags.csv", "masks")
        assert dataset.names == ("a",)
        assert findings == []
        assert dataset.samples[0].truth is not None


def test_hidden_files_and_capital_suffixes(tmp_path):
    photos(tmp_path, "a.JPG", ".b.jpg", ".cache/c.jpg")
    photo(tmp_path / "d.Png")
    assert read_folder(tmp_path).names == ("a", "d")
