"""Mappings, specs and the like as people write them down: TOML, YAML or JSON."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from schemas.errors import BadInput

MAPPING = "mapping: it should have target, key and columns"


def read_mapping_file(path: Path, wanted: str = MAPPING) -> dict[str, Any]:
    """What stands in the file, read by its ending: `.yaml`, `.yml`, `.json`, else as TOML.

    Args:
        wanted: what it should be, colon, what that has.

    Raises:
        BadInput: it cannot be read, or is not what its ending says.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        written = path.expanduser().read_text(encoding="utf-8")
        if path.suffix.lower() in (".yaml", ".yml"):
            found = yaml.safe_load(written)
        else:
            found = json.loads(written) if path.suffix.lower() == ".json" else tomllib.loads(written)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:  # of TOML, JSON and UTF-8
        said = " ".join(str(error).split())
        raise BadInput(f"{path} is no {wanted.partition(':')[0]}: {said}", path=str(path)) from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} is no {wanted}", path=str(path))
    return found
