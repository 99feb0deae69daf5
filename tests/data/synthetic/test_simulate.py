from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from data_files import SHARED, photo
from hypothesis import given, settings
from hypothesis import strategies as st

from igcam.core.errors import IgcamError
from igcam.data.cue import BoxCue, MaskCue, PointCue, ScribbleCue
from igcam.data.cues import read_cues, write_cues
from igcam.data.formats.coco import coco_cues, read_coco
from igcam.data.masks import MaskFile, class_lookup, write_mask
from igcam.data.objects import ObjectMask, find_objects, with_instances
from igcam.data.sample import Dataset, Sample
from igcam.data.synthetic.simulate import SimulateOptions, choose_images, simulate_cues

KINDS = ("point", "box", "scribble", "mask", "object-mask")
CLASSES = ("cat", "cow", "dog")
HEIGHT, WIDTH = 60, 80


@dataclass(frozen=True)
class Given:
    """A mask that is there already."""

    name: str
    mask: np.ndarray = field(repr=False, compare=False)

    def read(self):
        return self.mask.copy()


def scene(*rectangles):
    """A mask with these rectangles (id, left, top, right, bottom)."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value, left, top, right, bottom in rectangles:
        mask[top:bottom, left:right] = value
    return mask


MASKS = {
    "two": scene((255, 8, 8, 42, 32), (1, 10, 10, 40, 30), (1, 50, 30, 70, 50), (255, 70, 30, 72, 50)),
    "sub/border": scene((2, 0, 0, 20, 60), (3, 60, 20, 80, 60)),
    "full": scene((1, 0, 0, 80, 60)),
    "speck": scene((3, 33, 20, 34, 21)),
    "bar": scene((255, 0, 0, 80, 60), (2, 5, 30, 75, 31)),
    "nothing": scene((255, 0, 0, 80, 10)),
}
INSTANCES = {
    "two": [(1, 1), (1, 2)],
    "sub/border": [(2, 1), (3, 2)],
    "full": [(1, 1)],
    "speck": [(3, 1)],
    "bar": [(2, 1)],
}


def sample(name, mask, tags="from truth"):
    if tags == "from truth":
        tags = tuple(label - 1 for label in (1, 2, 3) if (mask == label).any())
    return Sample(name, Path(f"{name}.jpg"), tags, (), Given(name, mask))


def data(masks=MASKS):
    return Dataset(CLASSES, tuple(sample(name, mask) for name, mask in masks.items()))


def tagged(*tags):
    """Samples with these tags and no truth."""
    return Dataset(CLASSES, tuple(Sample(f"{i:03d}", Path("x.jpg"), tags[i]) for i in range(len(tags))))


TIGHT = SimulateOptions(box_jitter=0.0)
TAGS = st.lists(st.sets(st.sampled_from((0, 1, 2))).map(lambda tags: tuple(sorted(tags))), max_size=12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_every_object_is_drawn_on_itself(kind, seed):
    cues = simulate_cues(data(), kind, seed=seed)
    assert list(cues) == list(INSTANCES)
    for name, drawn in cues.items():
        for cue in drawn:
            assert cue.seconds is None
            assert cue.confidence == 1
        if kind == "mask":
            assert drawn == (MaskCue(source=Given(name, MASKS[name])),)
            continue
        assert [(cue.label, cue.instance) for cue in drawn if cue.label] == INSTANCES[name]
        objects = {item.instance: item.region for item in find_objects(Given(name, MASKS[name]))}
        for cue in drawn:
            region = cue.region(HEIGHT, WIDTH)
            allowed = objects[cue.instance] if cue.label else MASKS[name] == 0
            assert region.any()
            if kind == "box":
                assert (region & allowed).sum() > 0.8 * max(region.sum(), allowed.sum())
            else:
                assert not (region & ~allowed).any()
            assert (region == allowed).all() or kind != "object-mask"


def test_cues_by_hand():
    boxes = simulate_cues(data(), "box", options=TIGHT)
    assert boxes["two"] == (
        BoxCue(label=1, instance=1, left=10, top=10, right=40, bottom=30),
        BoxCue(label=1, instance=2, left=50, top=30, right=70, bottom=50),
    )
    assert boxes["full"] == (BoxCue(label=1, instance=1, left=0, top=0, right=80, bottom=60),)
    assert boxes["speck"] == (BoxCue(label=3, instance=1, left=33, top=20, right=34, bottom=21),)
    assert simulate_cues(data(), "point")["speck"] == (PointCue(label=3, instance=1, x=33.5, y=20.5),)
    (bar,) = simulate_cues(data(), "scribble")["bar"]
    assert np.flatnonzero(bar.region(HEIGHT, WIDTH).any(axis=1)).tolist() == [30]
    (mask,) = simulate_cues(data(), "object-mask")["bar"]
    assert mask == MaskCue(label=2, instance=1, source=ObjectMask(Given("bar", MASKS["bar"]), 1, 0.001))


def test_the_background_is_drawn_on_where_there_is_some():
    scribbles = simulate_cues(data(), "scribble")
    with_background = {name for name, drawn in scribbles.items() if any(cue.label == 0 for cue in drawn)}
    assert with_background == {"two", "sub/border", "speck"}
    assert all(cue.instance is None for drawn in scribbles.values() for cue in drawn if cue.label == 0)
    assert all(cue.label for drawn in simulate_cues(data(), "point").values() for cue in drawn)
    points = simulate_cues(data(), "point", options=SimulateOptions(background_point=True))
    assert {name for name, drawn in points.items() if drawn[-1].label == 0} == with_background
    # One more cue leaves the others as they are.
    without = simulate_cues(data(), "scribble", options=SimulateOptions(background_scribble=False))
    for name, drawn in scribbles.items():
        assert without[name] == tuple(cue for cue in drawn if cue.label)


def test_the_options_are_used():
    several = data({"a": scene((1, 2, 2, 40, 40), (1, 60, 50, 64, 54))})
    assert len(simulate_cues(several, "point")["a"]) == 2
    assert len(simulate_cues(several, "point", options=SimulateOptions(min_share=0.01))["a"]) == 1
    (mask,) = simulate_cues(several, "object-mask", options=SimulateOptions(min_share=0.01))["a"]
    assert mask.region(HEIGHT, WIDTH).sum() == 38 * 38
    assert {cue.width for cue in simulate_cues(several, "scribble", options=SimulateOptions(pen=2.5))["a"]} == {2.5}
    even, middle = (SimulateOptions(centring=power) for power in (0.0, 10.0))
    clicks = [
        [simulate_cues(several, "point", seed=seed, options=options)["a"][0].x for seed in range(40)]
        for options in (even, middle)
    ]
    assert np.std(clicks[0]) > 2 * np.std(clicks[1])
    loose = simulate_cues(several, "box", options=SimulateOptions(box_jitter=0.4))["a"][0]
    assert loose != simulate_cues(several, "box", options=TIGHT)["a"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_and_the_name_decide_and_the_others_do_not(kind):
    cues = simulate_cues(data(), kind, seed=3)
    assert cues == simulate_cues(data(), kind, seed=3)
    backwards = data(dict(reversed(MASKS.items())))
    more = data({"new": scene((1, 3, 3, 50, 50)), **MASKS})
    assert simulate_cues(backwards, kind, seed=3) == cues
    grown = simulate_cues(more, kind, seed=3)
    assert {name: drawn for name, drawn in grown.items() if name != "new"} == cues
    if kind in ("point", "box", "scribble"):
        assert simulate_cues(data(), kind, seed=4) != cues
        twins = simulate_cues(data({"a": MASKS["two"], "b": MASKS["two"]}), kind, seed=3)
        assert twins["a"] != twins["b"]


@settings(deadline=None)
@given(seed=st.integers(0, 1000), shares=st.lists(st.floats(0, 1), min_size=2, max_size=2), kind=st.sampled_from(KINDS))
def test_more_images_contain_fewer_with_the_same_cues(seed, shares, kind):
    few, many = (simulate_cues(data(), kind, share=share, seed=seed) for share in sorted(shares))
    assert few.items() <= many.items()


@given(tags=TAGS, seed=st.integers(0, 1000))
def test_choices_are_nested_and_show_every_class(tags, seed):
    dataset = tagged(*tags)
    showing = [name for name, own in zip(dataset.names, tags, strict=True) if own]
    classes = set().union(*tags)
    before: set[str] = set()
    for count in range(len(showing) + 1):
        chosen = choose_images(dataset, count=count, seed=seed)
        assert len(chosen) == count
        assert before <= set(chosen) <= set(showing)
        assert list(chosen) == [name for name in dataset.names if name in chosen]
        seen = {tag for own in dataset.subset(chosen) for tag in own.tags}
        assert seen == classes or count < len(classes)
        before = set(chosen)
    assert before == set(showing)


def test_shares_are_rounded_and_never_nothing():
    dataset = tagged(*[(0,)] * 437, (), ())
    sizes = [len(choose_images(dataset, share=share)) for share in (0, 0.0001, 0.05, 0.1, 1)]
    assert sizes == [0, 1, 22, 44, 437]
    assert choose_images(tagged()) == choose_images(tagged(()), share=0.5) == ()


def test_every_image_has_its_chance():
    dataset = tagged(*[(0,)] * 10)
    drawn = [choose_images(dataset, count=3, seed=seed) for seed in range(400)]
    frequency = np.mean([[name in chosen for name in dataset.names] for chosen in drawn], axis=0)
    np.testing.assert_allclose(frequency, 0.3, atol=0.09)


def test_the_truth_tells_unknown_tags():
    dataset = Dataset(CLASSES, tuple(sample(name, mask, tags=None) for name, mask in MASKS.items()))
    assert choose_images(dataset, count=2, seed=5) == choose_images(data(), count=2, seed=5)
    assert simulate_cues(dataset, "point") == simulate_cues(data(), "point")


@pytest.mark.parametrize("kind", KINDS)
def test_cues_survive_writing(tmp_path, kind):
    dataset = data()
    for name, mask in MASKS.items():
        photo(tmp_path / f"{name}.png", HEIGHT, WIDTH)
        write_mask(tmp_path / "masks" / f"{name}.png", mask)
    dataset = Dataset(
        CLASSES,
        tuple(
            replace(
                item,
                image=tmp_path / f"{item.name}.png",
                truth=MaskFile(tmp_path / "masks" / f"{item.name}.png", class_lookup(3)),
            )
            for item in dataset
        ),
    )
    cues = simulate_cues(dataset, kind)
    write_cues(tmp_path / "cues.jsonl", cues, CLASSES)
    again = read_cues(tmp_path / "cues.jsonl", dataset)
    if kind != "object-mask":
        assert again == cues
    assert list(again) == list(cues)
    for name, drawn in cues.items():
        for one, other in zip(drawn, again[name], strict=True):
            assert (one.label, one.instance, one.kind) == (other.label, other.instance, other.kind)
            np.testing.assert_array_equal(one.region(HEIGHT, WIDTH), other.region(HEIGHT, WIDTH))
    assert dataset.with_cues(again).samples[0].cues == again["two"]


def test_instances_of_a_folder_are_used(tmp_path):
    touching = scene((1, 10, 10, 40, 30))
    write_mask(tmp_path / "a.png", scene((4, 10, 10, 25, 30), (9, 25, 10, 40, 30)))
    dataset = with_instances(data({"a": touching}), tmp_path)
    assert simulate_cues(dataset, "box", options=TIGHT)["a"] == (
        BoxCue(label=1, instance=4, left=10, top=10, right=25, bottom=30),
        BoxCue(label=1, instance=9, left=25, top=10, right=40, bottom=30),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "polygon"}, "kind must be one of point, box, scribble, mask, object-mask, got polygon"),
        ({"share": 1.2}, "share must be 0 to 1, got 1.2"),
        ({"share": float("nan")}, "share must be 0 to 1, got nan"),
        ({"count": 6}, "count must be 0 to 5, the images that show a class, got 6"),
        ({"count": -1}, "count must be 0 to 5"),
        ({"count": 2, "share": 0.5}, "share and count exclude each other, got 0.5 and 2"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_impossible_requests(arguments, message):
    with pytest.raises(IgcamError, match=message):
        simulate_cues(data(), **{"kind": "point"} | arguments)


@pytest.mark.parametrize(
    ("option", "value"),
    [("min_share", -0.1), ("centring", 11), ("box_jitter", 0.5), ("pen", 0), ("pen", float("nan"))],
)
def test_impossible_options(option, value):
    with pytest.raises(IgcamError, match=f"{option} must be"):
        SimulateOptions(**{option: value})


def test_images_that_cannot_be_drawn_on_are_listed():
    bad = (
        Sample("b", Path("b.jpg"), (0,)),
        sample("c", MASKS["sub/border"], tags=(0,)),
        sample("d", MASKS["two"], tags=(0, 1)),
    )
    dataset = Dataset(CLASSES, bad)
    with pytest.raises(IgcamError) as error:
        simulate_cues(dataset, "mask")
    assert str(error.value).splitlines() == [
        "images that cannot be drawn on:",
        "  b: has no true mask",
        "  c: the true mask shows cow, dog, which its tags lack",
    ]
    unknown = Dataset(CLASSES, (Sample("e", Path("e.jpg")), *bad))
    with pytest.raises(IgcamError, match="images with neither tags nor a true mask:\n  e"):
        choose_images(unknown)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the checkout")
def test_annotations_of_real_coco_are_drawn_on():
    pytest.importorskip("pycocotools")
    root = SHARED / "tiny-coco"
    annotations = root / "annotations" / "instances_val2017.json"
    dataset = read_coco(root / "val2017", annotations)
    drawn = simulate_cues(dataset, "scribble", count=8)
    known = coco_cues(annotations)
    checked = 0
    for name, cues in drawn.items():
        truth = dataset.subset([name]).samples[0].truth.read()
        labels = {cue.instance: cue.label for cue in known[name]}
        for cue in cues:
            assert isinstance(cue, ScribbleCue)
            assert (truth[cue.region(*truth.shape)] == cue.label).all()
            if cue.label:
                assert labels[cue.instance] == cue.label
                checked += 1
    assert checked > 20
