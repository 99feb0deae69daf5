from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from data_files import photo, png_bytes, rotated_photo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from igcam.core.errors import IgcamError
from igcam.data.images import (
    find_images,
    image_size,
    inspect_image,
    load_image,
    name_index,
    normal_name,
    sample_name,
    save_jpeg,
    save_png,
)

ASYMMETRIC = np.arange(6, dtype=np.uint8).reshape(2, 3)[..., None] * np.array([40, 20, 10], np.uint8)

# What a viewer shows of a stored image for each EXIF orientation, in numpy's terms.
DISPLAYED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
@pytest.mark.parametrize("orientation", DISPLAYED)
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    stored = ASYMMETRIC.repeat(16, 0).repeat(16, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    lossless = {"lossless": True} if suffix == ".webp" else {"quality": 100} if suffix == ".jpg" else {}
    Image.fromarray(stored).save(path, exif=exif, **lossless)

    shown = DISPLAYED[orientation](stored)
    image = load_image(path)
    assert image.shape == shown.shape
    assert image_size(path) == shown.shape[:2]
    assert np.abs(image.astype(int) - shown).max() <= (19 if suffix == ".jpg" else 0)
    facts = inspect_image(path)
    assert (facts.height, facts.width) == shown.shape[:2]
    assert image.flags.writeable


def test_orientation_out_of_range_or_damaged_is_upright(tmp_path):
    assert image_size(rotated_photo(tmp_path / "a.jpg", 9)) == (70, 90)
    data = (tmp_path / "a.jpg").read_bytes()
    broken = data.replace(b"Exif\0\0MM", b"Exif\0\0XX").replace(b"Exif\0\0II", b"Exif\0\0XX")
    assert broken != data
    (tmp_path / "b.jpg").write_bytes(broken)
    assert load_image(tmp_path / "b.jpg").shape == (70, 90, 3)


def test_greyscale_and_palette_become_rgb(tmp_path):
    grey = np.arange(0, 240, 10, np.uint8).reshape(4, 6)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(load_image(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, 2))
    Image.fromarray(ASYMMETRIC).quantize(6).save(tmp_path / "palette.png")
    assert np.abs(load_image(tmp_path / "palette.png").astype(int) - ASYMMETRIC).max() <= 1
    Image.fromarray(grey > 100).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(load_image(tmp_path / "bits.png")[..., 1], np.where(grey > 100, 255, 0))


def test_alpha_is_laid_over_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = [255, 0, 51]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    # 20% of (200, 0, 0) and 80% of white.
    expected = [[[200, 0, 0], [255, 255, 255], [244, 204, 204]]]
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), expected)
    assert inspect_image(tmp_path / "a.png").alpha


def test_transparency_of_palette_and_grey(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]], np.uint8))
    palette.putpalette([9, 9, 9, 50, 60, 70])
    palette.save(tmp_path / "palette.png", transparency=0)
    assert load_image(tmp_path / "palette.png").tolist() == [[[255, 255, 255], [50, 60, 70]]]
    Image.fromarray(np.array([[[100, 0], [100, 255]]], np.uint8), "LA").save(tmp_path / "grey.png")
    assert load_image(tmp_path / "grey.png")[0, :, 0].tolist() == [255, 100]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 257, 300, 1000, 32768, 65535]], np.uint16)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values).save(path)
    assert load_image(path)[0, :, 0].tolist() == [0, 1, 1, 4, 128, 255]
    assert inspect_image(path).sixteen_bit


def test_sixteen_bit_colour_is_scaled(tmp_path):
    row = struct.pack(">6H", 65535, 32768, 0, 256, 512, 4096)
    (tmp_path / "a.png").write_bytes(png_bytes([row], width=2, bits=16, colour=2))
    assert load_image(tmp_path / "a.png").tolist() == [[[255, 128, 0], [1, 2, 16]]]
    facts = inspect_image(tmp_path / "a.png")
    assert facts.sixteen_bit
    assert facts.mode == "RGB"


