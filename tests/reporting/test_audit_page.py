from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_report_page import HOSTILE, Page

from igcam.commands.audit import Audit
from igcam.core.errors import IgcamError
from igcam.data.images import save_jpeg
from igcam.data.sample import Dataset, Sample
from igcam.data.synthetic.scenes import SceneOptions, make_scene
from igcam.label_quality.next_cue import Proposal
from igcam.label_quality.suspects import Suspect
from igcam.label_quality.suspicion import Suspicion
from igcam.reporting import signed_overlay, write_audit_page


@pytest.fixture
def found(tmp_path: Path) -> Audit:
    """Three images of two classes; the first lacks `owl`, the second has a wrong `fox`."""
    samples = []
    for index, tags in enumerate(((0,), (0, 1), ())):
        path = tmp_path / f"{index}.jpg"
        save_jpeg(path, make_scene(index, options=SceneOptions(size=64)).image)
        samples.append(Sample(f"farm/{index}", path, tags))
    odds = np.array([[-4.0, 1.5], [0.4, -3.0], [-2.0, -5.0]])
    suspicion = Suspicion(odds, np.full((3, 2), 0.5), 0.125, 0.02, np.ones(3))
    maps = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)
    suspects = (
        Suspect(0, "farm/0", "owl", "missing", 0.82, 1.5, 2.0, 1.0, 9.0, -0.01, maps * 8, maps),
        Suspect(1, "farm/1", "fox", "wrong", 0.6, 0.4, -2.0, -1.0, 1.0, 0.002, maps, -maps),
        Suspect(2, "farm/2", "fox", "missing", 0.12, -2.0, -1.0, -1.0, 1.0, 0.002, maps, 0 * maps),
    )
    return Audit(Dataset(("fox", "owl"), tuple(samples)), suspicion, np.array([6.0, 8.0]), suspects)


def test_the_page_tells_what_was_found(found: Audit, tmp_path: Path) -> None:
    page = Page(write_audit_page("farm", found, tmp_path / "audit.html", pictures=2))
    assert "3 images, 2 classes: fox and owl. 1 tag probably wrong of 3, and 1 tag probably missing." in page.text
    assert "12.5% of the true tags are missing" in page.text
    assert page.headings == ["farm", "Suspicious tags", "1. farm/0", "2. farm/1", "More of them"]
    assert "owl: probably missing, 82%" in page.text
    assert "fox: probably wrong, 60%" in page.text
    assert "with the tag added the loss of other images falls by 0.0100" in page.text
    assert "without the tag the loss of other images rises by 0.0020" in page.text
    assert page.tables[0][1] == ["3", "farm/2", "fox", "missing", "12%"]
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 6
    assert all(str(item["src"]).startswith("data:image/jpeg") and item["alt"] for item in images)


def test_proposals_have_their_table(found: Audit, tmp_path: Path) -> None:
    proposals = [Proposal(2, "mask", 219.7, 3.0), Proposal(0, "point", 2.1, 1.0)]
    page = Page(write_audit_page("farm", found, tmp_path / "audit.html", proposals, pictures=0))
    assert page.headings[1] == "What to annotate next, in 3 min 42 s"
    assert page.tables[0][1:] == [
        ["1", "farm/2", "mask", "3 min 40 s", "75%"],
        ["2", "farm/0", "point", "2.1 s", "25%"],
    ]
    assert len(page.tables[1]) == 4


def test_names_cannot_break_it_and_lost_photos_are_named(found: Audit, tmp_path: Path) -> None:
    found.dataset.samples[1].image.unlink()
    hostile = replace(found, suspects=(replace(found.suspects[0], name=HOSTILE), *found.suspects[1:]))
    page = Page(write_audit_page(HOSTILE, hostile, tmp_path / "audit.html"))
    assert "<script" not in page.source
    assert HOSTILE in page.text
    assert "Not shown:" in page.text
    assert "1.jpg" in page.text


def test_pictures_are_limited(found: Audit, tmp_path: Path) -> None:
    with pytest.raises(IgcamError, match="pictures"):
        write_audit_page("farm", found, tmp_path / "audit.html", pictures=101)


def test_red_harms_and_blue_helps() -> None:
    photo = np.full((4, 8, 3), 128, np.uint8)
    overlay = signed_overlay(photo, np.array([[1.0, -1.0]])).astype(int)
    assert overlay[0, 0, 0] > overlay[0, 0, 2] + 60
    assert overlay[0, 7, 2] > overlay[0, 7, 0] + 60
    np.testing.assert_array_equal(
        signed_overlay(photo, np.zeros((2, 2)))[..., 0], signed_overlay(photo, np.zeros((2, 2)))[..., 2]
    )
