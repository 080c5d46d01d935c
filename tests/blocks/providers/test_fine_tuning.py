"""Fine-tuning jobs over HTTP: what a service says, and every way in which it does not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from blocks.providers.fine_tuning import LONGEST_REASON, fine_tuning
from schemas.errors import (
    AuthenticationFailed,
    BadInput,
    ConfigurationError,
    JobEnded,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)
from schemas.fine_tuning import FineTuneRequest
from tests.conftest import Environment
from tests.scripted_fine_tuning import API_KEY, ScriptedFineTuning

BASE = "gpt-4o-mini"
REQUEST = FineTuneRequest(training_file="f", purpose="radar", base_model=BASE)


async def test_a_job_that_the_provider_does_not_know_has_ended(environment: Environment) -> None:
    with ScriptedFineTuning() as service:
        async with fine_tuning(environment(OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=service.url), BASE) as provider:
            for ask in (provider.look, provider.events, provider.cancel):
                with pytest.raises(JobEnded, match="has no fine-tuning job ftjob-9"):
                    await ask("ftjob-9")
            assert await provider.find("nobody's") is None
            with pytest.raises(BadInput):
                await provider.create(REQUEST, "file-9", None, "run")
            with pytest.raises(BadInput, match="cannot be read"):
                await provider.upload(Path("/nowhere/train.jsonl"))


@pytest.mark.parametrize(("fault", "error"), [(503, ProviderUnavailable), (429, RateLimited), ("cut", ProviderTimeout)])
async def test_trouble_is_told_apart(environment: Environment, fault: Any, error: type[Exception]) -> None:
    with ScriptedFineTuning(faults={("find", 1): fault}) as service:
        async with fine_tuning(environment(OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=service.url), BASE) as provider:
            with pytest.raises(error):
                await provider.find("run")
            assert await provider.find("run") is None


@pytest.mark.parametrize(("fault", "why"), [("page", "it is no JSON"), ("empty", "it is no job")])
async def test_an_answer_that_is_none_is_said_to_be_unreadable(
    environment: Environment, tmp_path: Path, fault: str, why: str
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    with ScriptedFineTuning(faults={("create", 1): fault, ("upload", 2): "page", ("find", 1): "page"}) as service:
        async with fine_tuning(environment(OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=service.url), BASE) as provider:
            file = await provider.upload(rows)
            with pytest.raises(ProviderUnavailable, match=why):
                await provider.create(REQUEST, file, None, "run")
            with pytest.raises(ProviderUnavailable, match="it is no JSON"):
                await provider.find("run")
            with pytest.raises(ProviderUnavailable, match="it is no JSON"):
                await provider.upload(rows)


async def test_a_service_that_is_not_there_was_sent_nothing(environment: Environment) -> None:
    with ScriptedFineTuning() as service:
        gone = service.url
    async with fine_tuning(environment(OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=gone), f"openai/{BASE}") as provider:
        with pytest.raises(ProviderUnavailable, match="cannot be reached"):
            await provider.look("ftjob-1")


async def test_an_answer_that_does_not_come_in_time_may_have_been_carried_out(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        settings = environment(OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=url, HEADRACE_CALL_TIMEOUT_SECONDS=0.2)
        async with fine_tuning(settings, BASE) as provider:
            with pytest.raises(ProviderTimeout, match="time is up"):
                await provider.create(REQUEST, "file-1", None, "run")


async def test_a_key_that_is_refused_is_not_repeated(environment: Environment) -> None:
    with ScriptedFineTuning() as service:
        async with fine_tuning(environment(OPENAI_API_KEY="sk-of-ada", OPENAI_BASE_URL=service.url), BASE) as provider:
            with pytest.raises(AuthenticationFailed) as caught:
                await provider.look("ftjob-1")
    assert "sk-of-ada" not in str(caught.value) + repr(caught.value.details)


@pytest.mark.parametrize(
    ("said", "cost"),
    [("1.25", "1.25"), (2, "2"), (0.5, "0.5"), ("much", None), (-1, None), (None, None), ("NaN", None), ([1], None)],
)
async def test_a_cost_is_what_the_service_says_if_it_is_one(
    environment: Environment, tmp_path: Path, said: Any, cost: str | None
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    with ScriptedFineTuning(("succeeded",), more={"cost_usd": said}) as service:
        async with fine_tuning(environment(OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=service.url), BASE) as provider:
            job = await provider.create(REQUEST, await provider.upload(rows), None, "run")
            found = await provider.look(job.id)
            assert found.cost_usd == (None if cost is None else Decimal(cost))
            assert (await provider.find("run")) == found


async def test_a_long_reason_is_a_line_of_bounded_length(environment: Environment, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    with ScriptedFineTuning(("failed",), failure=("code", "word\n" * 1000)) as service:
        async with fine_tuning(environment(OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=service.url), BASE) as provider:
            job = await provider.create(REQUEST, await provider.upload(rows), None, "run")
            found = await provider.look(job.id)
    assert found.reason == ("word " * 1000)[:LONGEST_REASON]


async def test_a_model_that_cannot_be_trained_from_here_says_what_to_set(
    environment: Environment, tmp_path: Path
) -> None:
    models = tmp_path / "models.toml"
    models.write_text(
        '[models.own]\nmodel = "openai/x"\napi_base = "http://127.0.0.1:1/v1"\n'
        '[models.plain]\nmodel = "openai/gpt-4o"\n'
    )
    settings = environment(OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL="http://127.0.0.1:1/v1", HEADRACE_MODELS=models)
    for name, why in (("own", "an address or key of its own"), ("mistral/x", "jobs go to OpenAI or the server")):
        with pytest.raises(ConfigurationError, match=why):
            async with fine_tuning(settings, name):
                pass
    async with fine_tuning(settings, "plain"):
        pass
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY is not set"):
        async with fine_tuning(settings.model_copy(update={"openai_api_key": None, "openai_base_url": None}), BASE):
            pass
