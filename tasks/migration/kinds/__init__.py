"""The kinds of source: one module each, with a `KIND`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from schemas.errors import BadInput
from tasks.migration.declaration import Kind


def kind_names() -> list[str]:
    """The kinds there are."""
    return sorted(module.name.replace("_", "-") for module in iter_modules(__path__))


def find_kind(name: str) -> Kind:
    """The kind with this name.

    Raises:
        BadInput: there is none; the message lists those there are.
    """
    if name not in kind_names():
        raise BadInput(f"there is no kind of source {name!r}; there are {', '.join(kind_names())}")
    kind = import_module(f"{__name__}.{name.replace('-', '_')}").KIND
    assert isinstance(kind, Kind)
    return kind
