"""Mappings, specs and the like as people write them down: TOML, YAML or JSON."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from schemas.errors import BadInput

MAPPING = "mapping: it should have target, key and columns"


def read_mapping_file(path: Path, wanted: str = MAPPING) -> dict[str, Any]:
    """What stands in the file, read by its ending: `.yaml`, `.yml`, `.json`, else as TOML.

    Args:
        wanted: what it should be, colon, what that has.

    Raises:
        BadInput: it cannot be read, is not what its ending says, or says something twice.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        written = path.expanduser().read_text(encoding="utf-8")
        found = _READERS.get(path.suffix.lower(), _read_toml)(written)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:  # of TOML, JSON and UTF-8
        said = " ".join(str(error).split())
        raise BadInput(f"{path} is no {wanted.partition(':')[0]}: {said}", path=str(path)) from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} is no {wanted}", path=str(path))
    return found


def _read_yaml(written: str) -> Any:
    import yaml

    return yaml.load(written, Loader=_yaml_loader())


def _read_json(written: str) -> Any:
    return json.loads(written, object_pairs_hook=_each_once)


def _read_toml(written: str) -> Any:
    return tomllib.loads(written)


_READERS: Mapping[str, Callable[[str], Any]] = {".yaml": _read_yaml, ".yml": _read_yaml, ".json": _read_json}


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON: of two values of one name, neither would be what is meant."""
    if doubled := _doubled([name for name, _ in pairs]):
        raise ValueError(f"{doubled[0]} is there twice")
    return dict(pairs)


@cache
def _yaml_loader() -> Any:
    """The safe loader, which refuses a name that stands twice in a mapping; what is merged (`<<`) may be overridden."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            keys = [(key.value, key.tag) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if doubled := _doubled(keys):
                raise yaml.constructor.ConstructorError(None, None, f"{doubled[0][0]} is there twice", node.start_mark)
            return node

    return Loader


def _doubled(names: list[Any]) -> list[Any]:
    return [name for name, count in Counter(names).items() if count > 1] if len(set(names)) < len(names) else []
