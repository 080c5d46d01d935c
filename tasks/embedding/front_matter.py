"""The block of YAML that a Markdown file may begin with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LONGEST = 32_000
"""Characters; what is longer is no front matter."""


def split_front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    """The fields at the top of `text`, names in lower case, and what follows them; {} where there are none."""
    import yaml  # type: ignore[import-untyped]

    match = _FRONT_MATTER.match(text)
    if match is None or len(match[1]) > LONGEST:
        return {}, text
    try:
        fields = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that is none
        return {}, text
    if not isinstance(fields, dict):
        return {}, text
    return {str(name).lower(): value for name, value in fields.items()}, text[match.end() :]


_FRONT_MATTER = re.compile(r"\s*---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
