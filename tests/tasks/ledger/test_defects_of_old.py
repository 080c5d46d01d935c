"""What the systems before this one did wrong stays mended.

Each of their defects has a test that would have failed there. Here are those that have no better place; the others:

- Latency weighted by feedback: `test_feedback.test_the_mean_latency_is_of_responses_not_of_feedback`.
- Cache hits counted as spend: `test_costs.test_a_cache_hit_is_not_spent_and_a_failure_does_not_vanish`,
  `test_cost_functions.test_a_day_costs_what_was_paid_or_may_have_been_and_no_replay`,
  `test_feedback.test_a_hit_costs_nothing_and_shows_what_it_saved_and_how_long_the_answer_took`.
- A failed request that vanishes: `test_failures.test_each_attempt_is_a_row_and_the_last_one_answers`,
  `test_feedback.test_a_failed_request_is_a_response_without_success`.
- A model change served from the cache:
  `test_gateway.test_a_call_that_differs_in_what_its_answer_depends_on_is_asked_anew` (model, temperature, length),
  `test_gateway.test_another_endpoint_is_not_answered_by_what_the_first_one_said`,
  `test_fallbacks.test_a_name_that_stands_for_another_model_is_not_answered_from_before`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from schemas.errors import RetriesExhausted
from schemas.settings import Settings
from tasks.ledger.calls import complete, embed
from tasks.ledger.feedback import give_feedback
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import Ledger
from tasks.ledger.steps import step
from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"


def same_id(request: dict[str, Any]) -> Reply:
    """An answer under the id that every other answer has as well."""
    question = request["messages"][0]["content"]
    return Reply(
        body=orjson.dumps(
            {
                "id": "chatcmpl-0",
                "model": request["model"],
                "choices": [{"message": {"content": f"About {question}"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": len(question), "completion_tokens": 1},
            }
        )
    )


@pytest.mark.scripted(respond=same_id)
async def test_two_answers_under_one_id_of_the_provider_are_two_rows_each_with_its_own(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    tides, tide_tables = await complete("tides", model=MODEL), await complete("tide tables", model=MODEL)
    again = await complete("tides", model=MODEL)
    assert (tides.text, tide_tables.text, again.text) == ("About tides", "About tide tables", "About tides")
    assert (again.replayed, provider.paid) == (True, 2)
    rows = "SELECT id, provider_request_id, input_tokens FROM llm_requests WHERE status = 'succeeded' ORDER BY id"
    assert look(rows) == [(tides.request_id, "chatcmpl-0", 5), (tide_tables.request_id, "chatcmpl-0", 11)]
    await give_feedback(tide_tables.request_id, "negative")
    assert look("SELECT response_id FROM feedback") == [(tide_tables.request_id,)]


def by_model(request: dict[str, Any]) -> Reply:
    """An answer that tells which model gave it."""
    return Reply(f"said by {request['model']}")


@pytest.mark.scripted(respond=by_model)
async def test_another_default_model_is_asked_and_not_answered_for_by_the_one_before(
    environment: Environment, settings: Settings, provider: ScriptedProvider
) -> None:
    said = []
    for model in ("gpt-4o-mini", "gpt-4o", "gpt-4o-mini"):
        environment(HEADRACE_CHAT_MODEL=model)
        answer = await complete("Why?")
        said.append((answer.text, answer.model, answer.replayed))
    assert said == [
        ("said by gpt-4o-mini", "gpt-4o-mini", False),
        ("said by gpt-4o", "gpt-4o", False),
        ("said by gpt-4o-mini", "gpt-4o-mini", True),
    ]
    assert [served.model for served in provider.log] == ["gpt-4o-mini", "gpt-4o"]


@pytest.fixture
def elsewhere() -> Iterator[ScriptedProvider]:
    """Another server, with another model under the same name."""
    with ScriptedProvider(lambda _: "said elsewhere") as server:
        yield server


async def test_a_named_model_that_has_moved_to_another_server_is_asked_there(
    environment: Environment,
    settings: Settings,
    provider: ScriptedProvider,
    elsewhere: ScriptedProvider,
    tmp_path: Path,
) -> None:
    names = tmp_path / "models.toml"
    texts = []
    for number, server in enumerate((provider, elsewhere, elsewhere)):
        environment(HEADRACE_MODELS=names.with_stem(f"models-{number}"), HEADRACE_CHAT_MODEL="tutor")
        names.with_stem(f"models-{number}").write_text(
            f'[models.tutor]\nmodel = "openai/small"\napi_base = "{server.url}"\nprice = {{ input = 1, output = 2 }}\n'
        )
        texts.append((await complete("Why?")).text)
    assert texts[0] != texts[1] == texts[2] == "said elsewhere"
    assert (provider.paid, elsewhere.paid) == (1, 1)


async def test_another_embedding_model_by_default_gives_vectors_of_its_own(
    environment: Environment, settings: Settings, provider: ScriptedProvider
) -> None:
    replayed = []
    for model in ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-3-small"):
        environment(HEADRACE_EMBEDDING_MODEL=model)
        replayed.append((await embed(["a bill"])).replayed)
    assert replayed == [False, False, True]
    assert [served.model for served in provider.log] == ["text-embedding-3-small", "text-embedding-3-large"]


class Said(BaseModel):
    """A model's words."""

    text: str


@step("ask", version="1")
async def ask() -> Said:
    """A step with one call."""
    return Said(text=(await complete("Why?", model=MODEL)).text)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(faults={"500": 1.0})
async def test_a_run_that_fails_with_its_call_keeps_the_run_the_step_and_every_attempt(
    environment: Environment, settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    environment(HEADRACE_RETRY_ATTEMPTS=3)
    with pytest.raises(RetriesExhausted):
        async with open_run(RunRequest(flow="test", subject="failing", project="default", parameters={})):
            await ask()
    attempts = """
        SELECT attempt, calls.status, calls.cost_usd, steps.status AS step, runs.status AS run, runs.cost_usd AS run_usd
        FROM llm_requests AS calls JOIN steps ON steps.id = step_id JOIN runs ON runs.id = calls.run_id ORDER BY attempt
    """
    assert look(attempts) == [(number, "failed", Decimal(0), "failed", "failed", Decimal(0)) for number in (1, 2, 3)]
    assert len(provider.log) == 3
