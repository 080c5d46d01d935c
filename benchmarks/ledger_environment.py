"""The settings a user of Headrace would make, for a process that measures it."""

from __future__ import annotations

import os
from pathlib import Path

from blocks.settings import get_settings


def configure_ledger(home: str, database_url: str, provider_url: str, project: str) -> None:
    """This process uses the ledger at `database_url` and the provider at `provider_url`, for `project`."""
    os.environ.update(
        HEADRACE_HOME=home,
        HEADRACE_CACHE=str(Path(home) / "cache"),
        HEADRACE_PROJECT=project,
        DATABASE_URL=database_url,
        OPENAI_API_KEY="benchmark",
        OPENAI_BASE_URL=provider_url,
    )
    get_settings.cache_clear()
