from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from data_files import png_bytes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from igcam.core.errors import IgcamError
from igcam.data.masks import (
    FORBIDDEN,
    IGNORE,
    MaskFile,
    class_lookup,
    ids_in_words,
    lookup_for,
    present_ids,
    read_mask_file,
    tags_in_mask,
    voc_palette,
    write_mask,
)

MASK = np.array([[0, 1, 2], [7, 254, 255]], np.uint8)


def test_palette_is_that_of_voc():
    palette = voc_palette().tolist()
    assert palette[:5] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    # Colours of sheep, tvmonitor and of the ignored border in VOC's masks.
    assert [palette[17], palette[20], palette[255]] == [[128, 64, 0], [0, 64, 128], [224, 224, 192]]
    assert len({tuple(colour) for colour in palette}) == 256


def test_masks_survive_writing(tmp_path):
    write_mask(tmp_path / "new" / "a.png", MASK)
    np.testing.assert_array_equal(read_mask_file(tmp_path / "new" / "a.png"), MASK)
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((1, 0)) == (128, 0, 0)


@pytest.mark.parametrize("wrong", [MASK.astype(np.int64), MASK[None]])
def test_only_uint8_planes_are_written(tmp_path, wrong):
    with pytest.raises(ValueError, match="mask must be uint8"):
        write_mask(tmp_path / "a.png", wrong)


def test_grey_values_are_ids(tmp_path):
    Image.fromarray(MASK).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask_file(tmp_path / "a.png"), MASK)


@pytest.mark.parametrize(
    ("bits", "row", "ids"),
    [(1, b"\x50", [0, 1, 0, 1]), (2, b"\x1b", [0, 1, 2, 3]), (4, b"\x0f\x3a", [0, 15, 3, 10])],
)
@pytest.mark.parametrize("colour", [0, 3])
def test_few_bits_are_not_stretched(tmp_path, bits, row, ids, colour):
    data = png_bytes([row], width=4, bits=bits, colour=colour)
    if colour == 3:
        palette = b"PLTE" + bytes(range(3 * 2**bits))
        chunk = struct.pack(">I", len(palette) - 4) + palette + struct.pack(">I", zlib.crc32(palette))
        data = data[:33] + chunk + data[33:]
    (tmp_path / "a.png").write_bytes(data)
    assert read_mask_file(tmp_path / "a.png").tolist() == [ids]
    assert MaskFile(tmp_path / "a.png").ids() == sorted(set(ids))


def test_files_that_are_no_masks(tmp_path):
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "colour.png")
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "lossy.jpg")
    Image.fromarray(np.zeros((20, 20), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "text.png").write_text("text")
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (50, 50), np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:400])
    for name, rule in {
        "colour.png": "mode RGB",
        "lossy.jpg": "JPEG",
        "deep.png": "8 bits",
        "text.png": "not a mask",
        "cut.png": "not a mask",
        "absent.png": "does not exist",
    }.items():
        for read in (read_mask_file, lambda path: MaskFile(path).ids()):
            with pytest.raises(IgcamError, match=rule) as caught:
                read(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)
            assert "\n" not in str(caught.value)


def test_lookup_translates_and_forbids(tmp_path):
    write_mask(tmp_path / "a.png", np.array([[0, 8, 12, 15, 255]], np.uint8))
    source = MaskFile(tmp_path / "a.png", lookup_for({8: "cat", 12: "dog", 15: "person"}, ["person", "cat"]))
    assert source.read().tolist() == [[0, 2, 0, 1, 255]]
    assert source.ids() == [0, 1, 2, 255]
    strict = MaskFile(tmp_path / "a.png", class_lookup(8))
    for read in (strict.read, strict.ids):
        with pytest.raises(IgcamError, match=r"a\.png: has ids 12, 15; allowed are 0-8, 255"):
            read()


def test_lookups_are_whole():
    assert class_lookup(2)[:4] == (0, 1, 2, FORBIDDEN)
    assert class_lookup(254).count(FORBIDDEN) == 0
    assert lookup_for({1: "a"}, [])[:3] == (0, 0, FORBIDDEN)
    with pytest.raises(ValueError, match="256 entries, got 3"):
        MaskFile("a.png", (0, 1, 2))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_present_ids(mask):
    assert present_ids(mask) == np.unique(mask).tolist()
    assert tags_in_mask(mask) == tuple(np.setdiff1d(mask, [0, IGNORE]) - 1)


def test_ids_in_words():
    assert ids_in_words([255, 0, 2, 1, 9]) == "0-2, 9, 255"
    assert ids_in_words([]) == ""
