"""Suites of expectations beside the declarations: `schemas/expectations/KIND/TABLE.json`."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

from schemas.errors import ConfigurationError


@lru_cache(maxsize=256)
def read_suite(kind: str, table: str) -> tuple[dict[str, Any], ...]:
    """The expectations of the table's suite, as Great Expectations writes them; none where there is no suite.

    In its `meta` each has a `rule`, the `reason` why a row that breaks it does, and may have a `policy`: `reject`
    (when not given), `report` or `abort`. The rule comes back with the table before it.

    Raises:
        ConfigurationError: an expectation has no rule or no reason.
    """
    file = files("schemas.expectations") / kind / f"{table}.json"
    if not file.is_file():
        return ()
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["expectations"]
    for expectation in found:
        meta = expectation.setdefault("meta", {})
        if not {"rule", "reason"} <= meta.keys():
            raise ConfigurationError(f"{file} has an expectation without a rule and a reason in its meta")
        meta["rule"] = f"{table}.{meta['rule']}"
    return tuple(found)
