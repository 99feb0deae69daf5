from __future__ import annotations

import csv
from pathlib import Path

from command import Command

from igcam.data.tags import read_tag_table
from igcam.runs.folder import RunFolder


def test_from_audit_to_corrected_tags(
    igcam: Command,
    tiny_run: RunFolder,
    tmp_path: Path,
) -> None:
    out = tmp_path / "audit"
    status, text = igcam("audit", "--run", tiny_run.path, "--out", out, "--limit", 12, "--pictures", 2, "--budget", 300)
    assert status == 0
    assert "probably wrong or missing" in text
    assert "next cues:" in text
    assert {file.name for file in out.iterdir()} == {"suspects.csv", "next-cues.csv", "audit.html"}
    with (out / "suspects.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    rows[0]["fix"] = "yes"
    with (out / "suspects.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    status, text = igcam("audit", "--run", tiny_run.path, "--out", out)
    assert status == 2
    assert "has your answers" in text
    status, text = igcam("audit", "--run", tiny_run.path, "--out", out, "--apply", out / "suspects.csv")
    assert status == 0
    assert "1 tags changed" in text
    tags = {row.image: row.tags for row in read_tag_table(out / "corrected-tags.csv").rows}
    assert (rows[0]["class"] in tags[rows[0]["image"]]) == (rows[0]["kind"] == "missing")
    status, text = igcam("audit", "--run", tiny_run.path, "--out", out, "--apply", out / "suspects.csv")
    assert status == 2
    assert "exists" in text


def test_mistakes_are_told_in_a_line(
    igcam: Command,
    tiny_run: RunFolder,
    tmp_path: Path,
) -> None:
    assert igcam("audit", "--run", tmp_path)[0] == 2
    run = ("audit", "--run", tiny_run.path, "--out", tmp_path / "out")
    for arguments, words in (
        (("--kind", "mask"), "need --budget"),
        (("--budget", 100, "--cost", "mask"), "--cost: must be KIND=SECONDS, got mask"),
        (("--budget", 100, "--kind", "lasso"), "got lasso"),
        (("--budget", -1), "budget"),
    ):
        status, text = igcam(*run, *arguments)
        assert status == 2
        assert words in text
    assert not (tmp_path / "out").exists()


def test_the_old_name_of_the_limit_still_works(igcam: Command, tiny_run: RunFolder, tmp_path: Path) -> None:
    assert igcam("audit", "--run", tiny_run.path, "--out", tmp_path, "--most", 3, "--pictures", 0)[0] == 0
    assert len((tmp_path / "suspects.csv").read_text().splitlines()) == 1 + 3
    assert "--most" not in igcam("audit", "--help")[1]
