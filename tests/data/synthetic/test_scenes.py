from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igcam.core.errors import IgcamError
from igcam.core.files import digest
from igcam.data.formats.folder import read_folder
from igcam.data.images import load_image
from igcam.data.masks import read_mask_file
from igcam.data.synthetic.creatures import BODIES, HEADS, SUITS
from igcam.data.synthetic.drawing import Canvas, Sprite, draw_object
from igcam.data.synthetic.scenes import SCENE_CLASSES, Scene, SceneOptions, make_scene, write_scenes
from igcam.data.synthetic.textures import GROUNDS, PATTERNS, draw_ground

SMALL = SceneOptions(size=64)


def arrays(scene: Scene) -> list[np.ndarray]:
    return [scene.image, scene.mask, scene.instances, scene.heads]


def fingerprint(scene: Scene) -> str:
    pixels = b"".join(array.tobytes() for array in arrays(scene))
    return digest(pixels + repr((scene.tags, scene.given_tags, scene.background)).encode())


def plain_ground(name: str, rng: np.random.Generator, size: int, strength: float) -> np.ndarray:
    return np.full((size, size, 3), 128, dtype=np.uint8)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(index, 3) for index in range(40)]


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    options = SceneOptions(size=48, wrong_tags=0.2, missing_tags=0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("igcam.data.synthetic.scenes.draw_ground", plain_ground)
        return [make_scene(index, 4, options) for index in range(300)]


def test_scene_is_the_same_in_any_order(scenes: list[Scene]) -> None:
    for index in (31, 7, 0):
        assert fingerprint(make_scene(index, 3)) == fingerprint(scenes[index])


def test_scenes_differ_by_index_and_by_seed(scenes: list[Scene]) -> None:
    prints = {fingerprint(scene) for scene in scenes}
    assert len(prints) == len(scenes)
    assert fingerprint(make_scene(0, 4)) not in prints
    assert fingerprint(make_scene(4, 3)) != fingerprint(make_scene(3, 4))


def test_shapes_and_types(scenes: list[Scene]) -> None:
    image, mask, instances, heads = arrays(scenes[0])
    assert (image.shape, image.dtype) == ((128, 128, 3), np.uint8)
    assert (mask.shape, mask.dtype) == ((128, 128), np.uint8)
    assert (instances.shape, instances.dtype) == ((128, 128), np.uint8)
    assert (heads.shape, heads.dtype) == ((128, 128), np.bool_)


def check_masks(scene: Scene) -> None:
    assert np.array_equal(scene.mask > 0, scene.instances > 0)
    assert np.all(scene.mask[scene.heads] > 0)
    count = int(scene.instances.max())
    assert set(np.unique(scene.instances)) == set(range(count + 1))
    labels = []
    for instance in range(1, count + 1):
        inside = scene.instances == instance
        (label,) = np.unique(scene.mask[inside])
        labels.append(int(label))
        assert (scene.heads & inside).any()
    assert scene.tags == tuple(sorted({label - 1 for label in labels}))


def test_instances_make_up_the_mask_and_the_tags(scenes: list[Scene]) -> None:
    for scene in scenes:
        check_masks(scene)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(48, 96),
    classes=st.lists(st.sampled_from(SCENE_CLASSES), min_size=1, unique=True),
    maximum=st.integers(1, 8),
    index=st.integers(0, 2**40),
    texture=st.floats(0, 1),
)
def test_masks_hold_for_any_options(size: int, classes: list[str], maximum: int, index: int, texture: float) -> None:
    options = SceneOptions(
        size=size,
        classes=tuple(classes),
        max_objects=maximum,
        bound_class=classes[0],
        texture=texture,
        largest=0.75,
    )
    scene = make_scene(index, 0, options)
    check_masks(scene)
    assert 1 <= scene.instances.max() <= maximum
    assert scene.given_tags == scene.tags


def test_objects_show_and_heads_are_a_small_part(scenes: list[Scene]) -> None:
    shares, areas = [], []
    for scene in scenes:
        for instance in range(1, int(scene.instances.max()) + 1):
            inside = scene.instances == instance
            areas.append(int(inside.sum()))
            shares.append((scene.heads & inside).sum() / inside.sum())
    assert min(areas) >= 300
    assert np.percentile(areas, 90) > 2 * np.percentile(areas, 10)
    assert 0.12 < np.median(shares) < 0.2


