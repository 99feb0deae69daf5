from __future__ import annotations

from pathlib import Path

import pytest

from igcam.core.errors import IgcamError
from igcam.data.sample import Dataset, Sample
from igcam.data.tags import read_tag_table
from igcam.label_quality.suspect_table import apply_fixes, check_unanswered

DATA = Dataset(
    ("cat", "dog"),
    (Sample("a", Path("a.jpg"), (0,)), Sample("b/b", Path("b.jpg"), ()), Sample("c", Path("c.jpg"), (0, 1))),
)


def table(folder: Path, *rows: str, header: str = "rank,image,class,kind,fix") -> Path:
    path = folder / "fixes.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_answers_are_applied_to_a_new_table(tmp_path: Path) -> None:
    fixes = table(tmp_path, "1,a,cat,wrong,yes", "2,b/b,dog,missing, Y ", "3,c,dog,wrong,no", "4,c,cat,wrong,")
    assert apply_fixes(DATA, fixes, tmp_path / "new" / "tags.csv") == 2
    rows = read_tag_table(tmp_path / "new" / "tags.csv").rows
    assert [(row.image, row.tags) for row in rows] == [("a", ()), ("b/b", ("dog",)), ("c", ("cat", "dog"))]


def test_no_table_is_overwritten(tmp_path: Path) -> None:
    fixes = table(tmp_path, "1,a,cat,wrong,yes")
    (tmp_path / "tags.csv").write_text("mine")
    with pytest.raises(IgcamError, match="exists"):
        apply_fixes(DATA, fixes, tmp_path / "tags.csv")
    assert (tmp_path / "tags.csv").read_text() == "mine"


def test_all_wrong_rows_are_listed(tmp_path: Path) -> None:
    fixes = table(
        tmp_path,
        "1,aa,cat,wrong,yes",
        "2,a,dgo,missing,yes",
        "3,a,cat,missing,yes",
        "4,b/b,dog,wrong,yes",
        "5,a,cat,odd,yes",
        "6,a,cat,wrong,perhaps",
        "7,a,cat,wrong,yes",
        "8,a,cat,wrong,yes",
    )
    with pytest.raises(IgcamError) as caught:
        apply_fixes(DATA, fixes, tmp_path / "new.csv")
    lines = str(caught.value).splitlines()
    assert len(lines) == 8
    assert "7 rows are wrong" in lines[0]
    for number, words in (
        (2, "no image 'aa'; did you mean 'a'"),
        (3, "no class 'dgo'; did you mean 'dog'"),
        (4, "is tagged with cat, so that cannot be missing"),
        (5, "is not tagged with dog, so that cannot be wrong"),
        (6, "kind must be wrong or missing, got 'odd'"),
        (7, "fix must be yes, no or empty, got 'perhaps'"),
        (9, "says the same as row 8"),
    ):
        assert any(f"row {number}: " in line and words in line for line in lines), words
    assert not (tmp_path / "new.csv").exists()


def test_tables_of_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IgcamError, match="lacks kind, fix"):
        apply_fixes(DATA, table(tmp_path, "a,cat", header="image,class"), tmp_path / "new.csv")
    with pytest.raises(IgcamError, match="must have rows"):
        apply_fixes(DATA, table(tmp_path), tmp_path / "new.csv")
    with pytest.raises(IgcamError, match="nothing to apply"):
        apply_fixes(DATA, table(tmp_path, "1,a,cat,wrong,no"), tmp_path / "new.csv")
    with pytest.raises(IgcamError, match="cannot be read"):
        apply_fixes(DATA, tmp_path / "absent.csv", tmp_path / "new.csv")
    # A row that is cut short has no answer.
    with pytest.raises(IgcamError, match="nothing to apply"):
        apply_fixes(DATA, table(tmp_path, "1,a,cat,wrong"), tmp_path / "new.csv")


def test_answers_are_not_overwritten(tmp_path: Path) -> None:
    check_unanswered(tmp_path / "absent.csv")
    check_unanswered(table(tmp_path, "1,a,cat,wrong,"))
    with pytest.raises(IgcamError, match="has your answers"):
        check_unanswered(table(tmp_path, "1,a,cat,wrong,", "2,b/b,dog,missing,no"))
