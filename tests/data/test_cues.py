from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from data_files import mask, photos, rotated_photo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import igcam.data.cues
from igcam.core.errors import IgcamError
from igcam.data.cue import BoxCue, Cue, MaskCue, PointCue, ScribbleCue
from igcam.data.cues import examine_cues, read_cues, write_cues
from igcam.data.masks import MaskFile, class_lookup, lookup_for, read_mask_file
from igcam.data.sample import Dataset, Sample

HEIGHT, WIDTH = 70, 90
CLASSES = ("cat", "dog")


@pytest.fixture
def dataset(tmp_path):
    photos(tmp_path, "a.jpg", "sub/b.png", "c.jpg")
    return Dataset(
        CLASSES,
        (
            Sample("a", tmp_path / "a.jpg", (0, 1)),
            Sample("sub/b", tmp_path / "sub/b.png", (0,)),
            Sample("c", tmp_path / "c.jpg", None),
        ),
    )


def write(path: Path, *records: dict | str) -> Path:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_every_kind_is_read(tmp_path, dataset):
    mask(tmp_path / "masks" / "whole.png", 1, 2, 255)
    mask(tmp_path / "masks" / "objects.png", 3, 4)
    path = write(
        tmp_path / "cues.jsonl",
        {"image": "a", "class": "cat", "kind": "point", "point": [12, 40.5], "seconds": 2.5},
        {"image": "a.jpg", "class": "background", "kind": "point", "point": [0, 0]},
        "",
        {"image": "a", "class": "dog", "kind": "box", "box": [0, 0, 90, 70], "instance": 7, "confidence": 0.5},
        {
            "image": "sub/b.png",
            "class": "cat",
            "kind": "scribble",
            "points": [[1, 2], [3, 4]],
            "instance": "x",
        },
        {"image": "c", "kind": "mask", "file": "masks/whole.png"},
        {"image": "c", "class": "dog", "kind": "mask", "file": "masks/objects.png", "value": 4},
    )
    assert read_cues(path, dataset) == {
        "a": (
            PointCue(label=1, x=12, y=40.5, seconds=2.5),
            PointCue(label=0, x=0, y=0),
            BoxCue(label=2, left=0, top=0, right=90, bottom=70, instance=7, confidence=0.5),
        ),
        "sub/b": (ScribbleCue(label=1, points=((1, 2), (3, 4)), instance="x"),),
        "c": (
            MaskCue(source=MaskFile(tmp_path / "masks/whole.png", class_lookup(2))),
            MaskCue(label=2, source=MaskFile(tmp_path / "masks/objects.png"), value=4),
        ),
    }


def test_files_of_version_0_1_0_call_the_confidence_trust(tmp_path, dataset):
    path = write(tmp_path / "cues.jsonl", POINT | {"trust": 0.25})
    cues = read_cues(path, dataset)
    assert cues["a"][0].confidence == 0.25
    write_cues(path, cues, CLASSES)
    assert json.loads(path.read_text()) == POINT | {"confidence": 0.25}
    with pytest.raises(IgcamError, match="'trust' was unexpected"):
        read_cues(write(path, POINT | {"trust": 0.25, "confidence": 0.5}), dataset)


POINT = {"image": "a", "class": "cat", "kind": "point", "point": [1, 2]}
BOX = {"image": "a", "class": "cat", "kind": "box", "box": [1, 2, 3, 4]}
SCRIBBLE = {"image": "a", "class": "cat", "kind": "scribble", "points": [[1, 2], [3, 4]]}
MASK = {"image": "a", "class": "cat", "kind": "mask", "file": "good.png"}
WHOLE = {"image": "a", "kind": "mask", "file": "good.png"}