def test_cmyk_becomes_rgb(tmp_path):
    colours = np.array([[[255, 0, 0], [0, 128, 0], [255, 255, 255]]], np.uint8).repeat(16, 0).repeat(16, 1)
    for suffix in (".tif", ".jpg"):
        Image.fromarray(colours).convert("CMYK").save(tmp_path / f"a{suffix}")
        image = load_image(tmp_path / f"a{suffix}")
        assert np.abs(image[8, 8::16].astype(int) - colours[8, 8::16]).max() <= 6
        assert inspect_image(tmp_path / f"a{suffix}").mode == "CMYK"


def test_only_the_first_frame_is_used(tmp_path):
    pages = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (10, 200)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert load_image(tmp_path / "a.tif").max() == 10
    assert inspect_image(tmp_path / "a.tif").frames == 2


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_are_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(IgcamError, match=r"a\.tif: has 32-bit pixels"):
        load_image(tmp_path / "a.tif")
    with pytest.raises(IgcamError, match="32-bit"):
        inspect_image(tmp_path / "a.tif")


def test_wrong_files_are_errors_of_one_line(tmp_path, monkeypatch):
    (tmp_path / "text.jpg").write_text("no image\nat all")
    (tmp_path / "empty.jpg").touch()
    photo(tmp_path / "good.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for name, rule in {
        "text.jpg": "is not an image",
        "empty.jpg": "is not an image",
        "absent.jpg": "does not exist",
        "good.jpg": "is too large",
    }.items():
        for read in (load_image, image_size, inspect_image):
            with pytest.raises(IgcamError, match=rule) as caught:
                read(tmp_path / name)
            assert str(caught.value).startswith(str(tmp_path / name))
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_images_are_refused(tmp_path, suffix, share):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(IgcamError, match=f"a{suffix}"):
        load_image(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([".jpg", ".png", ".webp", ".tif"]),
    st.integers(0, 3000),
    st.binary(min_size=1, max_size=8),
)
def test_damaged_files_raise_nothing_but_igcam_errors(tmp_path, suffix, position, junk):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    position %= len(data)
    data[position : position + len(junk)] = junk
    path.write_bytes(bytes(data))
    problem = ""
    try:
        assert load_image(path).shape == (*image_size(path), 3)
    except IgcamError as error:
        problem = str(error)
    assert len(problem.splitlines()) <= 1


def test_find_images(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.webp", "sub/.hidden.jpg", ".dark/d.jpg", "notes.txt", "e.jpg.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a.png", "b.JPG", "sub/c.webp"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_find_images_follows_links_once(tmp_path):
    photo(tmp_path / "photos" / "a.jpg")
    photo(tmp_path / "elsewhere" / "b.jpg")
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    found = [path.relative_to(tmp_path / "photos").as_posix() for path in find_images(tmp_path / "photos")]
    assert found == ["a.jpg", "linked/b.jpg"]


def test_names(tmp_path):
    assert sample_name(tmp_path / "x" / "img.001.jpg", tmp_path) == "x/img.001"
    assert normal_name(r" .\x\a.jpg ") == "x/a.jpg"
    assert normal_name("u\u0308.jpg") == "\u00fc.jpg"
    index = name_index({"x/a": tmp_path / "x/a.JPG"})
    assert index == {"x/a": "x/a", "x/a.JPG": "x/a"}


def test_saving(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    save_png(tmp_path / "new" / "a.png", image)
    np.testing.assert_array_equal(load_image(tmp_path / "new" / "a.png"), image)
    save_jpeg(tmp_path / "a.jpg", np.full((16, 16, 3), 77, np.uint8))
    assert np.abs(load_image(tmp_path / "a.jpg").astype(int) - 77).max() <= 2
    with pytest.raises(ValueError, match="image must be uint8, got float64"):
        save_png(tmp_path / "b.png", image / 255)
