"""Where chunks of work are done, as HEADRACE_TASK_RUNNER says it."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import ConfigurationError

RunnerKind = Literal["threads", "processes", "dask", "ray"]
WORKERS = 4
"""Chunks at a time where the setting names no number."""
_SAID = re.compile(r"(threads|processes|dask|ray)(?:://([^/\s]+))?(?:[:/](\d{1,4}))?")


class RunnerChoice(BaseModel):
    """A task runner.

    Attributes:
        workers: chunks at a time, which share the limits on calls.
        address: `host:port` of the cluster; None for one that is made for the run.
    """

    model_config = ConfigDict(frozen=True)

    kind: RunnerKind
    workers: int = Field(WORKERS, ge=1)
    address: str | None = None

    @property
    def in_this_process(self) -> bool:
        """Whether chunks see what this process knows of limits."""
        return self.kind == "threads"


def parse_task_runner(said: str | None) -> RunnerChoice | None:
    """The task runner: `threads:4`, `processes:4`, `dask:4`, `dask://host:port/4`, ray likewise; None where none is.

    Raises:
        ConfigurationError: it is no such thing.
    """
    if not said or not said.strip():
        return None
    found = _SAID.fullmatch(said.strip())
    if found is None or (found[2] and found[1] in ("threads", "processes")) or found[3] == "0":
        raise ConfigurationError(
            f"HEADRACE_TASK_RUNNER is {said!r}: it must be threads:4, processes:4, dask:4 or dask://host:port/4 (ray "
            f"likewise), 4 being how many chunks are worked on at a time"
        )
    return RunnerChoice.model_validate(
        {"kind": found[1], "address": found[2], **({"workers": found[3]} if found[3] else {})}
    )
