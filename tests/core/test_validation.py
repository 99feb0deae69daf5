from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, field, replace
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest

from igcam.core.errors import IgcamError
from igcam.core.validation import (
    Fraction,
    Tagged,
    between,
    from_plain,
    one_of,
    options,
    schema,
    to_plain,
    with_setting,
)
from igcam.methods.cam import CamOptions
from igcam.methods.options import FitOptions
from igcam.models.backbone import BackboneOptions


class Maps(Tagged):
    @classmethod
    def kinds(cls) -> Mapping[str, type]:
        return {"plain": Plain, "guided": Guided}


@options
class Plain(Maps):
    """Maps as they are."""

    power: Fraction = 1
    """Exponent."""


@options
class Guided(Maps):
    """Maps, guided."""

    side: Annotated[int, between(8, 64, or_zero=True)] = 0
    """Side of the grid."""
    seeds: Maps | None = None
    """Where they begin."""


@options
class Toy:
    """A toy."""

    maps: Maps = "guided"  # type: ignore[assignment]
    """Its maps."""
    plain: Plain = field(default_factory=lambda: Plain(0.5))
    """Some that are always there."""
    rule: Annotated[str, one_of(("all", "best"))] = "all"
    """Which are kept."""
    low: float = 0.0
    """Least."""
    weights: Path | None = None
    """A file."""

    def __post_init__(self) -> None:
        if self.low > self.plain.power:
            raise ValueError(f"low, plain.power: must rise, got {self.low}, {self.plain.power}")


