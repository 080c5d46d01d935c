"""The kinds of source: one module each, with a `KIND`, or a function `declare` that makes it of a mapping."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from schemas.errors import BadInput
from tasks.migration.declaration import Kind


def kind_names() -> list[str]:
    """The kinds there are."""
    return sorted(module.name.replace("_", "-") for module in iter_modules(__path__))


def find_kind(name: str, mapping: dict[str, Any] | None = None) -> Kind:
    """The kind with this name.

    Raises:
        BadInput: there is none, the message lists those there are; or it needs a mapping or has no use for one.
    """
    if name not in kind_names():
        raise BadInput(f"there is no kind of source {name!r}; there are {', '.join(kind_names())}")
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    declare = getattr(module, "declare", None)
    if declare is None and mapping:
        raise BadInput(f"{name} knows its tables and takes no mapping")
    if declare is not None and not mapping:
        raise BadInput(f"{name} needs a mapping that says where the columns come from: --mapping FILE")
    kind = module.KIND if declare is None else declare(mapping)
    assert isinstance(kind, Kind)
    return kind
