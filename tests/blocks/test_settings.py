"""What the environment does not set comes from the block that a team saved in Prefect."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from blocks.prefect_api import PrefectRefused
from blocks.settings import PROVIDER_KEYS, get_settings
from blocks.settings_block import HeadraceSettings
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from tests.conftest import Environment

PATH = "/api/block_types/slug/headrace-settings/block_documents/name/headrace?include_secrets=true"


class PrefectWithBlock:
    """A Prefect API that knows one block and who may read it."""

    def __init__(self) -> None:
        self.block: dict[str, Any] | None = None
        self.wanted_login: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = 200, {"data": api.block}
                if self.path == PATH and api.wanted_login not in (None, self.headers.get("Authorization")):
                    status = 401
                elif self.path == PATH and api.block is None:
                    status = 404
                elif self.path not in (PATH, "/api/health"):
                    status = 400
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PrefectWithBlock]:
    for name in ("DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "HEADRACE_PROJECT", "HEADRACE_CHAT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)  # no .env of a developer's
    server = PrefectWithBlock()
    monkeypatch.setenv("PREFECT_API_URL", server.url)
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield server
    get_settings.cache_clear()
    server.close()


def test_the_environment_comes_first_then_the_block_then_the_default(
    api: PrefectWithBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.block = {"project": "of the block", "chat_model": "gpt-4o", "review_model": "", "budget_timezone": ""}
    monkeypatch.setenv("HEADRACE_CHAT_MODEL", "mistral/small")
    settings = get_settings()
    assert (settings.project, settings.chat_model, settings.review_model) == ("of the block", "mistral/small", None)
    assert settings.budget_timezone == "UTC"


@pytest.mark.parametrize("variable", ["DATABASE_URL", "HEADRACE_DATABASE_URL"])
def test_a_database_in_the_environment_is_not_overruled(
    api: PrefectWithBlock, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    api.block = {"database_url": "postgresql://block/ledger", "openai_api_key": "sk-block"}
    monkeypatch.setenv(variable, "postgresql://here/ledger")
    settings = get_settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://here/ledger"
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "sk-block"
    assert "sk-block" not in repr(settings)


def test_keys_of_other_providers_reach_those_who_read_the_environment(
    api: PrefectWithBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "here")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")  # so that whatever it becomes is undone
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    api.block = {"provider_keys": {"ANTHROPIC_API_KEY": "of the block", "GEMINI_API_KEY": "of the block"}}
    get_settings()
    assert (os.environ["ANTHROPIC_API_KEY"], os.environ["GEMINI_API_KEY"]) == ("of the block", "here")


def test_without_a_block_or_an_api_the_defaults_hold(api: PrefectWithBlock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_settings().project == "default"
    get_settings.cache_clear()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert get_settings().project == "default"


def test_a_value_of_the_block_that_does_not_fit_is_named(api: PrefectWithBlock) -> None:
    api.block = {"retry_attempts": 0}
    with pytest.raises(ConfigurationError, match=r"retry_attempts of the Prefect block headrace: .*greater than"):
        get_settings()


def test_a_guarded_api_is_shown_the_key_it_wants(api: PrefectWithBlock, monkeypatch: pytest.MonkeyPatch) -> None:
    api.block, api.wanted_login = {"project": "guarded"}, "Bearer pnu_1"
    with pytest.raises(PrefectRefused, match="401"):
        get_settings()
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_1")
    assert get_settings().project == "guarded"
    get_settings.cache_clear()
    api.wanted_login = "Basic YWRtaW46cGFzcw=="  # admin:pass
    monkeypatch.delenv("PREFECT_API_KEY")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:pass")
    assert get_settings().project == "guarded"


def test_the_block_has_only_fields_that_are_settings() -> None:
    own = {name for name in HeadraceSettings.model_fields if name != PROVIDER_KEYS}
    assert own
    assert own <= set(Settings.model_fields)


@pytest.mark.parametrize("said", ["radar", "radar=soon", "radar=-1"])
def test_an_age_of_answers_that_is_no_number_of_minutes_is_named(
    api: PrefectWithBlock, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("HEADRACE_ANSWER_TTL_MINUTES", "review=0.5, radar=60")
    settings = get_settings()
    assert settings.answer_ttl("review") == timedelta(seconds=30)
    assert (settings.answer_ttl("generate"), settings.answer_ttl(None)) == (None, None)
    get_settings.cache_clear()
    monkeypatch.setenv("HEADRACE_ANSWER_TTL_MINUTES", said)
    with pytest.raises(ConfigurationError, match=r"^HEADRACE_ANSWER_TTL_MINUTES"):
        get_settings()


def test_variables_of_older_applications_keep_their_names_in_messages(environment: Environment) -> None:
    with pytest.raises(ConfigurationError, match=r"^LEXYBRAIN_MAX_LATENCY_MS: "):
        environment(LEXYBRAIN_MAX_LATENCY_MS="soon")
    with pytest.raises(ConfigurationError, match=r"^HEADRACE_RUNPOD_USD_PER_SECOND: "):
        environment(LEXYBRAIN_MAX_LATENCY_MS="", HEADRACE_RUNPOD_USD_PER_SECOND="cheap")


def test_the_later_of_two_names_of_one_limit_wins(environment: Environment) -> None:
    assert environment().runpod_limit_seconds == 55
    assert environment(LEXYBRAIN_MAX_LATENCY_MS="25000").runpod_limit_seconds == 25
    assert environment(LEXYBRAIN_RUNPOD_TIMEOUT_MS="").runpod_limit_seconds == 25
    assert environment(LEXYBRAIN_RUNPOD_TIMEOUT_MS="40000").runpod_limit_seconds == 40
