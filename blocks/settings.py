"""The settings of this process: its environment, and what a team keeps in Prefect."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import AliasChoices, ValidationError

from blocks.prefect_api import answering_api, read_block
from schemas.errors import ConfigurationError
from schemas.runpod_settings import RUNPOD_VARIABLES
from schemas.settings import OLDER_VARIABLES, Settings

USUAL_NAMES = {"DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ZAI_API_KEY", "ZAI_API_BASE"}
"""Variables that are not ours alone and so have no prefix."""
KEPT_NAMES = USUAL_NAMES | RUNPOD_VARIABLES | OLDER_VARIABLES
OWN_PREFIXES = ("HEADRACE_", "LEXYBRAIN_")
BLOCK_TYPE = "headrace-settings"
BLOCK_NAME = "headrace"
PROVIDER_KEYS = "provider_keys"
"""Field of the block with variables that providers read themselves, such as `ANTHROPIC_API_KEY`."""


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once; `get_settings.cache_clear()` reads them anew.

    What the environment does not set comes from the block `headrace` of the Prefect API there is, if any.

    Raises:
        ConfigurationError: a variable, or a field of the block, has a value that does not fit; the message names it.
        PrefectRefused: the API does not let us read the block.
    """
    settings = environment_settings()
    url = answering_api(settings.home)
    saved = read_block(url, BLOCK_TYPE, BLOCK_NAME) if url else None
    if not saved:
        return settings
    for name, value in (saved.pop(PROVIDER_KEYS, None) or {}).items():
        os.environ.setdefault(name, str(value))
    wanted = {
        name: value
        for name, value in saved.items()
        if value not in (None, "") and name in Settings.model_fields and name not in settings.model_fields_set
    }
    return _settings(wanted)


def environment_settings() -> Settings:
    """The settings without what a Prefect block would add.

    Raises:
        ConfigurationError: a variable has a value that does not fit; the message names it.
    """
    return _settings({})


def _settings(saved: Mapping[str, Any]) -> Settings:
    try:
        return Settings(**saved)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]).lower()
        if field in saved:
            place = f"{field} of the Prefect block {BLOCK_NAME}"
            raise ConfigurationError(f"{place}: {first['msg']}", setting=field) from None
        name = _variable(field.upper())
        raise ConfigurationError(f"{name}: {first['msg']}", setting=name) from None


def _variable(said: str) -> str:
    """The variable that was set, of a name in Pydantic's words: of several for one setting it says the first."""
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices) and said == alias.choices[0]:
            present = set_variables()
            return next((name for name in map(str, alias.choices) if name in present), said)
    return said if said in KEPT_NAMES or said.startswith(OWN_PREFIXES) else f"HEADRACE_{said}"


def set_variables() -> frozenset[str]:
    """Names of the variables that the environment, or a `.env` in the working folder, sets to something."""
    import dotenv

    found = {**dotenv.dotenv_values(".env"), **os.environ}
    return frozenset(name for name, value in found.items() if value)
