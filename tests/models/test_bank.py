from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from igcam.core.errors import IgcamError
from igcam.core.files import read_json, read_tensors
from igcam.models.backbone import Backbone, BackboneOptions, build_backbone
from igcam.models.bank import FeatureBank
from igcam.models.views import View

VIEWS = (View(32), View(32, flip=True))


def make_backbone(levels: tuple[int, ...] = (-2, -1)) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(BackboneOptions("resnet10t", pretrained=False, levels=levels))


class Plain(torch.nn.Module):
    """What a bank needs of a backbone, without timm, which takes seconds to import."""

    key, name, mean = '{"name": "plain"}', "plain", torch.zeros(1)

    def forward(self, images):
        return images[:, :, ::2, ::2], images[:, :, ::4, ::4]


class Counting(Backbone):
    """A backbone that notes the batch size of each forward pass, and can be told to change its result."""

    def __init__(self, inner: Backbone, factor: float = 1.0) -> None:
        torch.nn.Module.__init__(self)
        self.inner, self.factor = inner, factor
        self.mean, self.name = inner.mean, inner.name
        self.sizes: list[int] = []
        self.eval()

    @property
    def key(self) -> str:
        return self.inner.key

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.sizes.append(len(images))
        assert not self.training
        return tuple(self.factor * level for level in self.inner(images))


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return make_backbone()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for index in range(5):
        paths.append(tmp_path / "photos" / f"{index}.png")
        paths[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40 + index, 50, 3), dtype=np.uint8)).save(paths[-1])
    return paths


