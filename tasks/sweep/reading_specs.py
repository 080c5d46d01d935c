"""The spec of a sweep, from a YAML, JSON or TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blocks.mapping_files import read_mapping_file
from schemas.errors import BadInput
from schemas.sweep import SweepSpec


def read_spec(path: Path) -> SweepSpec:
    """The spec that stands in the file; without a name it has that of the file.

    Raises:
        BadInput: it cannot be read, or what it says is no sweep; the message names the place.
    """
    said = read_mapping_file(path, "sweep: it should have at least a prompt")
    return parse_spec({"name": path.stem, **said}, source=str(path))


def parse_spec(said: dict[str, Any], *, source: str = "the spec") -> SweepSpec:
    """`said` as a spec.

    Raises:
        BadInput: it is no sweep.
    """
    try:
        return SweepSpec.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part not in _UNTOLD) or "it"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        message = first["msg"].removeprefix("Value error, ")
        raise BadInput(f"{source}: {place}: {message}{more}") from None


_UNTOLD = frozenset({"ValueRange", "constrained-tuple", "function-before", "tuple[Decimal, ...]"})