def test_options_are_frozen_values() -> None:
    toy = Toy(Guided(8), Plain(1))
    assert toy == Toy(maps=Guided(side=8), plain=Plain(1.0))
    assert hash(toy) == hash(replace(Toy(), maps=Guided(8), plain=Plain()))
    assert (type(toy.plain.power), type(Plain().power)) == (float, float)
    assert Toy("plain").maps == Plain()
    with pytest.raises(FrozenInstanceError):
        toy.low = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"low": True}, "low must be a number, got True"),
        ({"low": float("inf")}, "low must be finite, got inf"),
        ({"low": 2}, "low, plain.power: must rise, got 2.0, 0.5"),
        ({"rule": "some"}, "rule must be one of all, best, got 'some'"),
        ({"weights": "x"}, "weights must be a Path, got 'x'"),
        ({"maps": "guide"}, "maps must be one of plain, guided, got 'guide'; did you mean guided?"),
        ({"maps": Toy()}, "maps must be one of plain, guided, got Toy("),
        ({"plain": {"power": 1}}, "plain must be a Plain, got {'power': 1}"),
        ({"rules": 1}, "there is no option rules; did you mean rule?"),
        ({"low": "x", "rule": 3}, "rule must be text, got 3; low must be a number, got 'x'"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(IgcamError) as caught:
        Toy(**values)
    assert str(caught.value).startswith(message)
    with pytest.raises(IgcamError, match="side must be 0 or 8 to 64, got 7"):
        Guided(7)


def test_a_field_of_several_kinds_names_its_kind_in_json() -> None:
    toy = Toy(Guided(seeds=Guided(seeds=Plain(0.25))))
    plain = json.loads(json.dumps(to_plain(toy)))
    inner = {"name": "guided", "side": 0, "seeds": {"name": "plain", "power": 0.25}}
    assert plain["maps"] == {"name": "guided", "side": 0, "seeds": inner}
    assert from_plain(Toy, plain) == toy
    assert from_plain(Toy, {"maps": "plain"}) == from_plain(Toy, {"maps": {"name": "plain"}}) == Toy(Plain())
    for maps, message in (
        ({"side": 8}, "maps must be one of plain, guided, got None"),
        ({"name": "plain", "side": 8}, "there is no option maps.side; known are power"),
        ({"name": "guided", "seeds": {"name": "plain", "power": 3}}, r"maps\.seeds\.power must be 0 to 1, got 3"),
    ):
        with pytest.raises(IgcamError, match=f"^run.json: {message}"):
            from_plain(Toy, {"maps": maps}, "run.json")


def test_a_name_stands_for_the_defaults_of_its_kind() -> None:
    assert with_setting(Toy(Guided(8)), "maps=plain").maps == Plain()
    assert with_setting(Toy(), "maps.seeds=plain", "maps.seeds.power=0.5").maps == Guided(seeds=Plain(0.5))
    assert with_setting(Toy(), "guided.seeds=guided", "guided.seeds.side=9").maps == Guided(seeds=Guided(9))
    assert with_setting(Toy(), 'maps={"name": "guided", "side": 9}', "maps.side=10").maps == Guided(10)
    for setting, message in (
        ("plain.side=8", "--set plain.side=8: there is no option plain.side; known are power"),
        ("maps.seed=plain", "--set maps.seed=plain: there is no option maps.seed; did you mean maps.seeds?"),
        ("guided.seeds.power=1", "--set guided.seeds.power=1: there is no option guided.seeds.power"),
        ("maps=guide", "--set: maps must be one of plain, guided, got 'guide'; did you mean guided?"),
    ):
        with pytest.raises(IgcamError) as caught:
            with_setting(Toy(), setting)
        assert str(caught.value) == message


def test_the_schema_describes_every_field() -> None:
    found = schema(Toy)
    jsonschema.Draft202012Validator.check_schema(found)
    check = jsonschema.Draft202012Validator(found).is_valid
    assert check(to_plain(Toy()))
    assert check({"maps": "plain"})
    assert check({"maps": {"name": "guided", "seeds": {"name": "plain", "power": 0.5}}})
    for wrong in (
        {"maps": "x"},
        {"maps": {"name": "plain", "side": 8}},
        {"rule": "x"},
        {"plain": {"power": 2}},
        {"x": 1},
    ):
        assert not check(wrong), wrong
    assert found["properties"]["plain"]["default"] == {"power": 0.5}
    assert found["properties"]["rule"] == {
        "default": "all",
        "description": "Which are kept.",
        "enum": ["all", "best"],
        "title": "Rule",
        "type": "string",
    }


def test_options_make_the_round_trip_through_json() -> None:
    options = FitOptions(
        method=CamOptions(crf=True),
        regime="finetune",
        backbone=BackboneOptions("vit_tiny", 16, Path("a/b.safetensors"), False, (3, -1), {"img_size": 96}),
        components=(1, 2),
    )
    assert from_plain(FitOptions, json.loads(json.dumps(to_plain(options)))) == options
    assert from_plain(FitOptions, {}) == FitOptions()


@pytest.mark.parametrize(
    ("setting", "position", "value"),
    [
        ("size=256", ("size",), 256),
        ("method=cam", ("method",), CamOptions()),
        ("flip=false", ("flip",), False),
        ("tag_prior=2", ("tag_prior",), 2.0),
        ("igcam.guide.learn.head.epochs=20", ("method", "guide", "learn", "head", "epochs"), 20),
        ("igcam.sharpen.affinity.dilations=[1,3]", ("method", "sharpen", "affinity", "dilations"), (1, 3)),
        ("igcam.classify.penalties=[1,0.5]", ("method", "classify", "penalties"), (1.0, 0.5)),
        ("backbone.weights=some/file.safetensors", ("backbone", "weights"), Path("some/file.safetensors")),
        ("backbone.weights=null", ("backbone", "weights"), None),
        ("backbone.output_stride=8", ("backbone", "output_stride"), 8),
        ('backbone.arguments={"img_size": 224}', ("backbone", "arguments"), {"img_size": 224}),
        ("backbone.name=a=b", ("backbone", "name"), "a=b"),
        ("finetune.scale=[1,1.5]", ("finetune", "scale"), (1.0, 1.5)),
    ],
)
def test_one_setting_changes_one_field(setting: str, position: tuple[str, ...], value: object) -> None:
    changed = with_setting(FitOptions(), setting)
    found: object = changed
    for name in position:
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)
    plain, before = to_plain(changed), to_plain(FitOptions())
    for part in (plain, before):
        for name in position[:-1]:
            part = part[name]
        part.pop(position[-1])
    assert plain == before


