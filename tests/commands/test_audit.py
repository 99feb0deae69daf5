from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from igcam.commands.audit import Audit, audit
from igcam.core.errors import IgcamError
from igcam.core.files import read_array
from igcam.data.sample import Dataset
from igcam.label_quality.suspect_table import COLUMNS, write_suspects
from igcam.label_quality.tag_scores import AuditOptions
from igcam.methods.classifier import Classifier
from igcam.models.linear_head import cross_fit
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder

OPTIONS = AuditOptions(penalties=(0.05,), repeats=2, folds=4)


@pytest.fixture(scope="module")
def found(tiny_run: RunFolder) -> Audit:
    return audit(tiny_run, limit=30, options=OPTIONS)


def test_suspects_are_ranked_and_say_what_the_tags_say(found: Audit, tiny_data: Dataset) -> None:
    scores = [item.score for item in found.suspects]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 30
    assert scores[0] == pytest.approx(found.suspicion.log_odds.max())
    for item in found.suspects:
        sample = tiny_data.samples[item.image]
        tagged = tiny_data.classes.index(item.label) in (sample.tags or ())
        assert item.name == sample.name
        assert item.kind == ("wrong" if tagged else "missing")
        assert item.probability == pytest.approx(1 / (1 + np.exp(-item.score)))


def test_spatial_maps_sum_to_the_image(found: Audit, tiny_run: RunFolder, tiny_data: Dataset) -> None:
    classifier = RunArtefacts(tiny_run).load("classify/head", Classifier.from_tensors)
    pooled = read_array(tiny_run.file("stages", "features", "pooled.npy")).astype(np.float64)
    fitted = cross_fit(pooled * classifier.scale, tiny_data.tag_matrix(), classifier.head.l2, 4, 0)
    for item in found.suspects[:5]:
        c = tiny_data.classes.index(item.label)
        assert item.influence.sum() == pytest.approx(fitted.influence[item.image, c], rel=1e-2, abs=1e-5)
        assert item.scores.mean() == pytest.approx(fitted.logits[item.image, c], rel=1e-2, abs=1e-2)


def test_the_table_can_be_read_and_has_room_for_answers(found: Audit, tmp_path: Path) -> None:
    write_suspects(tmp_path / "suspects.csv", found.suspects)
    with (tmp_path / "suspects.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 31)]
    assert {row["fix"] for row in rows} == {""}
    assert float(rows[3]["score"]) == pytest.approx(found.suspects[3].score, rel=1e-4)


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path, tiny_run: RunFolder) -> None:
    with pytest.raises(IgcamError, match="is not a run folder"):
        audit(tmp_path)
    with pytest.raises(IgcamError, match="limit"):
        audit(tiny_run, limit=0)