@pytest.mark.parametrize(
    ("record", "rule", "message"),
    [
        ("{", "not-json", "is not JSON"),
        ('{"kind": "point", "point": [NaN, 1]}', "not-json", "NaN is no number"),
        (json.dumps(POINT).replace("[1, 2]", "[1e999, 2]"), "not-json", "1e999 is no finite number"),
        (json.dumps(POINT).replace("[1, 2]", "[1" + "0" * 400 + ", 2]"), "not-json", "no finite number"),
        ("[" * 100000, "not-json", "is not JSON"),
        ("3", "bad-cue", "must be an object"),
        (POINT | {"kind": "polygon"}, "bad-cue", "one of point, box, scribble, mask"),
        ({"image": "a", "class": "cat", "kind": "point"}, "bad-cue", "'point' is a required property"),
        ({"image": "a", "kind": "point", "point": [1, 2]}, "bad-cue", "'class' is a required property"),
        (POINT | {"point": [1]}, "bad-cue", "point: "),
        (POINT | {"point": [1, True]}, "bad-cue", "point/1: "),
        (POINT | {"colour": "red"}, "bad-cue", "'colour' was unexpected"),
        (POINT | {"confidence": 1.5}, "bad-cue", "confidence: 1.5 is greater than the maximum of 1"),
        (POINT | {"seconds": -1}, "bad-cue", "seconds: "),
        (SCRIBBLE | {"points": []}, "bad-cue", "points: "),
        (SCRIBBLE | {"width": 0}, "bad-cue", "width: "),
        (BOX | {"class": "background"}, "bad-cue", "a box cannot show the background"),
        (MASK | {"class": "background"}, "bad-cue", "a mask cannot show the background"),
        (BOX | {"box": [3, 2, 1, 4]}, "bad-cue", "left < right and top < bottom"),
        (WHOLE | {"value": 1}, "bad-cue", "'class' is a dependency of 'value'"),
        (POINT | {"image": "z"}, "unknown-image", "no image 'z'"),
        (POINT | {"class": "dgo"}, "unknown-class", "unknown class 'dgo'; did you mean 'dog'?"),
        (POINT | {"image": "sub/b", "class": "dog"}, "class-without-tag", "tags of 'sub/b' (cat)"),
        (WHOLE | {"image": "sub/b"}, "class-without-tag", "dog is not among"),
        (POINT | {"point": [90, 2]}, "outside", "(90, 2) is outside the image of 90 x 70 pixels"),
        (POINT | {"point": [2, 70.5]}, "outside", "(2, 70.5)"),
        (SCRIBBLE | {"points": [[1, 2], [90, 2]]}, "outside", "(90, 2)"),
        (BOX | {"box": [0, 0, 90.5, 70]}, "outside", "box [0, 0, 90.5, 70]"),
        (MASK | {"file": "absent.png"}, "bad-mask", "absent.png: does not exist"),
        (MASK | {"file": "a.jpg"}, "bad-mask", "is JPEG"),
        (MASK | {"file": "small.png"}, "mask-size", "the mask has 20 x 70 pixels"),
        (MASK | {"file": "empty.png"}, "bad-mask", "the mask has no pixels that are not 0"),
        (MASK | {"value": 9}, "bad-mask", "the mask has no pixels of value 9"),
        (WHOLE | {"file": "three.png"}, "bad-mask", "has ids 3; allowed are 0-2, 255"),
    ],
)
def test_bad_lines(tmp_path, dataset, record, rule, message):
    mask(tmp_path / "good.png", 1, 2)
    mask(tmp_path / "small.png", 1, width=20)
    mask(tmp_path / "empty.png")
    mask(tmp_path / "three.png", 3)
    path = write(tmp_path / "cues.jsonl", POINT, record, WHOLE)
    cues, findings = examine_cues(path, dataset)
    assert [(finding.line, finding.rule) for finding in findings] == [(2, rule)]
    assert message in findings[0].message
    assert "\n" not in findings[0].message
    assert len(findings[0].message) < 300
    assert len(cues["a"]) == 2


def test_all_bad_lines_are_raised_at_once(tmp_path, dataset):
    path = write(tmp_path / "cues.jsonl", "{", POINT, POINT | {"class": "cow"}, POINT | {"image": "z"})
    with pytest.raises(IgcamError) as caught:
        read_cues(path, dataset)
    headline, *lines = str(caught.value).splitlines()
    assert headline == f"{path}: 3 errors"
    assert [line.split(": ")[0] for line in lines] == [f"  {path}:{number}" for number in (1, 3, 4)]


def test_one_mask_of_the_whole_image(tmp_path, dataset):
    mask(tmp_path / "good.png", 1, 2)
    path = write(tmp_path / "cues.jsonl", WHOLE, WHOLE, MASK, MASK)
    with pytest.raises(IgcamError, match=r"jsonl:2: 'a' has a mask of the whole image in line 1"):
        read_cues(path, dataset)


def test_files_that_are_no_cues(tmp_path, dataset):
    with pytest.raises(IgcamError, match=r"absent\.jsonl: cannot be read"):
        read_cues(tmp_path / "absent.jsonl", dataset)
    with pytest.raises(IgcamError, match=r"a\.jpg: cannot be read"):
        read_cues(tmp_path / "a.jpg", dataset)
    assert read_cues(write(tmp_path / "empty.jsonl", "\ufeff"), dataset) == {}


