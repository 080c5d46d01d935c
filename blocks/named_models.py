"""The file of named models, read from where the settings say it is."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ValidationError

from schemas.errors import ConfigurationError
from schemas.named_models import CallLimits, ModelsFile, NamedModel, TokenPrice
from schemas.settings import Settings

SETTING = "HEADRACE_MODELS"
USUAL_FILE = Path("headrace-models.toml")
"""Read from the working folder where `HEADRACE_MODELS` names no other."""

_INLINE: dict[str, type[BaseModel]] = {"price": TokenPrice, "limits": CallLimits}


def read_named_models(settings: Settings) -> Mapping[str, NamedModel]:
    """What each name stands for; nothing where there is no file.

    Raises:
        ConfigurationError: the file cannot be read or a key is wrong; the message names file, table and
            key, and what would be right.
    """
    path = settings.models or USUAL_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if settings.models is None:
            return {}
        raise ConfigurationError(f"{SETTING} names {path}, and there is no such file", setting=SETTING) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"the file of models {path} cannot be read: {reason}", setting=SETTING) from None
    return _parsed(text, path)


def _parsed(text: str, path: Path) -> Mapping[str, NamedModel]:
    try:
        return ModelsFile.model_validate(tomllib.loads(text, parse_float=Decimal)).models
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}", setting=SETTING) from None
    except ValidationError as error:
        raise ConfigurationError(f"{path}, {_problem(error)}", setting=SETTING) from None


def _problem(error: ValidationError) -> str:
    """Table, key and what would be right, of the first thing that is wrong; no value, it may be a key."""
    first = error.errors(include_input=False, include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    what = first["msg"].removeprefix("Value error, ")
    if not place:
        return what
    if place[0] != "models":
        return f"key {place[0]}: there is no such key; every table is a [models.NAME]"
    table, keys = f"[models.{place[1]}]" if len(place) > 1 else "[models]", ".".join(place[2:])
    if first["type"] == "extra_forbidden":
        what = f"there is no such key; there are {', '.join(_known_keys(place[2:-1]))}"
    elif first["type"] == "missing":
        what = "is missing"
    return f"{table} {keys}: {what}".replace(" :", ":")


def _known_keys(path: list[str]) -> list[str]:
    """The keys of a table, or of the inline table that `path` leads to."""
    return list((_INLINE[path[0]] if path else NamedModel).model_fields)


def required_secret(model: str, variable: str) -> str:
    """The key that `variable` holds.

    Raises:
        ConfigurationError: it is not set, or cannot be sent in a header.
    """
    key = read_secret(variable)
    if key is None:
        raise ConfigurationError(f"{model} needs {variable} to be set", model=model, setting=variable)
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError(f"{variable} holds characters that no key has; was it pasted in full?", model=model)
    return key


def read_secret(variable: str) -> str | None:
    """What the environment, or a `.env` in the working folder, holds under `variable`; None when empty or unset."""
    if value := os.environ.get(variable, "").strip():
        return value
    import dotenv

    return (dotenv.dotenv_values(".env").get(variable) or "").strip() or None