def test_number_of_objects(scenes: list[Scene]) -> None:
    assert {int(scene.instances.max()) for scene in scenes} == {1, 2, 3}
    pairs = SceneOptions(size=96, min_objects=2, max_objects=2, largest=0.4)
    assert all(make_scene(index, 0, pairs).instances.max() == 2 for index in range(20))


def test_objects_overlap_in_some_scenes(scenes: list[Scene]) -> None:
    kernel = np.ones((3, 3), dtype=np.uint8)

    def touch(scene: Scene) -> bool:
        others = np.where(scene.instances == 0, 255, scene.instances).astype(np.uint8)
        lowest, highest = cv2.erode(others, kernel), cv2.dilate(scene.instances, kernel)
        return ((lowest != highest) & (lowest != 255)).sum() >= 4

    share = np.mean([touch(scene) for scene in scenes if scene.instances.max() > 1])
    assert 0.4 < share < 0.95


def test_mask_is_where_the_object_changes_the_picture() -> None:
    sprite = draw_object(np.random.default_rng(5), "fox", "navy", 20.0, 1.0)
    white, black = (Canvas(np.full((96, 96, 3), value, dtype=np.uint8)) for value in (255, 0))
    for canvas in (white, black):
        canvas.place(np.random.default_rng(0), sprite, 1, 0.5)
    difference = white.finish(np.random.default_rng(1)) * 1.0 - black.finish(np.random.default_rng(1))
    inside = white.instances > 0
    rim = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)) > cv2.erode(
        inside.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)
    )
    assert np.abs(difference[inside & ~rim]).max() <= 1
    assert difference[inside].max() <= 130
    assert difference[~inside].min() >= 100


def block(side: int, value: int, head: float = 1.0) -> Sprite:
    whole = np.ones((side, side), dtype=np.float32)
    return Sprite(np.full((side, side, 3), value, dtype=np.float32), whole, head * whole)


def test_later_objects_stay_behind_and_a_hidden_one_is_left_out() -> None:
    canvas = Canvas(np.zeros((60, 60, 3), dtype=np.uint8))
    rng = np.random.default_rng(0)
    canvas.place(rng, block(54, 200), 4, 0.5)
    canvas.place(rng, block(20, 50), 2, 0.5)
    canvas.place(rng, block(20, 50, head=0.0), 2, 0.5)
    assert canvas.labels == [4]


def test_what_is_in_front_is_painted_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igcam.data.synthetic.drawing._LIKES_TO_BE_ALONE", 0.0)
    covered = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        canvas = Canvas(np.zeros((60, 60, 3), dtype=np.uint8))
        for label, value in ((4, 200), (2, 60), (1, 130)):
            canvas.place(rng, block(24, value), label, 0.5)
        values = np.array([0, *({4: 200, 2: 60, 1: 130}[label] for label in canvas.labels)])
        inside = canvas.instances > 0
        difference = canvas.finish(rng)[..., 0] - values[canvas.instances]
        covered += 24 * 24 * len(canvas.labels) - inside.sum()
        assert np.abs(np.median(difference[inside])) <= 1
        # Shadows fall on what is behind, but never on the one in front.
        assert np.abs(difference[canvas.instances == 1]).max() < 20
        assert difference[inside].max() < 20
    assert covered > 500


def test_wrong_and_missing_tags_at_their_shares(many: list[Scene]) -> None:
    wrong = [set(scene.given_tags) - set(scene.tags) for scene in many]
    missing = [set(scene.tags) - set(scene.given_tags) for scene in many]
    several = np.array([len(scene.tags) > 1 for scene in many])
    dropped = np.array([len(tags) for tags in missing])
    assert max(map(len, wrong)) == 1
    assert dropped.max() == 1
    assert np.mean([len(tags) for tags in wrong]) == pytest.approx(0.2, abs=0.05)
    assert dropped[several].mean() == pytest.approx(0.3, abs=0.07)
    assert dropped[~several].sum() == 0
    assert all(scene.given_tags == tuple(sorted(scene.given_tags)) for scene in many)


