from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import mask, photo, photos, rotated_photo
from PIL import Image

from igcam.core.errors import IgcamError
from igcam.data.check import check_folder, has_errors
from igcam.data.findings import Finding, raise_errors, sort_findings
from igcam.data.formats.folder import examine_folder


def summary(findings):
    return [(finding.level, Path(finding.file).name, finding.rule) for finding in findings]


@pytest.fixture
def folder(tmp_path):
    photos(tmp_path / "photos", "a.jpg", "b.jpg")
    mask(tmp_path / "masks" / "a.png", 1)
    (tmp_path / "tags.csv").write_text("image,tags\na,cat\nb,dog\n")
    (tmp_path / "cues.jsonl").write_text('{"image": "a", "class": "cat", "kind": "point", "point": [3, 3]}')
    return tmp_path


def check(folder, **options):
    options = {
        "tags": folder / "tags.csv",
        "cues": folder / "cues.jsonl",
        "masks": folder / "masks",
    } | options
    return check_folder(folder / "photos", **options)


def test_a_good_folder_has_no_findings(folder):
    assert check(folder) == []
    assert not has_errors([])


def test_every_trouble_has_its_finding(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    where = folder / "photos"
    (where / "broken.jpg").write_text("no image")
    (where / "cut.jpg").write_bytes((where / "a.jpg").read_bytes()[:3000])
    Image.fromarray(pixels[..., 0]).save(where / "grey.png")
    Image.fromarray(pixels).convert("CMYK").save(where / "press.jpg")
    Image.fromarray(np.dstack([pixels, pixels[..., 0]])).save(where / "clear.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(where / "deep.png")
    photo(where / "tiny.png", 12, 90)
    photo(where / "small.png", 40, 90)
    Image.fromarray(pixels).save(where / "pages.tif", save_all=True, append_images=[Image.fromarray(pixels)])
    rotated_photo(where / "turned.jpg", 6)
    mask(folder / "masks" / "turned.png", 1)
    names = ["broken", "cut", "grey", "press", "clear", "deep", "tiny", "small", "pages", "turned"]
    with (folder / "tags.csv").open("a") as table:
        table.write("".join(f"{name},cat\n" for name in names))
    findings = check(folder)
    assert summary(findings) == [
        ("error", "turned.png", "mask-size"),
        ("error", "broken.jpg", "unreadable"),
        ("warning", "clear.png", "alpha"),
        ("error", "cut.jpg", "unreadable"),
        ("warning", "deep.png", "16-bit"),
        ("warning", "deep.png", "greyscale"),
        ("warning", "grey.png", "greyscale"),
        ("warning", "pages.tif", "frames"),
        ("warning", "press.jpg", "cmyk"),
        ("warning", "small.png", "small"),
        ("error", "tiny.png", "tiny"),
        ("warning", "turned.jpg", "rotated"),
    ]
    by_file = {Path(finding.file).name: finding for finding in findings}
    assert "rotate the mask" in by_file["turned.png"].message
    assert "70 x 90 pixels" in by_file["turned.jpg"].message
    assert "truncated" in by_file["cut.jpg"].message
    assert str(folder) not in by_file["cut.jpg"].message
    assert check(folder, workers=4) == findings


def test_only_warnings_do_not_block(folder):
    Image.fromarray(np.zeros((70, 90), np.uint8)).save(folder / "photos" / "grey.png")
    findings = check(folder)
    assert summary(findings) == [
        ("warning", "grey.png", "greyscale"),
        ("warning", "grey.png", "image-without-tags"),
    ]
    assert not has_errors(findings)


def test_masks_are_read(folder):
    mask(folder / "masks" / "a.png", 1, 2)
    mask(folder / "masks" / "b.png", 7)
    assert summary(check(folder)) == [
        ("warning", "a.png", "mask-without-tag"),
        ("error", "b.png", "bad-mask"),
    ]


def test_table_and_cues_are_reported_together(folder):
    (folder / "tags.csv").write_text("image,tags\na,cat\nb,dog\nc,dog\nb,cat\n")
    cue = '{"image": "%s", "class": "%s", "kind": "point", "point": [3, 300]}'
    lines = [cue % pair for pair in (("a", "cat"), ("a", "dog"), ("b", "cat"), ("q", "cat"))]
    (folder / "cues.jsonl").write_text("\n".join(lines))
    found = [(Path(finding.file).name, finding.line, finding.rule) for finding in check(folder)]
    assert found == [
        ("cues.jsonl", 1, "outside"),
        ("cues.jsonl", 2, "class-without-tag"),
        ("cues.jsonl", 3, "outside"),
        ("cues.jsonl", 4, "unknown-image"),
        ("tags.csv", 4, "tags-without-image"),
        ("tags.csv", 5, "contradicting-row"),
    ]


def test_nothing_there_is_a_finding(tmp_path):
    findings = check_folder(tmp_path / "p", tmp_path / "t.csv", tmp_path / "c.jsonl", tmp_path / "m")
    assert sorted(summary(findings)) == [
        ("error", "c.jsonl", "unreadable"),
        ("error", "m", "no-masks"),
        ("error", "p", "no-photos"),
        ("error", "t.csv", "bad-table"),
    ]


def test_reading_and_checking_agree(folder):
    """What `read_folder` raises is what `check_folder` finds without pixels."""
    (folder / "tags.csv").write_text("image,tags\na,cat\nz,dog\nb,background\n")
    findings = examine_folder(folder / "photos", folder / "tags.csv")[1]
    assert set(findings) <= set(check_folder(folder / "photos", folder / "tags.csv"))
    assert has_errors(findings)


def test_one_folder_a_class(tmp_path):
    photos(tmp_path, "cat/a.jpg", "dog/b.jpg")
    assert check_folder(tmp_path, None) == []
    assert summary(check_folder(tmp_path, None, classes=["cat"])) == [("error", "dog", "unknown-class")]


def test_findings_as_text():
    finding = Finding("error", "tags.csv", "bad-row", "names no image", 4)
    assert str(finding) == "error: tags.csv:4: names no image [bad-row]"
    other = Finding("warning", "a.jpg", "rotated", "is rotated")
    assert str(other) == "warning: a.jpg: is rotated [rotated]"
    assert sort_findings([finding, other, finding]) == [other, finding]
    raise_errors("x", [other])
    with pytest.raises(IgcamError, match=r"^tags\.csv:4: names no image$"):
        raise_errors("x", [other, finding])
