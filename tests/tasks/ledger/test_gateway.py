"""One call: what is durable when, what is replayed, and for whom."""

from __future__ import annotations

import asyncio
import json
import zlib

import pytest

from schemas.calls import ChatParameters, Message
from schemas.errors import BadInput
from schemas.settings import Settings
from tasks.ledger.calls import complete, estimate_cost
from tasks.ledger.session import Ledger
from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
ROW = "SELECT status, reserved_usd, cost_usd, cost_source, input_tokens, output_tokens, completed_at FROM llm_requests"
DAY = "SELECT reserved_usd, spent_usd FROM budget_usage WHERE scope_kind = 'project' AND period = 'day'"
# gpt-4o-mini: 0.15 USD for a million tokens of input, 0.60 for a million of output; 20 and 10 tokens are used.
COST = "0.000009"


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"prompt_tokens": 20, "completion_tokens": 10}))
async def test_the_row_and_its_reservation_are_durable_before_the_provider_answers(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    worst = (await estimate_cost("Why?", model=MODEL)).usd
    provider.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await provider.held(1)
    assert look(ROW) == [("reserved", worst, None, "price_table", None, None, None)]
    assert look(DAY) == [(worst, 0)]
    assert look("SELECT status, request_id FROM answers") == [("claimed", look("SELECT id FROM llm_requests")[0].id)]
    provider.release()
    answer = await call
    (row,) = look(ROW)
    assert row[:-1] == ("succeeded", worst, answer.cost_usd, "price_table", 20, 10)
    assert row.completed_at is not None
    assert f"{answer.cost_usd:f}" == f"{float(COST):.10f}"
    assert look(DAY) == [(0, answer.cost_usd)]
    assert look("SELECT status, request_id FROM answers") == [("answered", answer.request_id)]


async def test_an_equal_call_is_replayed_and_costs_nothing(
    settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    first = await complete("How high is the Matterhorn?", model=MODEL)
    second = await complete("How high is the Matterhorn?", model=MODEL)
    assert (first.replayed, second.replayed) == (False, True)
    assert (second.text, second.usage, second.finish_reason) == (first.text, first.usage, first.finish_reason)
    assert first.cost_usd
    assert second.cost_usd == 0
    assert second.latency_ms == first.latency_ms
    assert provider.paid == 1
    rows = look("SELECT id, status, replayed_from, cost_usd, input_tokens, request FROM llm_requests ORDER BY id")
    assert [(row.id, row.status, row.replayed_from, row.cost_usd) for row in rows] == [
        (first.request_id, "succeeded", None, first.cost_usd),
        (second.request_id, "replayed", first.request_id, 0),
    ]
    assert rows[1].input_tokens == rows[0].input_tokens
    assert rows[0].request["messages"] == [{"role": "user", "content": "How high is the Matterhorn?"}]
    assert rows[1].request is None, "the texts of a replay are those of the original"


@pytest.mark.parametrize(
    "difference",
    [
        {"project": "another"},
        {"user": "ada"},
        {"repetition": 1},
        {"model": "gpt-4o"},
        {"parameters": ChatParameters(temperature=0.5)},
        {"parameters": ChatParameters(max_tokens=7)},
        {"prompt": [Message(role="system", content="Be brief."), Message(role="user", content="Why?")]},
    ],
    ids=lambda difference: next(iter(difference)),
)
async def test_a_call_that_differs_in_what_its_answer_depends_on_is_asked_anew(
    ledger: Ledger, provider: ScriptedProvider, difference: dict[str, object]
) -> None:
    base = {"prompt": "Why?", "model": MODEL}
    await complete(**base)  # type: ignore[arg-type]
    other = await complete(**base | difference)  # type: ignore[arg-type]
    again = await complete(**base | difference)  # type: ignore[arg-type]
    assert (other.replayed, again.replayed) == (False, True)
    assert provider.paid == 2


async def test_what_a_call_is_for_is_recorded_and_does_not_change_its_answer(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    await complete("Why?", model=MODEL, user="ada", purpose="drafting", context={"page": 3, "note": "a\x00b"})
    other = await complete("Why?", model=MODEL, user="ada", purpose="reviewing")
    assert other.replayed
    assert look("SELECT purpose, user_id, context FROM llm_requests ORDER BY id") == [
        ("drafting", "ada", {"page": 3, "note": "a\ufffdb"}),
        ("reviewing", "ada", None),
    ]


async def test_another_endpoint_is_not_answered_by_what_the_first_one_said(
    environment: Environment, settings: Settings, provider: ScriptedProvider
) -> None:
    first = await complete("Why?", model=MODEL)
    with ScriptedProvider(lambda _: "elsewhere") as other:
        environment(OPENAI_BASE_URL=other.url)
        second = await complete("Why?", model=MODEL)
    assert second.text == "elsewhere" != first.text
    assert not second.replayed


ODD = {"choices": [{"message": {"content": "a\x00b\ud800c é " + "0123456789" * 100_000}}]}


@pytest.mark.scripted(respond=lambda _: Reply(body=json.dumps(ODD).encode()))
async def test_whole_answers_survive_a_replay_whatever_is_in_them(ledger: Ledger, look: Look) -> None:
    first = await complete("Why?", model=MODEL)
    second = await complete("Why?", model=MODEL)
    assert first.text == "a\x00b\ufffdc é " + "0123456789" * 100_000, "half a character is none"
    assert second.replayed
    assert second.text == first.text
    (row,) = look("SELECT response ->> 'content' AS said FROM llm_requests WHERE status = 'succeeded'")
    assert row.said == first.text.replace("\x00", "\ufffd")


@pytest.mark.scripted(respond=lambda _: Reply(body=b'{"choices": [{"message": {"content": "\\u0000\\ud800 x"}}]}'))
async def test_the_bytes_sent_and_received_are_kept_as_they_were(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    await complete("Why?\x00 ünd", model=MODEL)
    (body,) = look("SELECT request, response FROM llm_bodies")
    assert zlib.decompress(body.response) == b'{"choices": [{"message": {"content": "\\u0000\\ud800 x"}}]}'
    assert json.loads(zlib.decompress(body.request)) == provider.log[0].body
    assert provider.log[0].body["messages"][0]["content"] == "Why?\x00 ünd"


async def test_a_key_whose_answer_is_no_longer_kept_is_asked_anew(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    await complete("Why?", model=MODEL)
    look("UPDATE llm_bodies SET reply = NULL")
    second = await complete("Why?", model=MODEL)
    third = await complete("Why?", model=MODEL)
    assert (second.replayed, third.replayed) == (False, True)
    assert provider.paid == 2
    assert look("SELECT request_id FROM answers") == [(second.request_id,)]


async def test_a_prompt_that_cannot_be_sent_is_bad_input_and_costs_nothing(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    with pytest.raises(BadInput, match=r"half a character .* at 4"):
        await complete("half\ud800", model=MODEL)
    with pytest.raises(BadInput, match="no prompt"):
        await complete([], model=MODEL)
    assert provider.log == []
    assert look("SELECT FROM llm_requests") == []


async def test_no_secret_is_anywhere_in_the_database(
    environment: Environment, settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    environment(OPENAI_API_KEY="sk-very-secret-key")
    await complete("Why?", model=MODEL)
    columns = look(
        """
        SELECT table_name, column_name, data_type FROM information_schema.columns
        JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_schema = 'public' AND data_type IN ('text', 'jsonb', 'bytea')
        """
    )
    assert {"llm_requests", "llm_bodies", "workers", "runs"} <= {column.table_name for column in columns}
    assert provider.paid == 1
    for table, column, kind in columns:
        for (value,) in look(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL'):
            stored = zlib.decompress(value) if kind == "bytea" else str(value).encode()
            assert b"secret" not in stored, f"{table}.{column}"


@pytest.mark.scripted(
    respond=lambda _: Reply(
        "yes",
        finish_reason="odd\x00reason",
        model="m\x00",
        usage={"prompt_tokens": 10**12, "completion_tokens": 5},
    )
)
async def test_absurd_facts_from_a_provider_do_not_keep_its_answer_from_being_recorded(
    ledger: Ledger, look: Look
) -> None:
    worst = (await estimate_cost("Why?", model=MODEL)).usd
    answer = await complete("Why?", model=MODEL)
    assert (answer.text, answer.cost_usd, answer.cost_source) == ("yes", None, "unpriced")
    assert look("SELECT status, input_tokens, answered_model, finish_reason FROM llm_requests") == [
        ("succeeded", None, "m\ufffd", "odd\ufffdreason")
    ]
    assert look(DAY) == [(0, worst)], "what it cost is not known, so it counts as the worst case"


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"cost": -1000.0}))
async def test_a_provider_cannot_give_money_back(ledger: Ledger, look: Look) -> None:
    answer = await complete("Why?", model=MODEL)
    assert answer.cost_source == "price_table"
    assert look(DAY)[0].spent_usd == answer.cost_usd > 0


async def test_a_call_without_known_price_has_no_cost_rather_than_none(ledger: Ledger, look: Look) -> None:
    answer = await complete("Why?", model="house-model")
    assert (answer.cost_usd, answer.cost_source) == (None, "unpriced")
    assert look("SELECT cost_usd, reserved_usd, cost_source FROM llm_requests") == [(None, None, "unpriced")]


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"cost": 0.25}))
async def test_what_the_provider_says_it_cost_goes_before_the_price_table(ledger: Ledger, look: Look) -> None:
    answer = await complete("Why?", model="house-model")
    assert (f"{answer.cost_usd}", answer.cost_source) == ("0.2500000000", "provider")
    assert look(DAY) == [(0, answer.cost_usd)]
