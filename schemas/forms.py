"""How models look as forms in the Prefect UI."""

from __future__ import annotations

from typing import Any


def in_order(schema: dict[str, Any]) -> None:
    """A form shows the fields in the order of the class: for `json_schema_extra` of a model's configuration."""
    for place, field in enumerate(schema["properties"].values()):
        field["position"] = place
