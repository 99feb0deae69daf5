"""The options of a run, their JSON form, and changing one by its dotted name."""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from igcam.core.errors import IgcamError, check_ranges
from igcam.methods.base import Method, MethodOptions, Refinement, Stage
from igcam.methods.registry import find, method_of
from igcam.methods.training.finetune import FinetuneOptions
from igcam.models.backbone import BackboneOptions
from igcam.refine.crf import CRF_PRESETS

FORMS: dict[Any, type] = {bool: bool, int: int, float: float, str: str, Path: str, tuple: list, Mapping: dict}
"""What a field's value is in JSON, by its type in Python."""
WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}

Options = TypeVar("Options")


@dataclass(frozen=True)
class FitOptions:
    """Everything that decides the outcome of a run, besides the data.

    >>> options = igcam.FitOptions(method="cam", size=256)
    >>> options.mask_stages
    ('cam',)
    """

    method: MethodOptions | str = "igcam"
    """Options of the method, or its name for its defaults."""
    regime: str = "frozen"
    """`frozen`: the backbone stays as it is; `finetune`: it is trained on the tags first."""
    backbone: BackboneOptions = field(default_factory=lambda: BackboneOptions(levels=(-2, -1)))
    """Network, weights, output stride and levels; the last level classifies, all of them feed the head."""
    size: int = 384
    """Side of the square that photos are resized to for the network."""
    flip: bool = True
    """Use the mirrored view too."""
    components: tuple[int, ...] = (128, 256)
    """Principal components kept of each level, for the segmentation head."""
    grouping_level: int = -1
    """Which of the backbone's levels is grouped into proposals, by its index among them: the last suits a network
    trained on many classes, an inner one a network trained on the tags alone."""
    tag_prior: float | None = None
    """Without tags, the weight of the tag prior of the whole photo: 0 predicts every location by itself; null takes 1,
    or 0.5 in the finetune regime, whose network is overconfident on what it was trained on."""
    object_prior: float | None = None
    """Without tags, the weight of the class of all similar locations, for locations of objects; null takes 1, or 0 in
    the finetune regime."""
    finetune: FinetuneOptions = field(default_factory=FinetuneOptions)
    """Training of the backbone in the finetune regime."""
    without: tuple[str, ...] = ()
    """Optional stages that are switched off."""
    crf: str = "afa"
    """Preset of the dense CRF, see `igcam.refine.CRF_PRESETS`."""
    crf_side: int = 0
    """Longer side in pixels of the photos that the preset's widths are for; for other photos they are scaled. 0 takes
    the widths as they are."""
    seed: int = 0
    """Seeds all that is random."""

    def __post_init__(self) -> None:
        if isinstance(self.method, str):
            object.__setattr__(self, "method", find(self.method).options())
        if self.regime not in ("frozen", "finetune"):
            raise IgcamError(f"regime must be frozen or finetune, got {self.regime!r}")
        check_ranges(self, size=(32, 4096), crf_side=(0, 1 << 20), seed=(0, 2**32 - 1))
        weights = [name for name in ("tag_prior", "object_prior") if getattr(self, name) is not None]
        check_ranges(self, **dict.fromkeys(weights, (0, math.inf)))
        if len(self.components) != len(self.backbone.levels):
            raise IgcamError(
                f"components must have one number for each of the {len(self.backbone.levels)} levels, "
                f"got {len(self.components)}"
            )
        if min(self.components) < 1:
            raise IgcamError(f"components must be at least 1, got {min(self.components)}")
        if not -len(self.backbone.levels) <= self.grouping_level < len(self.backbone.levels):
            raise IgcamError(
                f"grouping_level must be the index of one of the {len(self.backbone.levels)} levels, "
                f"got {self.grouping_level}"
            )
        if self.crf not in CRF_PRESETS:
            raise IgcamError(f"crf must be one of {', '.join(CRF_PRESETS)}, got {self.crf!r}")
        optional = [stage.name for stage in self._declared() if stage.optional]
        wrong = [name for name in self.without if name not in optional]
        if wrong:
            raise IgcamError(f"without must be one of {', '.join(optional)}, got {', '.join(wrong)}")

    def _declared(self) -> Sequence[Stage]:
        return self.entry.stages(self.chosen, self)

    @property
    def chosen(self) -> Any:
        """Options of the method."""
        return self.method

    @property
    def entry(self) -> Method[Any]:
        """The method whose options `method` holds."""
        return method_of(self.chosen)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that run, in order."""
        return tuple(stage for stage in self._declared() if stage.name not in self.without)

    @property
    def mask_stages(self) -> tuple[str, ...]:
        """Names of the stages after which masks are drawn, in order."""
        return tuple(stage.name for stage in self.stages if stage.scores or isinstance(stage, Refinement))

    @property
    def refinements(self) -> tuple[Refinement, ...]:
        """The refinements of masks that run, in order."""
        return tuple(stage for stage in self.stages if isinstance(stage, Refinement))

    def leave_out(self, stages: Sequence[str]) -> FitOptions:
        """Return the options with optional stages switched off.

        Raises:
            IgcamError: A stage is unknown, or cannot be switched off.
        """
        return dataclasses.replace(self, without=tuple(dict.fromkeys((*self.without, *stages))))

    @property
    def tag_prior_weight(self) -> float:
        """Weight of the tag prior of the whole photo where there are no tags."""
        if self.tag_prior is not None:
            return self.tag_prior
        return 0.5 if self.regime == "finetune" else 1.0

    @property
    def object_prior_weight(self) -> float:
        """Weight of the class of all similar locations where there are no tags."""
        if self.object_prior is not None:
            return self.object_prior
        return 0.0 if self.regime == "finetune" else 1.0


def to_plain(options: Any) -> dict[str, Any]:
    """Return nested options as JSON knows them."""
    found: dict[str, Any] = plain(options)
    return found


def plain(value: Any) -> Any:
    """Return options, or containers of them, as JSON knows them."""
    if isinstance(value, MethodOptions):
        return {"name": method_of(value).name, **_fields(value)}
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _fields(options: Any) -> dict[str, Any]:
    return {item.name: plain(getattr(options, item.name)) for item in dataclasses.fields(options)}


def from_plain(kind: type[Options], plain: dict[str, Any], source: str = "options", path: str = "") -> Options:
    """Undo `to_plain`; fields that are not given keep their defaults.

    Args:
        kind: Class of the options.
        plain: Their JSON form.
        source: Where it is from, for messages.
        path: Dotted name of these options within it, with a dot at its end.

    Raises:
        IgcamError: A name is unknown, or a value does not fit its field.
    """
    hints = get_type_hints(kind)
    unknown = sorted(f"{path}{name}" for name in set(plain) - set(hints))
    if unknown:
        raise IgcamError(f"{source}: unknown {', '.join(unknown)}; known are {', '.join(hints)}")
    values = {name: _convert(hints[name], value, source, f"{path}{name}") for name, value in plain.items()}
    try:
        return kind(**values)
    except (ValueError, IgcamError) as error:
        raise IgcamError(f"{source}: {path}{error}") from error


def with_setting(options: Options, *settings: str) -> Options:
    """Return options with fields changed, each named as `igcam.guide.learn.head.epochs=20`.

    The value is JSON, or text that is taken as it is. Fields that must fit each other are given together.

    Raises:
        IgcamError: There is no such field, or the value does not fit it.
    """
    plain = to_plain(options)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise IgcamError(f"--set {setting}: must be NAME=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        # The options of the method go by its name.
        tagged = plain.get("method")
        if isinstance(tagged, dict) and name.partition(".")[0] == tagged["name"]:
            name = "method" + name.removeprefix(tagged["name"])
        position: Any = plain
        *parents, last = name.split(".")
        for parent in parents:
            position = position.get(parent) if isinstance(position, dict) else None
        if not isinstance(position, dict) or last not in position:
            raise IgcamError(f"--set {setting}: there is no option {name}")
        position[last] = value
    return from_plain(type(options), plain, "--set")


def _convert(hint: Any, value: Any, source: str, path: str) -> Any:
    if hint is MethodOptions:
        return _method_options(value, source, path)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(kind for kind in arguments if kind is not type(None)), value, source, path)
    if hint is float and type(value) is int:
        value = float(value)
    form = dict if dataclasses.is_dataclass(hint) else FORMS.get(origin or hint, object)
    if not isinstance(value, form) or (form is int and isinstance(value, bool)):
        raise IgcamError(f"{source}: {path} must be {WORDS.get(form, form.__name__)}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise IgcamError(f"{source}: {path} must be finite, got {value}")
    return _checked(hint, value, source, path)


def _method_options(value: Any, source: str, path: str) -> MethodOptions:
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise IgcamError(f"{source}: {path} must be the name of a method, got {value!r}")
    kind = find(value["name"]).options
    return from_plain(kind, {name: item for name, item in value.items() if name != "name"}, source, f"{path}.")


def _checked(hint: Any, value: Any, source: str, path: str) -> Any:
    """Convert a value whose form has been found to fit."""
    if dataclasses.is_dataclass(hint):
        return from_plain(hint, value, source, f"{path}.")  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        arguments = get_args(hint)
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(value):
            raise IgcamError(f"{source}: {path} must have {len(kinds)} values, got {len(value)}")
        return tuple(_convert(kind, item, source, path) for kind, item in zip(kinds, value, strict=True))
    return Path(value) if hint is Path else value