def whole_files(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.safetensors"))
    assert all(read_tensors(file) for file in files)
    return files


def test_the_bank_equals_a_direct_forward_within_half_precision(tmp_path, backbone, photos):
    bank = FeatureBank(tmp_path / "bank", backbone, VIEWS)
    assert bank.fill(photos, batch_size=4) == 10
    for path in photos:
        image = Image.open(path).resize((32, 32), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
        for view in VIEWS:
            with torch.no_grad():
                direct = backbone(pixels.flip(3) if view.flip else pixels)
            stored = bank.read(path, view)
            assert len(stored) == 2
            for level, expected in zip(stored, direct, strict=True):
                assert level.dtype == np.float16
                np.testing.assert_allclose(level, expected[0].numpy(), rtol=2**-10, atol=1e-5)
    assert backbone.mean.dtype == torch.float32
    assert not backbone.training


def test_reading_is_memory_mapped(tmp_path, backbone, photos):
    bank = FeatureBank(tmp_path / "bank", backbone, VIEWS)
    bank.fill(photos)
    level = bank.read(photos[0], VIEWS[1])[0]
    assert isinstance(level.base, np.memmap)
    assert not level.flags.writeable


def test_a_second_run_computes_nothing(tmp_path, backbone, photos):
    counting = Counting(backbone)
    seen = []
    bank = FeatureBank(tmp_path, counting, VIEWS)
    assert bank.fill(photos, batch_size=4, progress=lambda done, total: seen.append((done, total))) == 10
    assert counting.sizes == [4, 4, 4], "the last batch is filled up"
    assert seen == [(4, 10), (8, 10), (10, 10)]
    again = FeatureBank(tmp_path, counting, VIEWS)
    assert again.missing(photos) == []
    assert again.fill(photos) == 0
    again.read(photos[0])
    assert counting.sizes == [4, 4, 4], "the last batch is filled up"
    more = FeatureBank(tmp_path, counting, (*VIEWS, View(48)))
    assert more.missing(photos) == [(path, View(48)) for path in photos]
    assert more.fill(photos) == 5


def test_the_content_counts_and_not_the_name(tmp_path, backbone, photos):
    counting = Counting(backbone)
    bank = FeatureBank(tmp_path / "bank", counting)
    copy = photos[0].with_name("copy.png")
    copy.write_bytes(photos[0].read_bytes())
    assert bank.fill([*photos, copy, photos[0]]) == 5
    before = bank.read(photos[0])[0].copy()
    photos[0].write_bytes(photos[1].read_bytes())
    os.utime(photos[0], ns=(1, 1))
    assert not np.array_equal(bank.read(photos[0])[0], before)
    np.testing.assert_array_equal(bank.read(copy)[0], before)
    assert counting.sizes == [1] * 5, "images of 384 pixels pass the network alone, and no batch is filled up"


def test_another_backbone_has_another_folder(tmp_path, backbone, photos):
    bank = FeatureBank(tmp_path, backbone)
    bank.fill(photos)
    other = FeatureBank(tmp_path, make_backbone((-1,)))
    assert other.folder != bank.folder
    assert len(other.missing(photos)) == 5
    description = read_json(bank.folder / "key.json")
    assert description["backbone"]["name"] == "resnet10t"
    assert len(bank.folder.name) == 16


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped bit", "header", "not a file of the bank"])
def test_a_damaged_file_is_computed_again(tmp_path, photos, damage):
    FeatureBank(tmp_path / "bank", Plain()).fill(photos)
    file = next((tmp_path / "bank").rglob("*.safetensors"))
    good = file.read_bytes()
    bad = {
        "truncated": good[:-1],
        "empty": b"",
        "flipped bit": good[:-5] + bytes([good[-5] ^ 1]) + good[-4:],
        "header": b"\xff" * 8 + good[8:],
        "not a file of the bank": b"\x02" + b"\0" * 7 + b"{}",
    }[damage]
    file.write_bytes(bad)
    bank = FeatureBank(tmp_path / "bank", Plain())
    if damage == "flipped bit":
        assert bank.missing(photos) == []
    else:
        assert len(bank.missing(photos)) == 1
    owner = next(path for path in photos if bank._file(path, View()) == file)
    bank.read(owner)
    assert len(whole_files(tmp_path / "bank")) == 5
    assert file.read_bytes() == good


def test_a_missing_view_is_computed_on_reading(tmp_path, backbone, photos):
    counting = Counting(backbone)
    bank = FeatureBank(tmp_path, counting, VIEWS)
    level = bank.read(photos[0], VIEWS[1])[1]
    assert level.shape == (512, 2, 2)
    assert counting.sizes == [1]


def test_values_beyond_half_precision_are_clamped(tmp_path, backbone, photos):
    bank = FeatureBank(tmp_path, Counting(backbone, factor=1e9))
    level = bank.read(photos[0])[0]
    assert np.isfinite(level).all()
    assert level.max() == np.float16(65504)


def test_features_that_are_not_numbers_are_refused(tmp_path, backbone, photos):
    bank = FeatureBank(tmp_path / "bank", Counting(backbone, factor=float("nan")))
    with pytest.raises(IgcamError, match=r"0.png: resnet10t gives features that are not numbers"):
        bank.fill(photos)
    assert whole_files(tmp_path) == []


def test_bad_images_are_all_named_after_the_others_are_done(tmp_path, backbone, photos):
    photos[1].write_bytes(b"no image")
    photos[3].write_bytes(photos[3].read_bytes()[:200])
    bank = FeatureBank(tmp_path / "bank", backbone, VIEWS)
    with pytest.raises(IgcamError, match="2 images cannot be read:") as error:
        bank.fill(photos, batch_size=2)
    assert "1.png" in str(error.value)
    assert "3.png" in str(error.value)
    assert len(str(error.value).splitlines()) == 3
    assert len(whole_files(tmp_path)) == 6
    with pytest.raises(IgcamError, match=r"1 images cannot be read:\n  .*nowhere.png"):
        bank.missing([photos[0], tmp_path / "nowhere.png"])


def test_the_mode_of_the_backbone_is_put_back(tmp_path, photos):
    backbone = make_backbone().train()
    FeatureBank(tmp_path, backbone).fill(photos[:1])
    assert backbone.training
    assert all(not parameter.is_inference() for parameter in backbone.parameters())


def test_a_killed_run_leaves_whole_files_and_goes_on(tmp_path, photos):
    program = f"""
import os, signal, sys
sys.path[:0] = sys.argv[1:2]
import torch
from igcam.models.bank import FeatureBank
from igcam.models.views import View

{inspect.getsource(Plain)}

replace, count = os.replace, 0
def kill_at_the_fourth_file(source, target):
    global count
    count += str(target).endswith(".safetensors")
    if count == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = kill_at_the_fourth_file
FeatureBank(sys.argv[2], Plain(), (View(32), View(32, flip=True))).fill(sys.argv[3:], batch_size=2)
"""
    arguments = [str(Path(__file__).parents[2]), str(tmp_path / "bank"), *map(str, photos)]
    killed = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(whole_files(tmp_path / "bank")) == 3
    assert list((tmp_path / "bank").rglob("*.part"))
    bank = FeatureBank(tmp_path / "bank", Plain(), VIEWS)
    assert bank.fill(photos) == 7
    assert len(whole_files(tmp_path / "bank")) == 10


def test_views():
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = 200
    plain, flipped = View(10).apply(image), View(10, flip=True).apply(image)
    assert plain.shape == (10, 10, 3)
    assert plain[5, 1, 0] == 0
    assert plain[5, 8, 0] == 200
    np.testing.assert_array_equal(flipped, plain[:, ::-1])
    assert (View(10).name, View(10, flip=True).name) == ("10", "10-flip")
    with pytest.raises(ValueError, match="size must be positive"):
        View(0)
