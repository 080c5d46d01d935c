"""Calls and settings the provider tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from schemas.calls import ChatCall, ChatParameters, Message
from schemas.settings import Settings

MakeSettings = Callable[..., Settings]
KEY = "sk-test-7f3a"


@pytest.fixture(autouse=True)
def _no_keys_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def settings_for(url: str | None = None, key: str | None = KEY) -> Settings:
    """Settings that lead OpenAI names to `url`."""
    return Settings(
        _env_file=None,
        openai_base_url=url,
        openai_api_key=SecretStr(key) if key is not None else None,
    )


def ask(text: str = "Is the bill short?", model: str = "gpt-4o-mini", **more: object) -> ChatCall:
    """A chat call of one user message."""
    parameters = more.pop("parameters", ChatParameters(max_tokens=50))
    return ChatCall.model_validate(
        {"model": model, "messages": (Message(role="user", content=text),), "parameters": parameters, **more}
    )
