"""The options of a run, their JSON form, and changing one by its dotted name."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from igcam.errors import IgcamError
from igcam.methods.cam import CamOptions
from igcam.methods.finetune import FinetuneOptions
from igcam.methods.igcam import STAGES, IgcamOptions
from igcam.models.backbone import BackboneOptions
from igcam.refine.crf import CRF_PRESETS

METHODS: dict[str, type[CamOptions] | type[IgcamOptions]] = {"cam": CamOptions, "igcam": IgcamOptions}
"""Every method's options by its name."""

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
    tag_evidence: float = 0.5
    """Without tags, this share of the image's class logits is added to the logits of its places."""
    finetune: FinetuneOptions = field(default_factory=FinetuneOptions)
    """Training of the backbone in the finetune regime."""
    cam: CamOptions = field(default_factory=CamOptions)
    """Options of the plain method."""
    igcam: IgcamOptions = field(default_factory=IgcamOptions)
    """Options of IG-CAM's stages."""
    crf: str = "irn"
    """Preset of the dense CRF, see `igcam.refine.CRF_PRESETS`."""
    seed: int = 0
    """Seeds all that is random."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise IgcamError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.regime not in ("frozen", "finetune"):
            raise IgcamError(f"regime must be frozen or finetune, got {self.regime!r}")
        if not 32 <= self.size <= 4096:
            raise IgcamError(f"size must be 32 to 4096 pixels, got {self.size}")
        if len(self.components) != len(self.backbone.levels):
            raise IgcamError(
                f"components must have one number for each of the {len(self.backbone.levels)} levels, "
                f"got {len(self.components)}"
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
    def stages(self) -> tuple[str, ...]:
        """The stages that run, in order."""
        if self.method == "cam":
            return ("classify", "crf") if self.cam.crf else ("classify",)
        return self.igcam.stages


def _check_stages(stages: Sequence[str]) -> None:
    if tuple(stages) != tuple(stage for stage in STAGES if stage in stages) or "classify" not in stages:
        raise IgcamError(f"stages must be some of {', '.join(STAGES)}, in this order, got {', '.join(stages)}")


def to_plain(options: Any) -> dict[str, Any]:
    """Return nested options as JSON knows them."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(options), default=str))
    return plain


def from_plain(kind: type[Options], plain: dict[str, Any], source: str = "options") -> Options:
    """Undo `to_plain`; fields that are not given keep their defaults.

    Raises:
        IgcamError: A name is unknown, or a value does not fit its field.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(plain) - set(hints))
    if unknown:
        raise IgcamError(f"{source}: unknown {', '.join(unknown)}; known are {', '.join(hints)}")
    values = {name: _convert(hints[name], value, f"{source}.{name}") for name, value in plain.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise IgcamError(f"{source}: {error}") from error


def with_setting(options: Options, setting: str) -> Options:
    """Return options with one field changed, named as `igcam.guide.head.epochs=20`.

    The value is JSON, or text that is taken as it is.

    Raises:
        IgcamError: There is no such field, or the value does not fit it.
    """
    name, equals, text = setting.partition("=")
    if not equals:
        raise IgcamError(f"--set {setting}: must be NAME=VALUE")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    plain = to_plain(options)
    place = plain
    *parents, last = name.split(".")
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None  # type: ignore[assignment]
    if not isinstance(place, dict) or last not in place:
        raise IgcamError(f"--set {setting}: there is no option {name}")
    place[last] = value
    return from_plain(type(options), plain, "--set")


def _convert(hint: Any, value: Any, source: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(kind for kind in arguments if kind is not type(None)), value, source)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_plain(hint, value, source)  # type: ignore[arg-type]
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(value):
            raise IgcamError(f"{source}: must have {len(kinds)} values, got {len(value)}")
        return tuple(_convert(kind, item, source) for kind, item in zip(kinds, value, strict=True))
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = origin or hint
    if isinstance(plain, type) and plain in (bool, int, float, str) and type(value) is not plain:
        raise IgcamError(f"{source}: must be {plain.__name__}, got {value!r}")
    return value
