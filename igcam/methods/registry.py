"""All methods by name; a module of this package registers its method when it is imported."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from igcam.core.errors import IgcamError
from igcam.methods.base import Method, MethodOptions

_KNOWN: dict[str, Method[Any]] = {}


def register(kind: type[Method[Any]]) -> type[Method[Any]]:
    """Register the method of a class: a decorator; ValueError if another class has this name."""
    if kind.name in _KNOWN and type(_KNOWN[kind.name]).__qualname__ != kind.__qualname__:
        raise ValueError(f"{kind.name}: two methods of this name")
    _KNOWN[kind.name] = kind()
    return kind


def methods() -> dict[str, Method[Any]]:
    """Return all methods by name, in alphabetical order."""
    _import_all()
    return dict(sorted(_KNOWN.items()))


def method_of(options: MethodOptions) -> Method[Any]:
    """Return the method whose options these are; IgcamError if there is none."""
    for method in methods().values():
        if type(options) is method.options:
            return method
    raise IgcamError(f"method: {type(options).__name__} are options of no registered method")


@cache
def _import_all() -> None:
    package = import_module("igcam.methods")
    for module in pkgutil.iter_modules(package.__path__, "igcam.methods."):
        import_module(module.name)
        if module.ispkg and find_spec(f"{module.name}.method"):
            import_module(f"{module.name}.method")