def test_settings_that_must_fit_each_other_are_given_together() -> None:
    changed = with_setting(FitOptions(), "backbone.levels=[-3,-2,-1]", "components=[1,2,3]")
    assert (changed.backbone.levels, changed.components) == ((-3, -2, -1), (1, 2, 3))
    assert with_setting(FitOptions()) == FitOptions()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("size", "--set size: must be NAME=VALUE"),
        ("sizes=3", "--set sizes=3: there is no option sizes; did you mean size?"),
        (
            "igcam.guide.lern.rounds=2",
            "--set igcam.guide.lern.rounds=2: there is no option igcam.guide.lern; did you ",
        ),
        ("igcam.guide.epochs=3", "--set igcam.guide.epochs=3: there is no option igcam.guide.epochs"),
        ("size.x=3", "--set size.x=3: there is no option size.x"),
        ("=3", "--set =3: there is no option "),
        ("size=big", "--set: size must be a whole number, got 'big'"),
        ("size=1.5", "--set: size must be a whole number, got 1.5"),
        ("size=true", "--set: size must be a whole number, got True"),
        ("size=null", "--set: size must be a whole number, got None"),
        ("size=8", "--set: size must be 32 to 4096, got 8"),
        ("flip=1", "--set: flip must be true or false, got 1"),
        ("flip=no", "--set: flip must be true or false, got 'no'"),
        ("method=3", "--set: method must be one of cam, "),
        ("method=magic", "--set: method must be one of cam, cam-tail, hfpl, igcam"),
        ("regime=warm", "--set: regime must be one of frozen, finetune, got 'warm'"),
        ("tag_prior=true", "--set: tag_prior must be a number, got True"),
        ("tag_prior=NaN", "--set: tag_prior must be finite, got nan"),
        ("seed=-1", "--set: seed must be 0 to 4294967295, got -1"),
        ("igcam=3", "--set: method must be one of cam, "),
        ("backbone.levels=-1", "--set: backbone.levels must be a list, got -1"),
        ('backbone.levels=["x"]', "--set: backbone.levels must be a whole number, got 'x'"),
        ("backbone.levels=[-1]", "--set: components must have one number for each of the 1 backbone.levels, got 2"),
        ("components=[8,0]", "--set: components must be at least 1, got 0"),
        ("backbone.weights=7", "--set: backbone.weights must be text, got 7"),
        ("backbone.arguments=7", "--set: backbone.arguments must be an object, got 7"),
        ("finetune.scale=[1]", "--set: finetune.scale must have 2 values, got 1"),
        ("finetune.scale=[1.2,0.8]", "--set: finetune.scale must be 0 < low <= high, got (1.2, 0.8)"),
        ("igcam.guide.learn.head.epochs=0", "--set: method.guide.learn.head.epochs must be at least 1, got 0"),
        ("igcam.reweight.weights.low=-1", "--set: method.reweight.weights.low, high: must satisfy"),
        (
            "igcam.guide.learn.pseudo_labels.crf.iterations=-1",
            "--set: method.guide.learn.pseudo_labels.crf.iterations must be at least 0",
        ),
        ("igcam.sharpen.strides=[1,8]", "--set: method.sharpen.strides: must fall"),
        ("igcam.sharpen.affinity.dilations=[]", "--set: method.sharpen.affinity.dilations must be one or more values"),
        (
            "igcam.background.rule=best",
            "--set: method.background.rule must be one of constant, otsu, power, got 'best'",
        ),
        ('igcam.guide.learn.head={"epoch": 3}', "--set: there is no option method.guide.learn.head.epoch; did"),
        ("without=classify", "--set: without must be a list, got 'classify'"),
        ('without=["classify"]', "--set: without must be one of guide, reweight, sharpen, crf, got classify"),
        ('without=["guide","x"]', "--set: without must be one of guide, reweight, sharpen, crf, got x"),
        ("crf=best", "--set: crf must be one of irn, "),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(setting: str, message: str) -> None:
    with pytest.raises(IgcamError) as caught:
        with_setting(FitOptions(), setting)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_unknown_field_of_a_file_is_told_with_the_file() -> None:
    with pytest.raises(IgcamError, match=r"run\.json: there is no option method\.speed; known are maps, classify, "):
        from_plain(FitOptions, {"method": {"name": "igcam", "speed": 3}}, "run.json")


def test_stages_are_switched_off() -> None:
    options = FitOptions()
    assert options.leave_out([]) == options
    assert options.leave_out(["crf", "guide"]).mask_stages == ("cam", "reweight", "sharpen")
    assert options.leave_out(["guide", "reweight", "sharpen", "crf"]).mask_stages == ("cam",)
    cam = FitOptions(method=CamOptions(crf=True))
    assert cam.mask_stages == ("cam", "crf")
    assert cam.leave_out(["crf"]).mask_stages == ("cam",)
    with pytest.raises(IgcamError, match="without must be one of guide, reweight, sharpen, crf, got classify, x"):
        options.leave_out(["classify", "x"])
