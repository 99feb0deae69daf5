"""Options: frozen dataclasses whose fields are checked, their JSON form, and changes by dotted names.

`options` declares a class; the text below a field describes it, and its type restricts it: `epochs: Count = 20`,
`colour: Annotated[float, between(0, 0.99)] = 0.2`. Rules for several fields stand in `__post_init__`, which raises a
ValueError that names them. The user gets an `IgcamError` in one line.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, core_schema

from igcam.core.errors import IgcamError

Options = TypeVar("Options")
JsonHandler = Callable[[CoreSchema], dict[str, Any]]
CONFIG = ConfigDict(
    extra="forbid", strict=True, allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
)
MESSAGES = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "dataclass_type": "must be an object",
    "dataclass_exact_type": "must be a {class_name}",
    "is_instance_of": "must be a {class}",
    "finite_number": "must be finite",
    "greater_than": "must be above {gt:g}",
    "literal_error": "must be {expected}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "too_long": "must have {max_length} values, got {actual_length}",
    "too_short": "must be one or more values, got none",
    "value_error": "{error}",
}
"""Messages for pydantic's types of errors; ", got VALUE" is added where it is missing."""


@dataclass_transform(frozen_default=True, field_specifiers=(field, Field))
def options(kind: type[Options]) -> type[Options]:
    """Make a class a frozen dataclass that raises IgcamError for values that do not fit its fields: a decorator.

    A bool is no number, a list no tuple except in JSON; numbers are finite.
    """
    made: Any = pydantic_dataclass(frozen=True, config=CONFIG)(kind)
    check = made.__init__

    @functools.wraps(check)
    def checked(self: Any, *args: Any, **values: Any) -> None:
        try:
            check(self, *args, **values)
        except ValidationError as error:
            raise IgcamError(_in_one_line(made, error, values)) from None

    made.__init__ = checked
    found: type[Options] = made
    return found


@dataclass(frozen=True, eq=False)
class Rule:
    """A condition on a value besides its type: `Annotated[TYPE, Rule(...)]`."""

    holds: Callable[[Any], bool]
    words: str
    """What the value must be, for the message."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """The same in JSON schema."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: JsonHandler) -> dict[str, Any]:
        return handler(schema) | dict(self.schema)

    def _check(self, value: Any) -> Any:
        if not self.holds(value):
            raise ValueError(f"must be {self.words}, got {value!r}")
        return value


def between(low: float, high: float = math.inf, *, or_zero: bool = False) -> Rule:
    """Restrict a number to a closed range, or to zero with `or_zero`."""
    words = f"at least {low:g}" if high == math.inf else f"{low:.10g} to {high:.10g}"
    bounds = {"minimum": 0 if or_zero else low} | ({} if high == math.inf else {"maximum": high})
    return Rule(lambda value: low <= value <= high or (or_zero and value == 0), "0 or " * or_zero + words, bounds)


def one_of(names: Collection[str]) -> Rule:
    """Restrict text to some names."""
    return Rule(lambda value: value in names, f"one of {', '.join(names)}", {"enum": list(names)})


Count = Annotated[int, between(1)]
Fraction = Annotated[float, between(0, 1)]
Natural = Annotated[int, between(0)]
NonNegative = Annotated[float, between(0)]
Positive = Annotated[float, Field(gt=0)]
Positives = Annotated[tuple[Positive, ...], Field(min_length=1)]
ScaleRange = Annotated[tuple[float, float], Rule(lambda pair: 0 < pair[0] <= pair[1], "0 < low <= high")]
Seed = Annotated[int, between(0, 2**32 - 1)]


