from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from igcam.core.errors import IgcamError
from igcam.core.validation import from_plain, to_plain, with_setting
from igcam.methods.distill import DistillOptions
from igcam.methods.igcam.method import IgcamOptions
from igcam.models.backbone import BackboneOptions
from igcam.runs.old_options import NEW_NAMES, modernise, new_name

OLD = json.loads(Path(__file__).with_name("options-0.1.0.json").read_text("utf-8"))
"""All options of version 0.1.0, each with a value that is no default."""


def leaves(plain: Any) -> list[Any]:
    if isinstance(plain, dict):
        return [leaf for value in plain.values() for leaf in leaves(value)]
    return [plain]


@pytest.mark.parametrize(("part", "kind"), [("igcam", IgcamOptions), ("distill", DistillOptions)])
def test_every_option_of_the_first_version_has_its_place(part: str, kind: type) -> None:
    plain = modernise(OLD)[part]
    assert leaves(plain) == leaves(OLD[part])
    assert plain.items() <= to_plain(from_plain(kind, plain)).items()


def test_every_new_name_is_needed() -> None:
    def used(plain: dict[str, Any], inside: str = "") -> set[str]:
        found = {name if f"{inside}.{name}" not in NEW_NAMES else f"{inside}.{name}" for name in plain}
        return found.union(*(used(value, name) for name, value in plain.items() if isinstance(value, dict)))

    assert set(NEW_NAMES) <= used(OLD)


def test_names_of_today_stay() -> None:
    plain = to_plain(IgcamOptions())
    assert modernise(plain) == plain
    arguments = {"backbone": {"arguments": {"most": 3}}}
    assert modernise(arguments) == arguments
    assert new_name("guide.learn.rounds") is None


def test_an_old_name_is_told_with_the_new_one() -> None:
    with pytest.raises(IgcamError) as caught:
        with_setting(IgcamOptions(), "noisy_tags.weight=1", "doubt.evidence.folds=3", new_name=new_name)
    assert str(caught.value).endswith(
        "evidence.folds=3: there is no option doubt.evidence.folds; it is called noisy_tags.scores.folds now"
    )
    with pytest.raises(IgcamError, match="there is no option nam; did you mean name"):
        with_setting(BackboneOptions(), "nam=x", new_name=new_name)