def test_planting_leaves_the_picture_as_it_is() -> None:
    clean, planted = (
        make_scene(8, 1, SceneOptions(size=64, wrong_tags=share, missing_tags=share)) for share in (0.0, 1.0)
    )
    assert all(np.array_equal(*pair) for pair in zip(arrays(clean), arrays(planted), strict=True))
    assert clean.tags == planted.tags == clean.given_tags != planted.given_tags


def test_one_class_is_bound_to_one_background(many: list[Scene]) -> None:
    frog = SceneOptions().classes.index("frog")
    with_frog = [scene.background == "pond" for scene in many if frog in scene.tags]
    without = [scene.background == "pond" for scene in many if frog not in scene.tags]
    assert np.mean(with_frog) == pytest.approx(0.9, abs=0.06)
    assert np.mean(without) == pytest.approx(0.1, abs=0.06)
    assert {scene.background for scene in many} == set(GROUNDS)


def test_no_class_is_bound_on_request() -> None:
    options = SceneOptions(size=48, bound_class=None)
    scenes = [make_scene(index, 0, options) for index in range(80)]
    assert np.mean([scene.background == "pond" for scene in scenes]) == pytest.approx(1 / len(GROUNDS), abs=0.1)


def test_suit_and_body_do_not_depend_on_the_class() -> None:
    fox, owl = (draw_object(np.random.default_rng(9), name, "teal", 30.0, 1.0) for name in ("fox", "owl"))
    height = min(len(fox.cover), len(owl.cover)) // 2
    width = min(fox.cover.shape[1], owl.cover.shape[1])
    lower = [sprite.cover[-height:, :width] for sprite in (fox, owl)]
    assert np.abs(lower[0] - lower[1]).mean() < 0.1


@pytest.mark.parametrize("name", SCENE_CLASSES)
def test_every_class_can_be_drawn(name: str) -> None:
    for seed in range(4):
        sprite = draw_object(np.random.default_rng(seed), name, "sky", 24.0, 1.0)
        assert sprite.colour.shape == (*sprite.cover.shape, 3)
        assert np.all(sprite.colour <= 255 * sprite.cover[..., None] + 1e-3)
        assert np.all(sprite.head <= sprite.cover)
        border = np.concatenate([sprite.cover[0], sprite.cover[-1], sprite.cover[:, 0], sprite.cover[:, -1]])
        assert border.max() == 0
        assert sprite.head.sum() > 80


@pytest.mark.parametrize("name", sorted(GROUNDS))
def test_every_background_is_textured_and_can_be_flat(name: str) -> None:
    drawn, flat = (draw_ground(name, np.random.default_rng(2), 96, strength) for strength in (1.0, 0.0))
    assert drawn.shape == (96, 96, 3)
    assert drawn.std(axis=(0, 1)).max() > 4
    assert flat.std(axis=(0, 1)).max() == 0
    assert np.abs(drawn.mean(axis=(0, 1)) - flat[0, 0]).max() < 2


def test_patterns_repeat_once_a_unit() -> None:
    u, v = np.meshgrid(np.linspace(0.013, 2, 80, dtype=np.float32), np.linspace(0.017, 2, 80, dtype=np.float32))
    for name, pattern in PATTERNS.items():
        assert np.mean(pattern(u, v) == pattern(u + 2, v + 2)) > 0.98, name
        assert (name == "plain") == (not pattern(u, v).any())