class Tagged:
    """Base of alternative options for one field, in JSON as {"name": NAME, ...}.

    The type of the field is a direct subclass, whose `kinds` lists the alternatives, which are subclasses of it. The
    field takes an instance, or a name for its defaults.
    """

    @classmethod
    def kinds(cls) -> Mapping[str, type]:
        """Return the alternatives by name; called at each use, so that they may be added at any time."""
        raise NotImplementedError

    @classmethod
    def kind(cls, name: object) -> type:
        """Return the class of a name, or raise ValueError."""
        kinds = cls.kinds()
        if not isinstance(name, str) or name not in kinds:
            near = difflib.get_close_matches(str(name), kinds, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"must be one of {', '.join(kinds)}, got {name!r}{hint}")
        return kinds[name]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        if is_dataclass(cls):
            return handler(source)
        written = core_schema.plain_serializer_function_ser_schema(cls._write)
        return core_schema.no_info_plain_validator_function(cls._read, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: JsonHandler) -> dict[str, Any]:
        return handler(schema) if is_dataclass(cls) else {"kinds": cls.__name__}

    @classmethod
    def _read(cls, value: Any) -> Any:
        if type(value) in cls.kinds().values():
            return value
        given = dict(value) if isinstance(value, Mapping) else {"name": value}
        return TypeAdapter(cls.kind(given.pop("name", None))).validate_json(json.dumps(given))

    @classmethod
    def _write(cls, value: Any) -> dict[str, Any]:
        name = next(name for name, kind in cls.kinds().items() if kind is type(value))
        return {"name": name, **to_plain(value)}


def to_plain(options: Any) -> dict[str, Any]:
    """Return the JSON form of nested options."""
    plain: dict[str, Any] = TypeAdapter(type(options)).dump_python(options, mode="json")
    return plain


