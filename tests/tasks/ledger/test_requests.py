"""Embeddings, estimates, and reading what is on record."""

from __future__ import annotations

import asyncio
import math
from uuid import uuid4

import pytest

from schemas.errors import BadInput, NotFound
from schemas.settings import Settings
from tasks.ledger import complete, embed, estimate_cost, get_request, list_requests
from tasks.ledger.session import Ledger
from tests.conftest import Environment
from tests.scripted_provider import ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
EMBEDDER = "text-embedding-3-small"


async def test_texts_are_embedded_in_order_as_one_request_and_replayed(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    first = await embed(["a quick fox", "a lazy dog", "a quick fox"], model=EMBEDDER, purpose="corpus")
    second = await embed(["a quick fox", "a lazy dog", "a quick fox"], model=EMBEDDER)
    assert len(first.vectors) == 3
    assert first.vectors[0] == first.vectors[2] != first.vectors[1]
    assert math.isclose(math.hypot(*first.vectors[0]), 1.0, rel_tol=1e-6)
    assert second.replayed
    assert second.vectors == first.vectors
    assert second.cost_usd == 0
    assert provider.paid == 1
    assert look("SELECT kind, purpose, cost_usd, response FROM llm_requests WHERE status = 'succeeded'") == [
        ("embedding", "corpus", first.cost_usd, None)
    ]
    assert first.cost_usd
    assert first.model == EMBEDDER


async def test_other_dimensions_or_another_order_are_other_requests(ledger: Ledger, provider: ScriptedProvider) -> None:
    await embed(["one", "two"], model=EMBEDDER)
    short = await embed(["one", "two"], model=EMBEDDER, dimensions=8)
    await embed(["two", "one"], model=EMBEDDER)
    assert len(short.vectors[0]) == 8
    assert provider.paid == 3


@pytest.mark.parametrize("texts", [[], [""], ["words", " \n\t"]])
async def test_texts_without_a_word_are_bad_input(ledger: Ledger, provider: ScriptedProvider, texts: list[str]) -> None:
    with pytest.raises(BadInput, match="at least one character that is no white space"):
        await embed(texts, model=EMBEDDER)
    assert provider.log == []


async def test_an_embedding_is_budgeted_like_any_call(ledger: Ledger, look: Look) -> None:
    answer = await embed(["a quick fox"], model=EMBEDDER)
    assert look("SELECT spent_usd FROM budget_usage WHERE period = 'day'") == [(answer.cost_usd,)]


async def test_an_estimate_is_the_worst_case_and_asks_nobody(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    priced = await estimate_cost("Why?", model=MODEL)
    answer = await complete("Why?", model=MODEL)
    assert priced.usd is not None
    assert answer.cost_usd is not None
    assert priced.usd >= answer.cost_usd > 0
    assert priced.max_output_tokens == 1024
    unknown = await estimate_cost("Why?", model="house-model")
    assert (unknown.usd, unknown.source) == (None, "unpriced")
    assert len(provider.log) == 1


async def test_a_model_that_is_not_named_is_the_one_set_for_the_role(
    environment: Environment, settings: Settings, provider: ScriptedProvider
) -> None:
    environment(HEADRACE_REVIEW_MODEL="gpt-4o")
    assert (await estimate_cost("Why?", role="review")).model == "gpt-4o"
    assert (await complete("Why?", role="review")).model == "gpt-4o"
    assert (await complete("Why?")).model == "gpt-4o-mini"
    assert (await embed(["why"])).model == "text-embedding-3-small"


async def test_a_request_is_found_by_its_id_with_its_whole_prompt_and_answer(ledger: Ledger) -> None:
    answer = await complete("Why?", model=MODEL, user="ada", purpose="asking")
    record = await get_request(answer.request_id)
    assert record.id == answer.request_id
    assert (record.status, record.user_id, record.purpose, record.attempt) == ("succeeded", "ada", "asking", 1)
    assert record.request is not None
    assert record.request["messages"] == [{"role": "user", "content": "Why?"}]
    assert record.response == {"content": answer.text, "finish_reason": "stop"}
    assert record.cost_usd == answer.cost_usd
    assert record.completed_at is not None
    assert record.created_at <= record.completed_at


async def test_the_record_of_a_replay_is_there_when_it_is_returned(ledger: Ledger) -> None:
    first = await complete("Why?", model=MODEL)
    second = await complete("Why?", model=MODEL)
    record = await get_request(second.request_id)
    assert (record.status, record.replayed_from, record.cost_usd) == ("replayed", first.request_id, 0)


async def test_a_request_that_does_not_exist_is_not_found(ledger: Ledger) -> None:
    missing = uuid4()
    with pytest.raises(NotFound, match=f"there is no request {missing}") as failure:
        await get_request(missing)
    assert failure.value.details == {"request_id": str(missing)}


async def test_a_user_s_requests_are_listed_newest_first_page_by_page(ledger: Ledger) -> None:
    made = [(await complete(f"Question {n}?", model=MODEL, user="ada")).request_id for n in range(5)]
    await complete("Why?", model=MODEL, user="bob")
    first = await list_requests("ada", limit=2)
    second = await list_requests("ada", limit=2, before=first[-1].id)
    third = await list_requests("ada", limit=2, before=second[-1].id)
    assert [record.id for record in (*first, *second, *third)] == sorted(made, reverse=True)
    assert [record.id for record in await list_requests("ada")] == sorted(made, reverse=True)
    assert await list_requests("nobody") == []


async def test_calls_side_by_side_that_ask_for_a_ledger_each_share_one(
    settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    await asyncio.gather(*(complete(f"Question {n}?", model=MODEL) for n in range(100)))
    assert provider.paid == 100
    assert look("SELECT count(*), count(DISTINCT worker_id) FROM llm_requests") == [(100, 1)]
    assert look("SELECT count(*) FROM workers") == [(1,)]


def test_the_package_has_no_other_names() -> None:
    import tasks.ledger

    assert all(callable(getattr(tasks.ledger, name)) for name in tasks.ledger.__all__)
    with pytest.raises(AttributeError, match="no attribute 'finish'"):
        tasks.ledger.finish  # noqa: B018