def test_every_creature_has_outlines_to_fill() -> None:
    assert len(SUITS) > len(HEADS)
    for patches in HEADS.values():
        assert all(patch.points.shape[1] == 2 and len(patch.points) >= 3 for patch in patches)
    assert all(0.3 <= body.head <= 0.4 for body in BODIES.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 20}, "size must be 48 to 2048 pixels, got 20"),
        ({"classes": ("fox", "dragon"), "bound_class": None}, "got fox, dragon"),
        ({"classes": ("fox", "fox"), "bound_class": None}, "each once"),
        ({"classes": (), "bound_class": None}, "got none"),
        ({"min_objects": 3, "max_objects": 2}, "got 3 to 2"),
        ({"min_objects": 0}, "got 0 to 3"),
        ({"max_objects": 9}, "got 1 to 9"),
        ({"smallest": 0.7, "largest": 0.6}, "got 0.7 to 0.6"),
        ({"largest": float("nan")}, "largest must be finite, got nan"),
        ({"bound_class": "owlet"}, "got owlet"),
        ({"classes": ("fox", "owl")}, "bound_class must be one of the classes or None, got frog"),
        ({"bound_background": "moon"}, "got moon"),
        ({"bound_share": 1.5}, "bound_share must be 0 to 1, got 1.5"),
        ({"wrong_tags": -0.1}, "wrong_tags must be 0 to 1, got -0.1"),
        ({"wrong_tags": 0.1, "max_objects": 5}, "more classes than objects, got 5 and 5"),
        ({"missing_tags": 0.1, "max_objects": 1}, "two objects of two classes, got 1 of 5"),
    ],
)
def test_impossible_options(options: dict[str, object], words: str) -> None:
    with pytest.raises(IgcamError) as caught:
        SceneOptions(**options)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_impossible_options_are_listed_together() -> None:
    with pytest.raises(IgcamError, match=r"size(.|\n)*texture"):
        SceneOptions(size=1, texture=2)


def test_negative_index_or_seed() -> None:
    for index, seed in ((-1, 0), (0, -1)):
        with pytest.raises(IgcamError, match="at least 0"):
            make_scene(index, seed, SMALL)


def test_written_folder_is_read_back(tmp_path: Path) -> None:
    options = SceneOptions(size=64, wrong_tags=0.5, missing_tags=0.5)
    folder = write_scenes(tmp_path / "deep" / "scenes", 12, 6, options)
    dataset = read_folder(folder / "photos", folder / "tags.csv", folder / "masks", options.classes)
    facts = json.loads((folder / "scenes.json").read_text())
    assert dataset.classes == options.classes
    assert len(dataset) == len(facts["scenes"]) == 12
    for index, (sample, written) in enumerate(zip(dataset.samples, facts["scenes"], strict=True)):
        scene = make_scene(index, 6, options)
        assert sample.tags == scene.given_tags
        assert sample.truth is not None
        assert np.array_equal(sample.truth.read(), scene.mask)
        assert np.array_equal(read_mask_file(folder / "instances" / f"{sample.name}.png"), scene.instances)
        assert np.abs(load_image(sample.image) * 1.0 - scene.image).mean() < 4
        assert (written["name"], written["background"]) == (sample.name, scene.background)
        assert written["tags"] == [options.classes[tag] for tag in scene.tags]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["scenes"]


def test_more_scenes_begin_with_the_same_ones(tmp_path: Path) -> None:
    few, more = (write_scenes(tmp_path / str(count), count, 1, SMALL, masks=False) for count in (2, 4))
    assert sorted(path.name for path in few.iterdir()) == ["photos", "scenes.json", "tags.csv"]
    for path in (few / "photos").iterdir():
        assert digest(path) == digest(more / "photos" / path.name)


def test_writing_again_changes_nothing_and_other_content_is_refused(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "scenes", 2, 1, SMALL)
    moment = (folder / "scenes.json").stat().st_mtime_ns
    write_scenes(folder, 2, 1, SMALL)
    assert (folder / "scenes.json").stat().st_mtime_ns == moment
    with pytest.raises(IgcamError, match="has other content"):
        write_scenes(folder, 3, 1, SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"")
    with pytest.raises(IgcamError, match="has other content"):
        write_scenes(tmp_path / "mine", 2, 1, SMALL)
    with pytest.raises(IgcamError, match="count must be at least 1, got 0"):
        write_scenes(tmp_path / "none", 0)


def test_nothing_is_left_when_writing_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("igcam.data.synthetic.scenes.write_tag_table", stop)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / "scenes", 2, 1, SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IgcamError, match="file"):
        write_scenes(tmp_path / "file" / "scenes", 1, 0, SMALL)
    with pytest.raises(IgcamError, match="file"):
        write_scenes(tmp_path / "file", 1, 0, SMALL)
