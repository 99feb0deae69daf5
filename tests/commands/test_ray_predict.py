from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import contents

from igcam.commands.label import LABEL, label
from igcam.commands.predict import Cluster, PredictOptions, predict
from igcam.commands.predicting import ray as module
from igcam.core.errors import IgcamError
from igcam.data.sample import Dataset, Sample
from igcam.runs.folder import RunFolder

PLAIN = PredictOptions(stages=())
HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason='needs Ray: pip install "igcam[ray]"')
def test_two_workers_give_what_one_process_gives(
    tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no photo")
    data = replace(tiny_data, samples=(*tiny_data.samples, Sample("broken", tmp_path / "in" / "broken.jpg")))
    alone = predict(data, tiny_run, tmp_path / "alone", PLAIN)
    # More parts than workers.
    monkeypatch.setattr(module, "CHUNK", 4)
    counts: list[tuple[int, int]] = []
    found = predict(
        data,
        tiny_run,
        tmp_path / "ray",
        PLAIN,
        cluster=Cluster(2),
        confidence=tmp_path / "sure",
        progress=lambda task, done, total: counts.append((done, total)),
    )
    assert found.problems == alone.problems
    assert len(found.problems) == 1
    assert contents(tmp_path / "ray", "*") == contents(tmp_path / "alone", "*")
    assert set(contents(tmp_path / "sure", "*")) == set(contents(tmp_path / "alone", "*"))
    assert counts[-1] == (17, 17)
    assert len(counts) == 5
    tagged = replace(LABEL, stages=())
    label(tiny_data, tiny_run, tmp_path / "labelled", tagged)
    label(tiny_data, tiny_run, tmp_path / "ray-labelled", tagged, cluster=Cluster(2))
    assert contents(tmp_path / "ray-labelled", "*") == contents(tmp_path / "labelled", "*")
    # A second call finds its masks, and starts no cluster.
    (tmp_path / "in" / "broken.jpg").unlink()
    whole = replace(tiny_data, samples=tiny_data.samples)
    monkeypatch.setattr(module, "_results", lambda *_: pytest.fail("nothing was left to do"))
    assert len(predict(whole, tiny_run, tmp_path / "ray", PLAIN, cluster=Cluster()).files) == len(tiny_data)


def test_without_ray_it_is_one_line(
    tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(IgcamError, match=r'^--ray: needs Ray: pip install "igcam\[ray\]"$'):
        predict(tiny_data, tiny_run, tmp_path, cluster=Cluster())
    with pytest.raises(IgcamError, match=r"^--ray: must be at least 1 worker, got 0$"):
        Cluster(0)