def test_places_are_those_of_the_displayed_image(tmp_path):
    rotated_photo(tmp_path / "r.jpg", 6, HEIGHT, WIDTH)
    dataset = Dataset(CLASSES, (Sample("r", tmp_path / "r.jpg", (0,)),))
    below = POINT | {"image": "r", "point": [69, 89]}
    assert "r" in read_cues(write(tmp_path / "cues.jsonl", below), dataset)
    beside = POINT | {"image": "r", "point": [89, 69]}
    with pytest.raises(IgcamError, match="image of 70 x 90 pixels"):
        read_cues(write(tmp_path / "cues.jsonl", beside), dataset)


def test_a_damaged_image_is_told(tmp_path, dataset):
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(IgcamError, match=r"jsonl:1: the size of its image is unknown: .*a\.jpg"):
        read_cues(write(tmp_path / "cues.jsonl", POINT), dataset)


def places(high: int):
    return st.one_of(st.integers(0, high - 1), st.floats(0, high, exclude_max=True)).map(float)


@st.composite
def boxes(draw):
    left, right = sorted(draw(st.lists(places(WIDTH), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(places(HEIGHT), min_size=2, max_size=2, unique=True)))
    return {"left": left, "top": top, "right": right, "bottom": bottom}


common = st.fixed_dictionaries(
    {"label": st.sampled_from([1, 2])},
    optional={
        "instance": st.one_of(st.integers(-(10**9), 10**9), st.text(max_size=4)),
        "confidence": st.floats(0, 1),
        "seconds": st.floats(0, 1e6),
    },
)
points = st.tuples(places(WIDTH), places(HEIGHT))
drawn_cues = st.one_of(
    st.builds(lambda a, p: PointCue(**a, x=p[0], y=p[1]), common, points),
    st.builds(lambda a, b: BoxCue(**a, **b), common, boxes()),
    st.builds(
        lambda a, p, w: ScribbleCue(**a, points=tuple(p), width=w),
        common,
        st.lists(points, min_size=1, max_size=4),
        st.floats(0.1, 50),
    ),
    st.builds(
        lambda a, v: MaskCue(**a, source=MaskFile(Path("masks/objects.png")), value=v),
        common,
        st.sampled_from([None, 1, 2]),
    ),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["a", "c"]), st.lists(drawn_cues, min_size=1, max_size=4).map(tuple)))
def test_written_cues_are_read_back(tmp_path, dataset, cues):
    mask(tmp_path / "masks" / "objects.png", 1, 2)
    placed = {
        name: tuple(
            MaskCue(**(vars(cue) | {"source": MaskFile(tmp_path / cue.source.path)}))
            if isinstance(cue, MaskCue)
            else cue
            for cue in drawn
        )
        for name, drawn in cues.items()
    }
    write_cues(tmp_path / "cues.jsonl", placed, CLASSES)
    assert read_cues(tmp_path / "cues.jsonl", dataset) == placed


