"""What the environment does not set comes from the block that a team saved in Prefect."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import SecretStr

from blocks.prefect_api import PrefectRefused
from blocks.settings import PROVIDER_KEYS, get_settings
from blocks.settings_block import HeadraceSettings
from schemas.errors import ConfigurationError
from schemas.settings import OLDER_VARIABLES, Settings
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


NOT_IN_THE_BLOCK = {
    "home": "says where the Prefect API that holds the block announces itself",
    "cache": "a folder of one machine, as its operator has it",
    "idle_minutes": "of the embedded parts, which belong to one HEADRACE_HOME",
    "runpod_timeout_ms": "a second name of runpod_max_latency_ms",
    "lease_seconds": "all processes of a ledger must agree on it, also those without a Prefect API",
    "lease_renewal_seconds": "as lease_seconds",
    "task_runner": "of the machine that the flow runs on, as its operator has it",
    "limit_share": "of processes that one machine's operator starts beside each other",
}


def test_every_setting_is_in_the_block_but_those_that_make_no_sense_there() -> None:
    in_block = {name for name in HeadraceSettings.model_fields if name != PROVIDER_KEYS}
    assert in_block == set(Settings.model_fields) - set(NOT_IN_THE_BLOCK)
    assert set(NOT_IN_THE_BLOCK) <= set(Settings.model_fields)


def test_what_the_block_holds_fits_the_settings_whatever_its_form_makes_of_it(api: PrefectWithBlock) -> None:
    values: dict[type, Any] = {int: 2048, float: 2.5, bool: False, str: "7", SecretStr: "7"}
    kinds = {
        name: next(kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None))
        for name, field in HeadraceSettings.model_fields.items()
        if name != PROVIDER_KEYS
    }
    api.block = {name: values[kind] for name, kind in kinds.items()} | {
        "answer_ttl_minutes": "radar=60",
        "user_requests_per_minute": 0,
        "embedding_template": "text-1",
        "embedding_recall": 0.9,
    }
    settings = get_settings()
    assert {name for name in kinds if name not in settings.model_fields_set} == set()
    assert settings.max_daily_llm_cost == settings.lexybrain_daily_cost_cap == 7
    assert (settings.lexybrain_enable, settings.runpod_sync, settings.user_requests_per_minute) == (False, False, 0)
    assert settings.answer_ttl("radar") == timedelta(hours=1)
    get_settings.cache_clear()
    api.block = {name: "" if kind in (str, SecretStr) else None for name, kind in kinds.items()}
    assert get_settings().model_fields_set == {"home"}, "what is left empty has its default"


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


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("MAX_DAILY_LLM_COST", "plenty", "should be a valid decimal"),
        ("MAX_DAILY_LLM_COST", "-1", "greater than or equal to 0"),
        ("MAX_DAILY_LLM_COST", "inf", "finite number"),
        ("MAX_REQUESTS_PER_MINUTE", "many", "valid integer"),
        ("MAX_REQUESTS_PER_MINUTE", "5000", "less than or equal to 1000"),
        ("HEADRACE_USER_REQUESTS_PER_MINUTE", "many", "valid integer"),
        ("LEXYBRAIN_ENABLE", "perhaps", "valid boolean"),
        ("LEXYBRAIN_NOTIFICATIONS_ENABLED", "2", "valid boolean"),
        ("LEXYBRAIN_DAILY_COST_CAP", "1e15", "less than"),
    ],
)
def test_an_older_variable_that_does_not_fit_is_named_as_it_was_set(
    environment: Environment, variable: str, value: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{variable}: .*{reason}"):
        environment(**{variable: value})


def test_an_older_variable_that_is_set_to_nothing_is_not_set(environment: Environment) -> None:
    unset = environment()
    settings = environment(**dict.fromkeys(OLDER_VARIABLES, ""))
    assert settings == unset
    assert (settings.max_daily_llm_cost, settings.lexybrain_daily_cost_cap) == (None, None)
    assert (settings.lexybrain_enable, settings.lexybrain_notifications_enabled) == (True, False)
    assert settings.user_requests_per_minute == 20
    said = environment(MAX_DAILY_LLM_COST="0", MAX_REQUESTS_PER_MINUTE="30", LEXYBRAIN_ENABLE="false")
    assert (said.max_daily_llm_cost, said.user_requests_per_minute, said.lexybrain_enable) == (0, 30, False)


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
