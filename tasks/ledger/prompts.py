"""Prompts are Markdown files beside their capability; what they say is part of every key they touch."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


class Prompt:
    """A prompt file, rendered with Jinja2; a variable that is not given is an error, not an empty string."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def text(self) -> str:
        """The file's text as written."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the file, recorded with each step that uses it."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def _template(self) -> Template:
        from jinja2 import Environment, StrictUndefined

        environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
        return environment.from_string(self.text)

    def render(self, **variables: Any) -> str:
        """The prompt with `variables` filled in.

        Raises:
            jinja2.UndefinedError: the file uses a variable that is not given.
        """
        return self._template.render(**variables).strip()
