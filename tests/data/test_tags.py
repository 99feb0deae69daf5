from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from igcam.data.tags import clean_name, probable_misspellings, read_tag_table, write_tag_table


@pytest.fixture
def table(tmp_path):
    def read(content: str | bytes):
        path = tmp_path / "tags.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_tag_table(path)

    return read


def rows(table):
    assert table.findings == ()
    return [(row.image, row.tags) for row in table.rows]


EXPECTED = [("a.jpg", ("cat", "dog")), ("b", ()), ("c.jpg", ("dog",))]


@pytest.mark.parametrize(
    "content",
    [
        "image,tags\na.jpg,cat;dog\nb,\nc.jpg,dog\n",
        "image,tags\r\na.jpg,cat;dog\r\nb,\r\nc.jpg,dog",
        '\ufeffImage,Tags\n\na.jpg,  cat ; dog ;\n\n  \nb," "\n,\nc.jpg,dog;dog\n',
        '"image","tags"\n"a.jpg","cat;dog"\n"b",""\n"c.jpg","dog"\n',
        'image;tags\na.jpg;"cat;dog"\nb;\nc.jpg;dog\n',
        "image;tags\na.jpg;cat;dog\nb\nc.jpg;dog;\n",
        "image\ttags\na.jpg\tcat;dog\nb\t\nc.jpg\tdog\n",
        'image,note,tags\na.jpg,first,cat;dog\nb,,\nc.jpg,"two\nlines",dog\n',
        "image,dog,cat\na.jpg,1,1\nb,0,0\nc.jpg,1,0\n",
        "image; dog ;cat\na.jpg; 1.0;True\nb;0;false\nc.jpg;1;0.0\n",
        "image,tags\na.jpg,cat;dog\nb,\nc.jpg,dog\n".encode("utf-16"),
    ],
)
def test_the_same_tags_in_all_spellings(table, content):
    assert [(image, tuple(sorted(tags))) for image, tags in rows(table(content))] == EXPECTED


def test_columns_are_kept_in_their_order(table):
    assert table("image,dog, cat \na,1,0\n").columns == ("dog", "cat")
    assert table("image,tags\na,dog\n").columns is None


def test_names_are_composed_characters(table):
    assert rows(table("image,tags\nu\u0308.jpg,bu\u0308ffel\n")) == [("\u00fc.jpg", ("b\u00fcffel",))]


def test_lines_are_counted_in_the_file(table):
    found = table('image,note,tags\n\na,"x\ny",cat\n\nb,,cat\n')
    assert [row.line for row in found.rows] == [3, 6]


@pytest.mark.parametrize(
    ("content", "rule", "line"),
    [
        ("", "is empty", None),
        ("\n \n", "is empty", None),
        ("a.jpg,cat\n", "header must be 'image,tags'", 1),
        ("\nname,tags\n", "got 'name,tags'", 2),
        ("image\na.jpg\n", "header must be", 1),
        ("image,cat,cat\n", "each once.*'cat'", 1),
        ("image,cat,\n", "got ''", 1),
        ("image,cat,Background\n", "without background", 1),
        ('image,tags\na,cat\nb,"cat\nc,dog\n', "not CSV", 3),
        (b"image,tags\na,cat\nb,k\xe4fer\n", "not UTF-8", 3),
    ],
)
def test_tables_of_no_use(table, content, rule, line):
    found = table(content)
    assert found.rows == ()
    (finding,) = found.findings
    assert (finding.level, finding.rule, finding.line) == ("error", "bad-table", line)
    assert re.search(rule, finding.message)


def test_a_missing_table(tmp_path):
    (finding,) = read_tag_table(tmp_path / "absent.csv").findings
    assert finding.file == str(tmp_path / "absent.csv")
    assert "cannot be read" in finding.message


def test_all_bad_rows_of_a_list(table):
    found = table("image,tags\na,cat,dog\nb,cat\n,dog\nc\nd,background\ne,dog\n")
    assert [(row.image, row.line) for row in found.rows] == [("b", 3), ("e", 7)]
    assert [(finding.line, finding.rule) for finding in found.findings] == [
        (2, "bad-row"),
        (4, "bad-row"),
        (5, "bad-row"),
        (6, "reserved-class"),
    ]
    assert "put semicolons between tags" in found.findings[0].message
    assert "names no image" in found.findings[1].message


def test_all_bad_rows_of_a_one_hot_table(table):
    found = table("image,cat,dog\na,1,2\nb,1,0\nc,,1\nd,1\ne,0,yes\n")
    assert [row.image for row in found.rows] == ["b"]
    assert [(finding.line, finding.message) for finding in found.findings] == [
        (2, "column 'dog' must be 0 or 1, got '2'"),
        (4, "column 'cat' must be 0 or 1, got ''"),
        (5, "has 2 cells, the header has 3"),
        (6, "column 'dog' must be 0 or 1, got 'yes'"),
    ]


names = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=";"), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.dictionaries(names.map(clean_name), st.lists(names.map(clean_name), unique=True, max_size=3), min_size=1))
def test_written_tables_are_read_back(tmp_path, tags):
    write_tag_table(tmp_path / "tags.csv", tags)
    found = read_tag_table(tmp_path / "tags.csv")
    good = {image: tuple(names) for image, names in tags.items() if "background" not in map(str.casefold, names)}
    assert {row.image: row.tags for row in found.rows} == good


def test_probable_misspellings():
    assert probable_misspellings({"horse": 5, "hrose": 1, "dog": 4}) == {"hrose": "horse"}
    assert probable_misspellings({"horse": 3, "hrose": 1}) == {"hrose": "horse"}
    assert probable_misspellings({"cat": 9, "Cat": 8}) == {"Cat": "cat"}
    assert probable_misspellings({"traffic light": 4, "traffic_light": 2, "Traffic-Light": 1}) == {
        "traffic_light": "traffic light",
        "Traffic-Light": "traffic light",
    }
    # Rare beside rare, twice, unlike, and numbered names are all taken as meant.
    assert probable_misspellings({"horse": 2, "hrose": 1}) == {}
    assert probable_misspellings({"horse": 50, "hrose": 2}) == {}
    assert probable_misspellings({"bear": 50, "boar": 1}) == {}
    assert probable_misspellings({"class_10": 50, "class_11": 1}) == {}
    assert probable_misspellings({"c": 5, "c++": 1}) == {}
