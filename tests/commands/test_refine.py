from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from igcam.commands.refine import refine_masks
from igcam.core.errors import IgcamError
from igcam.core.files import write_array
from igcam.data.images import load_image, save_jpeg
from igcam.data.masks import read_mask_file, write_mask
from igcam.data.synthetic.scenes import make_scene
from igcam.methods.refinements import DenseCrf, Sharpen
from igcam.refine.crf import CRF_PRESETS
from igcam.refine.pyramid import PyramidOptions

OPTIONS = (Sharpen(PyramidOptions()), DenseCrf(CRF_PRESETS["afa"].scaled(0.3)))
COUNT = 4


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, np.ndarray]:
    """Photos in a folder, coarse masks and maps of them in others, and the true masks."""
    masks = {}
    for index in range(COUNT):
        scene, name = make_scene(index), f"scene-{index}"
        save_jpeg(tmp_path / "photos" / f"{name}.jpg", scene.image)
        masks[name] = scene.mask
        classes = int(scene.mask.max()) + 1
        layers = (scene.mask == np.arange(classes)[:, None, None]).astype(np.float32)
        coarse = np.stack([cv2.resize(layer, (16, 16), interpolation=cv2.INTER_AREA) for layer in layers])
        write_array(tmp_path / "maps" / f"{name}.npy", coarse.astype(np.float16))
        blocks = coarse.argmax(axis=0).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
        write_mask(tmp_path / "masks" / f"{name}.png", blocks)
    return masks


def right(folder: Path, truth: dict[str, np.ndarray]) -> float:
    return float(np.mean([(read_mask_file(folder / f"{name}.png") == mask).mean() for name, mask in truth.items()]))


@pytest.mark.parametrize("kind", ["masks", "maps"])
def test_coarse_answers_move_to_the_edges_of_the_photo(tmp_path: Path, truth: dict[str, np.ndarray], kind: str) -> None:
    files = refine_masks(tmp_path / kind, tmp_path / "photos", tmp_path / "out", OPTIONS)
    assert [file.name for file in files] == [f"{name}.png" for name in truth]
    assert right(tmp_path / "out", truth) > right(tmp_path / "masks", truth) + 0.01


def test_what_is_there_is_not_drawn_again(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    kept = np.zeros((128, 128), np.uint8)
    write_mask(tmp_path / "out" / "scene-1.png", kept)
    refine_masks(tmp_path / "masks", tmp_path / "photos", tmp_path / "out", OPTIONS)
    np.testing.assert_array_equal(read_mask_file(tmp_path / "out" / "scene-1.png"), kept)


def test_ids_are_kept_and_the_unknown_is_decided(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    mask = np.where(truth["scene-0"] > 0, 200, 7).astype(np.uint8)
    mask[60:64] = 255
    write_mask(tmp_path / "few" / "scene-0.png", mask)
    write_mask(tmp_path / "few" / "scene-1.png", np.full((128, 128), 9, np.uint8))
    write_mask(tmp_path / "few" / "scene-2.png", np.full((128, 128), 255, np.uint8))
    first, second, third = refine_masks(tmp_path / "few", tmp_path / "photos", tmp_path / "out", OPTIONS)
    assert set(np.unique(read_mask_file(first))) == {7, 200}
    assert (read_mask_file(second) == 9).all()
    assert (read_mask_file(third) == 0).all()


def test_all_that_is_wrong_is_named_at_once_and_the_rest_is_done(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    maps = tmp_path / "maps"
    write_array(maps / "scene-0.npy", np.full((2, 4, 4), -1, np.float32))
    write_array(maps / "scene-1.npy", np.zeros((2, 200, 4), np.float32))
    write_array(maps / "nobody.npy", np.zeros((2, 4, 4), np.float32))
    write_mask(maps / "scene-2.png", np.zeros((128, 128), np.uint8))
    with pytest.raises(IgcamError) as caught:
        refine_masks(maps, tmp_path / "photos", tmp_path / "out", OPTIONS)
    text = str(caught.value)
    assert "4 of 6 files cannot be refined" in text
    for words in (
        "scene-0.npy: must be finite and at least 0; give probabilities, not logits",
        "scene-1.npy: must be 1 x 1 to 128 x 128 like its photo, got (200, 4)",
        "nobody.npy: has no photo of this name",
        "there is a mask and a map of this name",
    ):
        assert words in text
    assert (tmp_path / "out" / "scene-3.png").exists()


def test_a_mask_of_another_size_and_an_empty_folder(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    write_mask(tmp_path / "small" / "scene-0.png", np.zeros((20, 30), np.uint8))
    with pytest.raises(IgcamError, match=r"scene-0\.png: is 30 x 20 pixels, its photo 128 x 128"):
        refine_masks(tmp_path / "small", tmp_path / "photos", tmp_path / "out", OPTIONS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(IgcamError, match=r"empty: has no masks NAME\.png and no maps"):
        refine_masks(tmp_path / "empty", tmp_path / "photos", tmp_path / "out", OPTIONS)
    with pytest.raises(IgcamError, match="must not be the folder"):
        refine_masks(tmp_path / "small", tmp_path / "photos", tmp_path / "small", OPTIONS)
    assert load_image(tmp_path / "photos" / "scene-0.jpg").shape == (128, 128, 3)


def test_photos_that_are_wider_than_high(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "photos" / "wide.jpg", make_scene(0).image[:50])
    mask = np.zeros((50, 128), np.uint8)
    mask[:, :40] = 3
    write_mask(tmp_path / "masks" / "wide.png", mask)
    write_array(tmp_path / "maps" / "wide.npy", np.full((2, 4, 100), 0.5, np.float32))
    for given in ("masks", "maps"):
        (file,) = refine_masks(tmp_path / given, tmp_path / "photos", tmp_path / f"from-{given}", OPTIONS)
        assert read_mask_file(file).shape == (50, 128)