def from_plain(kind: type[Options], plain: Mapping[str, Any], source: str = "options") -> Options:
    """Undo `to_plain`; missing fields keep their defaults, and messages begin with `source`.

    Raises:
        IgcamError: A name is unknown, or a value does not fit its field.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(plain))
    except ValidationError as error:
        raise IgcamError(f"{source}: {_in_one_line(kind, error, plain)}") from None
    except IgcamError as error:
        raise IgcamError(f"{source}: {error}") from None


def with_setting(
    options: Options, *settings: str, new_name: Callable[[str], str | None] = lambda name: None
) -> Options:
    """Return options with fields changed.

    Args:
        options: The options before.
        settings: Each as `igcam.guide.learn.head.epochs=20`, its value in JSON or plain text. Fields that must fit each
            other are given together. Alternative options go by the name of their field or by their own; their name as
            a value stands for their defaults.
        new_name: Returns the present name of an option of earlier versions, for messages.

    Raises:
        IgcamError: There is no such option, or the value does not fit it.
    """
    plain = to_plain(options)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise IgcamError(f"--set {setting}: must be NAME=VALUE")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        try:
            _assign(type(options), plain, name.split("."), value)
        except ValueError as error:
            now = new_name(name)
            reason = f"there is no option {name}; it is called {now} now" if now else error
            raise IgcamError(f"--set {setting}: {reason}") from None
    return from_plain(type(options), plain, "--set")


def schema(kind: type) -> dict[str, Any]:
    """Return the JSON schema of options, with the descriptions and defaults of all fields."""
    found = _schema(kind)
    definitions = found.setdefault("$defs", {})
    for base in Tagged.__subclasses__():
        if f'"kinds": "{base.__name__}"' in json.dumps(found):
            forms: list[dict[str, Any]] = [{"enum": list(base.kinds())}]
            for name, inner in base.kinds().items():
                form = _schema(inner)
                definitions |= form.pop("$defs", {})
                forms.append(
                    form | {"properties": {"name": {"const": name}, **form["properties"]}, "required": ["name"]}
                )
            definitions[base.__name__] = {"anyOf": forms}
    text = json.dumps(found)
    for name in definitions:
        text = text.replace(f'"kinds": "{name}"', f'"$ref": "#/$defs/{name}"')
    whole: dict[str, Any] = json.loads(text)
    return whole


def _schema(kind: type) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(schema_generator=_WithDefaults)


class _WithDefaults(GenerateJsonSchema):
    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        """Return the default, made by its factory if it has one."""
        factory: Any = schema.get("default_factory")
        return factory() if factory else super().get_default_value(schema)


def _assign(kind: Any, plain: dict[str, Any], path: Sequence[str], value: Any, before: str = "") -> None:
    name, *rest = path
    known = kind.__pydantic_fields__
    if name not in known:
        # Alternative options go by their own name too.
        tagged = (item for item in known if _is_tagged(kind, item) and (plain.get(item) or {}).get("name") == name)
        name = next(tagged, name)
    if name not in known:
        raise ValueError(f"there is no option {before}{name}{_nearest(name, known, before)}")
    if not rest:
        if isinstance(value, str) and _is_tagged(kind, name) and value in _held(kind, name).kinds():
            value = {"name": value, **to_plain(_held(kind, name).kind(value)())}
        plain[name] = value
        return
    inner = _inner(kind, name, plain.get(name))
    if inner is None:
        raise ValueError(f"there is no option {before}{'.'.join(path)}")
    _assign(inner, plain[name], rest, value, f"{before}{path[0]}.")


def _held(kind: Any, name: str) -> Any:
    """Return the class of options that a field holds, or the base of its alternatives; None for other fields."""
    hint = kind.__pydantic_fields__[name].annotation
    held = (item for item in (hint, *get_args(hint)) if isinstance(item, type))
    return next((item for item in held if is_dataclass(item) or issubclass(item, Tagged)), None)


def _is_tagged(kind: Any, name: str) -> bool:
    held = _held(kind, name)
    return held is not None and not is_dataclass(held)


def _inner(kind: Any, name: str, value: Any) -> Any:
    """Return the class of options whose JSON form this value of a field is, if any."""
    held = _held(kind, name)
    if not isinstance(value, Mapping):
        return None
    return held.kind(value.get("name")) if _is_tagged(kind, name) else held


def _nearest(name: str, known: Collection[str], before: str) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {before}{near[0]}?" if near else f"; known are {', '.join(known)}"


def _in_one_line(kind: Any, error: ValidationError, plain: Mapping[str, Any]) -> str:
    """Return the findings of pydantic, each with its dotted name."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False):
        path = list(item["loc"])
        if path and isinstance(path[0], int):
            path[0] = [*kind.__pydantic_fields__, *map(str, range(path[0] + 1))][path[0]]
        names = [part for part in path if isinstance(part, str)]
        name = ".".join(names)
        if item["type"].startswith("unexpected"):
            found[name] = _unknown(kind, names, plain)
            continue
        # The last of several missing items counts them.
        count = path[-1] + 1 if path and isinstance(path[-1], int) else 0
        rule = _rule(item["type"], item["input"], {**item.get("ctx", {}), "default": item["msg"]}, count)
        if count or name not in found:
            found[name] = f"{name} {rule}" if rule.startswith("must ") else ".".join([*names, rule])
    return "; ".join(found.values())


def _rule(error: str, value: Any, context: Mapping[str, Any], count: int) -> str:
    if error == "missing":
        return f"must have {count} values, got {len(value)}" if count else "must be given"
    if error == "tuple_type" and isinstance(value, list):
        error = "is_instance_of"
        context = {"class": "tuple"}
    rule = MESSAGES.get(error, "must fit: {default}").format(**context)
    return rule if error == "value_error" or ", got " in rule else f"{rule}, got {value!r}"


def _unknown(kind: Any, names: Sequence[str], plain: Mapping[str, Any]) -> str:
    *parents, last = names
    for parent in parents:
        kind, plain = _inner(kind, parent, plain[parent]), plain[parent]
    return f"there is no option {'.'.join(names)}" + _nearest(last, kind.__pydantic_fields__, ".".join([*parents, ""]))
