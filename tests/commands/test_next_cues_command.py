from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from igcam.commands.next_cues import cue_prices, propose_cues, write_proposals
from igcam.core.errors import IgcamError
from igcam.core.files import read_array, read_json, write_json
from igcam.data.sample import Dataset
from igcam.label_quality.next_cue import map_uncertainty, next_cues, rarity
from igcam.models.linear_head import power_normalised
from igcam.runs.folder import RunFolder


def test_proposals_of_a_run_keep_the_budget(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    proposals = propose_cues(tiny_run, 700, kinds=["mask"])
    assert len(proposals) == 3
    assert {item.seconds for item in proposals} == {219.7}
    write_proposals(tmp_path / "next.csv", tiny_data, proposals)
    with (tmp_path / "next.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == [tiny_data.names[item.image] for item in proposals]


def test_images_with_cues_are_not_proposed(tiny_run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(shutil.copytree(tiny_run.path, tmp_path / "run"))
    content = read_json(copy.file("samples.json"))
    first = propose_cues(copy, 220, kinds=["mask"])[0].image
    content["samples"][first]["cues"] = {"mask": 1}
    write_json(copy.file("samples.json"), content)
    left = propose_cues(copy, 1e6, kinds=["mask"])
    assert first not in {item.image for item in left}


def test_prices_are_those_beyond_the_tags() -> None:
    prices = cue_prices(["point", "mask"], {"mask": 120.0, "tags": 10.0})
    assert prices == pytest.approx({"point": 12.1, "mask": 110.0})


def test_all_errors_are_listed_at_once() -> None:
    with pytest.raises(IgcamError) as caught:
        cue_prices(["lasso", "box"], {"box": 3.0, "brush": 1.0})
    text = str(caught.value)
    for words in ("got lasso", "got brush", "cost of box must be above that of the tags, 20 s, got 3"):
        assert words in text
    with pytest.raises(IgcamError, match="at least one"):
        cue_prices([], {})


def test_a_run_without_maps_is_refused(tiny_run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(shutil.copytree(tiny_run.path, tmp_path / "run"))
    for file in copy.path.glob("stages/*/maps.npy"):
        file.unlink()
    with pytest.raises(IgcamError, match="has no maps"):
        propose_cues(copy, 100)


def test_uncertain_maps_and_rare_classes_gain_more(tiny_run: RunFolder, tiny_data: Dataset) -> None:
    maps = read_array(tiny_run.file("stages", "reweight", "maps.npy"))
    features = power_normalised(read_array(tiny_run.file("stages", "features", "pooled.npy"))).features
    need = map_uncertainty(maps) * rarity(tiny_data.tag_matrix())
    proposals = propose_cues(tiny_run, 700, kinds=["mask"])
    assert proposals == next_cues(need, features, 700, cue_prices(["mask"], {}))
    assert proposals != next_cues(map_uncertainty(maps), features, 700, cue_prices(["mask"], {}))