def test_written_lines_are_brief_and_fit_the_schema(tmp_path, dataset):
    mask(tmp_path / "masks" / "whole.png", 1)
    cues: dict[str, list[Cue]] = {
        "a": [
            PointCue(label=0, x=3.0, y=4.5),
            BoxCue(label=1, left=1, top=2, right=3, bottom=4, confidence=0.5, instance=3),
            ScribbleCue(label=2, points=((1, 2),), seconds=4),
            MaskCue(source=MaskFile(tmp_path / "masks/whole.png", class_lookup(2))),
        ]
    }
    write_cues(tmp_path / "cues.jsonl", cues, CLASSES)
    lines = [json.loads(line) for line in (tmp_path / "cues.jsonl").read_text().splitlines()]
    assert lines == [
        {"image": "a", "kind": "point", "class": "background", "point": [3, 4.5]},
        {"image": "a", "kind": "box", "class": "cat", "box": [1, 2, 3, 4], "instance": 3, "confidence": 0.5},
        {"image": "a", "kind": "scribble", "class": "dog", "points": [[1, 2]], "width": 3, "seconds": 4},
        {"image": "a", "kind": "mask", "file": "masks/whole.png"},
    ]
    schema = json.loads(Path(igcam.data.cues.__file__).with_name("cues.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for line in lines:
        jsonschema.validate(line, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(lines[1] | {"class": "background"}, schema)


class Memory:
    def __init__(self, mask):
        self.mask = mask

    def read(self):
        return self.mask


def test_masks_that_are_no_plain_files_are_stored(tmp_path, dataset):
    mask(tmp_path / "voc.png", 8, 12, 15)
    translated = MaskFile(tmp_path / "voc.png", lookup_for({8: "cat", 12: "dog", 15: "cow"}, CLASSES))
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[2:5, 3:9], pixels[10:20] = 4, 5
    cues = {
        "a": (MaskCue(source=translated),),
        "sub/b": (MaskCue(label=1, source=Memory(pixels), value=4, instance=1),),
    }
    write_cues(tmp_path / "out" / "cues.jsonl", cues, CLASSES)
    stored = tmp_path / "out" / "cues_masks"
    np.testing.assert_array_equal(read_mask_file(stored / "a_0.png"), translated.read())
    np.testing.assert_array_equal(read_mask_file(stored / "sub" / "b_0.png"), pixels == 4)
    found = read_cues(tmp_path / "out" / "cues.jsonl", dataset)
    for name, (cue,) in found.items():
        np.testing.assert_array_equal(cue.region(HEIGHT, WIDTH), cues[name][0].region(HEIGHT, WIDTH))


def test_files_elsewhere_are_named_relative(tmp_path, dataset):
    mask(tmp_path / "masks" / "whole.png", 1)
    write_cues(tmp_path / "out" / "cues.jsonl", {"a": [MaskCue(source=MaskFile(tmp_path / "masks/whole.png"))]}, ())
    assert json.loads((tmp_path / "out" / "cues.jsonl").read_text())["file"] == "../masks/whole.png"
    assert read_cues(tmp_path / "out" / "cues.jsonl", dataset)["a"][0].region(HEIGHT, WIDTH).all()


def test_unknown_kinds_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="got Cue"):
        write_cues(tmp_path / "cues.jsonl", {"a": [Cue(label=1)]}, CLASSES)
    assert not (tmp_path / "cues.jsonl").exists()


def test_region_of_points_and_boxes():
    assert np.argwhere(PointCue(label=1, x=2.9, y=1.0).region(3, 4)).tolist() == [[1, 2]]
    inside = BoxCue(label=1, left=1, top=0, right=3, bottom=2).region(3, 4)
    assert inside.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    touched = BoxCue(label=1, left=1.5, top=0, right=3.5, bottom=1).region(3, 4)
    assert touched.tolist() == [[0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert BoxCue(label=1, left=0, top=0, right=4, bottom=3).region(3, 4).all()


def test_region_of_scribbles():
    line = ScribbleCue(label=1, points=((1, 1), (5.5, 1.9)), width=1).region(4, 8)
    assert np.argwhere(line).tolist() == [[1, column] for column in range(1, 6)]
    assert np.argwhere(ScribbleCue(label=1, points=((3, 2),), width=1).region(4, 8)).tolist() == [[2, 3]]
    wide = ScribbleCue(label=1, points=((0, 10.5), (17.2, 10.5)), width=5).region(20, 20)
    assert np.flatnonzero(wide[:, 10]).tolist() == [8, 9, 10, 11, 12]
    assert np.flatnonzero(wide[10]).tolist() == list(range(20))
    assert np.flatnonzero(wide[8]).tolist() == list(range(19))
    dot = ScribbleCue(label=1, points=((10.5, 10.5),), width=4).region(20, 20)
    assert dot.sum() == 9
    bent = ScribbleCue(label=1, points=((0, 0), (9, 0), (9, 9)), width=1).region(10, 10)
    assert bent.sum() == 19


def test_region_of_masks():
    pixels = np.array([[0, 1, 2, 255]], np.uint8)
    assert MaskCue(label=1, source=Memory(pixels)).region(1, 4).tolist() == [[0, 1, 1, 1]]
    assert MaskCue(label=1, source=Memory(pixels), value=2).region(1, 4).tolist() == [[0, 0, 1, 0]]
    assert MaskCue(source=Memory(pixels)).region(1, 4).tolist() == [[1, 1, 1, 0]]
    with pytest.raises(ValueError, match="mask must be 2 x 2 as its image, got 1 x 4"):
        MaskCue(source=Memory(pixels)).region(2, 2)


def test_a_mask_of_another_mode(tmp_path, dataset):
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "colour.png")
    path = write(tmp_path / "cues.jsonl", WHOLE | {"file": "colour.png"})
    with pytest.raises(IgcamError, match=r"jsonl:1: .*colour\.png: has mode RGB"):
        read_cues(path, dataset)


def test_the_documented_lines_fit_the_schema():
    page = (Path(__file__).parents[2] / "docs" / "cues.md").read_text(encoding="utf-8")
    lines = page.split("```jsonl\n")[1].split("```")[0].splitlines()
    schema = json.loads(Path(igcam.data.cues.__file__).with_name("cues.schema.json").read_text())
    assert {json.loads(line)["kind"] for line in lines} == {"point", "box", "scribble", "mask"}
    for line in lines:
        jsonschema.validate(json.loads(line), schema)
