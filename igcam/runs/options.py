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
from igcam.methods.cam import CamOptions
from igcam.methods.training.finetune import FinetuneOptions
from igcam.methods.igcam.method import STAGES, IgcamOptions
from igcam.models.backbone import BackboneOptions
from igcam.refine.crf import CRF_PRESETS

LEARNING_STAGES = ("guide", "reweight")
"""Those that leave a head."""
METHODS: dict[str, type[CamOptions] | type[IgcamOptions]] = {"cam": CamOptions, "igcam": IgcamOptions}
"""Every method's options by its name."""

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
    """Everything that decides the outcome of a run, besides the data."""

    method: str = "igcam"
    """`igcam` or `cam`."""
    regime: str = "frozen"
    """`frozen`: the backbone stays as it is; `finetune`: it is trained on the tags first."""
    backbone: BackboneOptions = field(default_factory=lambda: BackboneOptions(levels=(-2, -1)))
    """Network, weights, output stride and levels; the last level classifies, all of them feed the head."""
    size: int = 384
    """Side of the square that photos are squashed to for the network."""
    flip: bool = True
    """Use the mirrored view too."""
    components: tuple[int, ...] = (128, 256)
    """Principal components kept of each level, for the segmentation head."""
    grouping_level: int = -1
    """Which of the backbone's levels, by its place among them, is grouped into proposals: the last suits a
    network trained on many classes, an inner one a network trained on the tags alone."""
    tag_prior: float | None = None
    """Without tags, how far what is told from the whole photo decides to which class its objects belong: 0 asks every
    place for itself; null takes 1, or 0.5 in the finetune regime, whose network is too sure of what it has learnt."""
    object_prior: float | None = None
    """Without tags, how far all that is like a place decides to which class it belongs, if it is of an object; null
    takes 1, or 0 in the finetune regime."""
    finetune: FinetuneOptions = field(default_factory=FinetuneOptions)
    """Training of the backbone in the finetune regime."""
    cam: CamOptions = field(default_factory=CamOptions)
    """Options of the plain method."""
    igcam: IgcamOptions = field(default_factory=IgcamOptions)
    """Options of IG-CAM's stages."""
    crf: str = "afa"
    """Preset of the dense CRF, see `igcam.refine.CRF_PRESETS`."""
    crf_side: int = 0
    """Longer side in pixels of the photos that the preset's widths are for; other photos get them in proportion to
    theirs. 0 takes the widths as they are."""
    seed: int = 0
    """Seeds all that is random."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise IgcamError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.regime not in ("frozen", "finetune"):
            raise IgcamError(f"regime must be frozen or finetune, got {self.regime!r}")
        check_ranges(self, size=(32, 4096), crf_side=(0, 1 << 20), seed=(0, 2**32 - 1))
        shares = [name for name in ("tag_prior", "object_prior") if getattr(self, name) is not None]
        check_ranges(self, **dict.fromkeys(shares, (0, math.inf)))
        if len(self.components) != len(self.backbone.levels):
            raise IgcamError(
                f"components must have one number for each of the {len(self.backbone.levels)} levels, "
                f"got {len(self.components)}"
            )
        if min(self.components) < 1:
            raise IgcamError(f"components must be at least 1, got {min(self.components)}")
        if not -len(self.backbone.levels) <= self.grouping_level < len(self.backbone.levels):
            raise IgcamError(
                f"grouping_level must be the place of one of the {len(self.backbone.levels)} levels, "
                f"got {self.grouping_level}"
            )
        _check_stages(self.stages)
        if self.crf not in CRF_PRESETS:
            raise IgcamError(f"crf must be one of {', '.join(CRF_PRESETS)}, got {self.crf!r}")

    def without(self, stages: Sequence[str]) -> FitOptions:
        """Return the options with stages switched off.

        Raises:
            IgcamError: A stage is unknown, or cannot be switched off.
        """
        wrong = [stage for stage in stages if stage not in STAGES[1:]]
        if wrong:
            raise IgcamError(f"--without must be one of {', '.join(STAGES[1:])}, got {', '.join(wrong)}")
        kept = tuple(stage for stage in self.igcam.stages if stage not in stages)
        cam = dataclasses.replace(self.cam, crf=self.cam.crf and "crf" not in stages)
        return dataclasses.replace(self, igcam=dataclasses.replace(self.igcam, stages=kept), cam=cam)

    @property
    def tag_prior_weight(self) -> float:
        """How far the whole photo decides where there are no tags."""
        if self.tag_prior is not None:
            return self.tag_prior
        return 0.5 if self.regime == "finetune" else 1.0

    @property
    def object_prior_weight(self) -> float:
        """How far all that is like a place decides where there are no tags; 0 without a head."""
        if not self.learning_stages:
            return 0.0
        if self.object_prior is not None:
            return self.object_prior
        return 0.0 if self.regime == "finetune" else 1.0

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that run, in order."""
        if self.method == "cam":
            return ("classify", "crf") if self.cam.crf else ("classify",)
        return self.igcam.stages

    @property
    def learning_stages(self) -> tuple[str, ...]:
        """The stages that leave a head, in order."""
        return tuple(stage for stage in self.stages if stage in LEARNING_STAGES)


def _check_stages(stages: Sequence[str]) -> None:
    if tuple(stages) != tuple(stage for stage in STAGES if stage in stages) or "classify" not in stages:
        raise IgcamError(f"stages must be some of {', '.join(STAGES)}, in this order, got {', '.join(stages)}")


def to_plain(options: Any) -> dict[str, Any]:
    """Return nested options as JSON knows them."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(options), default=str))
    return plain


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
        position: Any = plain
        *parents, last = name.split(".")
        for parent in parents:
            position = position.get(parent) if isinstance(position, dict) else None
        if not isinstance(position, dict) or last not in position:
            raise IgcamError(f"--set {setting}: there is no option {name}")
        position[last] = value
    return from_plain(type(options), plain, "--set")


def _convert(hint: Any, value: Any, source: str, path: str) -> Any:
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
