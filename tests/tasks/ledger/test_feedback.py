"""Feedback: one of each person on each response, and what the older service reads of it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from schemas.calls import ChatParameters
from schemas.errors import BadInput, NotFound, RetriesExhausted
from schemas.identifiers import new_id
from tasks.ledger import complete, get_request, give_feedback, read_feedback
from tasks.ledger.session import Ledger
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
CONTEXT = {"market": "US", "niche_terms": ["oak shelf", "pine shelf"]}


async def ask(question: str = "Why?", **more: object) -> UUID:
    """The request id of an insight's answer."""
    made = await complete(
        question, model=MODEL, project="lexybrain", insight_type="radar", context=CONTEXT, **more  # type: ignore[arg-type]
    )  # fmt: skip
    return made.request_id


async def test_a_second_opinion_of_the_same_person_replaces_the_first(ledger: Ledger, look: Look) -> None:
    response = await ask(user="ada")
    first = await give_feedback(response, "negative", notes="wrong price")
    second = await give_feedback(response, "positive")
    look("INSERT INTO feedback (response_id, user_id, rating) VALUES (:id, 'bob', 'neutral')", id=response)
    assert (second.id, second.user_id, second.rating, second.notes) == (first.id, "ada", "positive", None)
    assert first.created_at == second.created_at
    assert first.updated_at < second.updated_at
    assert look("SELECT user_id, rating, notes FROM feedback ORDER BY user_id") == [
        ("ada", "positive", None),
        ("bob", "neutral", None),
    ]


async def test_nobody_in_particular_has_one_opinion_as_well(ledger: Ledger, look: Look) -> None:
    response = await ask()
    await give_feedback(response, "negative")
    await give_feedback(response, "positive")
    assert look("SELECT user_id, rating FROM feedback") == [(None, "positive")]


async def test_feedback_on_a_replay_is_feedback_on_the_answer(ledger: Ledger, look: Look) -> None:
    response = await ask()
    replay = await ask()
    assert (await give_feedback(replay, "positive")).response_id == response != replay
    look("DELETE FROM feedback")
    look("DELETE FROM llm_requests WHERE id = :id", id=response)  # as retention does
    assert (await give_feedback(replay, "negative")).response_id == replay


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(respond=lambda _: Reply(status=400, body=b'{"error": {"message": "no"}}'))
async def test_what_has_no_answer_cannot_be_rated(ledger: Ledger, look: Look) -> None:
    with pytest.raises(BadInput):
        await ask()
    (failed,) = look("SELECT id FROM llm_requests")[0]
    with pytest.raises(BadInput, match=f"request {failed} has no answer to rate"):
        await give_feedback(failed, "positive")
    missing = uuid4()
    with pytest.raises(NotFound, match=f"there is no response {missing}"):
        await give_feedback(missing, "positive")
    with pytest.raises(BadInput, match="'great' is no rating: give positive, negative, neutral"):
        await give_feedback(failed, "great")  # type: ignore[arg-type]


FENCED = '```json\n{"items": []}\n```'


@pytest.mark.scripted(respond=lambda _: Reply(FENCED, usage={"prompt_tokens": 7, "completion_tokens": 3}))
async def test_an_insight_is_a_row_of_each_of_the_old_tables(ledger: Ledger, look: Look) -> None:
    response = await ask(user="ada")
    await give_feedback(response, "positive", notes="good")
    record = await get_request(response)
    (request,) = look("SELECT * FROM lexybrain_requests")
    assert tuple(request) == (
        response, "ada", "Why?", CONTEXT, record.created_at, "radar", "US", ["oak shelf", "pine shelf"],
    )  # fmt: skip
    (answer,) = look("SELECT * FROM lexybrain_responses")
    assert tuple(answer) == (
        response, response, record.answered_model, {"items": []}, record.completed_at, record.latency_ms, True,
        record.input_tokens, record.output_tokens,
    )  # fmt: skip
    (said,) = look("SELECT response_id, user_id, feedback, notes FROM lexybrain_feedback")
    assert said == (response, "ada", "positive", "good")
    (row,) = look("SELECT * FROM lexybrain_training_data")
    assert (row.request_id, row.prompt, row.niche_terms, row.response_id) == (
        response, "Why?", CONTEXT["niche_terms"], response,
    )  # fmt: skip
    assert (row.output_json, row.success, row.feedback, row.feedback_notes) == (
        {"items": []}, True, "positive", "good",
    )  # fmt: skip
    assert row.feedback_at is not None


async def test_a_replay_is_no_row_of_the_old_tables_but_its_feedback_counts(ledger: Ledger, look: Look) -> None:
    response = await ask()
    replay = await ask()
    look("INSERT INTO feedback (response_id, rating) VALUES (:id, 'neutral')", id=replay)  # as an application may
    await complete("Not of the service.", model=MODEL)
    for relation, column in (("requests", "id"), ("responses", "id"), ("feedback", "response_id")):
        assert look(f"SELECT {column} FROM lexybrain_{relation}") == [(response,)]
    assert look("SELECT response_id, feedback FROM lexybrain_training_data") == [(response, "neutral")]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(faults=dict.fromkeys(range(1, 6), "500"))
async def test_a_failed_request_is_a_response_without_success(ledger: Ledger, look: Look) -> None:
    with pytest.raises(RetriesExhausted):
        await ask()
    rows = look("SELECT success, output_json, tokens_out FROM lexybrain_training_data")
    assert rows == [(False, {}, None)] * 5


async def test_a_request_in_flight_has_no_response_yet(ledger: Ledger, provider: ScriptedProvider, look: Look) -> None:
    await ask()
    look("UPDATE llm_requests SET status = 'reserved', response = NULL")
    assert look("SELECT response_id, success, output_json FROM lexybrain_training_data") == [(None, None, None)]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("No reliable data", {"text": "No reliable data"}),
        ('```\n{"a": 1}\n```\n', {"a": 1}),
        (" [1, 2]\n", [1, 2]),
        ("```json\nnot json\n```", {"text": "```json\nnot json\n```"}),
        (None, {}),
    ],
)
def test_an_answer_is_shown_as_json_whatever_it_is(database: Engine, said: str | None, shown: object) -> None:
    with database.connect() as connection:
        assert connection.execute(text("SELECT answer_as_json(:said)"), {"said": said}).scalar_one() == shown


STORE = """
    INSERT INTO llm_requests (id, worker_id, answer_key, attempt, project, kind, provider, model, status, cost_source,
                              insight_type, latency_ms, created_at)
    VALUES (:id, :id, 'key', 1, 'lexybrain', 'chat', 'p', 'm', :status, 'unpriced', :type, :latency,
            now() - CAST(:age AS interval))
"""
RATE = "INSERT INTO feedback (response_id, user_id, rating) VALUES (:id, :user, :rating)"


def test_the_mean_latency_is_of_responses_not_of_feedback(look: Look) -> None:
    """Latencies 1000 and 2000 with three opinions on the first: 1500, where the old function said 1250."""
    first, second, failed, old, other = (new_id() for _ in range(5))
    look(STORE, id=first, status="succeeded", type="radar", latency=1000, age="1 day")
    look(STORE, id=second, status="succeeded", type="radar", latency=2000, age="1 day")
    look(STORE, id=failed, status="failed", type="radar", latency=60_000, age="1 day")
    look(STORE, id=old, status="succeeded", type="radar", latency=9, age="31 days")
    look(STORE, id=other, status="succeeded", type="risk", latency=7, age="1 day")
    for user, rating in (("a", "positive"), ("b", "positive"), ("c", "negative")):
        look(RATE, id=first, user=user, rating=rating)
    look(RATE, id=other, user="a", rating="neutral")
    assert look("SELECT * FROM get_lexybrain_feedback_stats()") == [
        ("radar", 3, 3, 3, 2, 1, 0, Decimal(1500)),
        ("risk", 1, 1, 1, 0, 0, 1, Decimal(7)),
    ]
    window = "now() - interval '40 days', now() - interval '30 days'"
    assert look(f"SELECT total_requests FROM get_lexybrain_feedback_stats({window})") == [(1,)]


@pytest.mark.parametrize("view", ["requests", "responses", "feedback", "training_data"])
def test_the_old_tables_cannot_be_written(database: Engine, view: str) -> None:
    column = "request_id" if view == "training_data" else "id"
    with pytest.raises(DBAPIError, match="cannot insert into view"), database.begin() as connection:
        connection.execute(text(f"INSERT INTO lexybrain_{view} ({column}) VALUES (:id)"), {"id": new_id()})


async def test_an_answer_older_than_a_call_wants_it_is_given_anew(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    day = timedelta(days=1)
    first = await ask(max_age=day)
    hit = await ask(max_age=day)
    look("UPDATE answers SET answered_at = answered_at - interval '25 hours'")
    kept = await ask()  # a call that takes any age
    second = await ask(max_age=day)
    again = await ask(max_age=day)
    assert provider.paid == 2
    assert look("SELECT request_id, status FROM answers") == [(second, "answered")]
    replayed = {row.id: row.replayed_from for row in look("SELECT id, replayed_from FROM llm_requests")}
    assert replayed == {first: None, hit: first, kept: first, second: None, again: second}


async def test_a_hit_costs_nothing_and_shows_what_it_saved_and_how_long_the_answer_took(ledger: Ledger) -> None:
    first = await get_request(await ask())
    hit = await get_request(await ask())
    assert (first.status, first.saved_usd) == ("succeeded", None)
    assert (hit.status, hit.cost_usd, hit.saved_usd) == ("replayed", 0, first.cost_usd)
    assert first.cost_usd
    assert hit.latency_ms == first.latency_ms


async def test_another_model_or_temperature_is_no_hit(ledger: Ledger, provider: ScriptedProvider) -> None:
    await complete("Why?", model=MODEL)
    assert not (await complete("Why?", model="gpt-4o")).replayed
    assert not (await complete("Why?", model=MODEL, parameters=ChatParameters(temperature=0.1))).replayed
    assert provider.paid == 3


async def test_only_one_s_own_responses_can_be_rated(ledger: Ledger, look: Look) -> None:
    response = await ask(user="ada")
    with pytest.raises(BadInput, match=f"response {response} is not bob's to rate"):
        await give_feedback(response, "positive", user="bob")
    assert look("SELECT * FROM feedback") == []
    nobodys = await ask("Of nobody's.")
    with pytest.raises(BadInput, match=r"the user .* has a NUL"):
        await give_feedback(nobodys, "positive", user="a\x00")
    for user in ("ada", "bob"):
        await give_feedback(nobodys, "positive", user=user)
    assert [row.user_id for row in await read_feedback(response_id=nobodys)] == ["bob", "ada"]


async def test_labels_and_a_correction_are_kept_and_replaced_with_the_rest(ledger: Ledger) -> None:
    response = await ask(user="ada")
    said = await give_feedback(
        response, "negative", categories=["wrong  price", "tone", "tone", " "], correction="It is 5\x00."
    )
    assert (said.categories, said.correction) == (("tone", "wrong price"), "It is 5\ufffd.")
    replay = await ask(user="ada")
    assert await read_feedback(response_id=replay) == [said] == await read_feedback(user="ada")
    again = await give_feedback(response, "positive")
    assert (again.categories, again.correction) == ((), None)
    assert await read_feedback(user="bob") == []
    with pytest.raises(BadInput, match="is longer than 64 characters"):
        await give_feedback(response, "positive", categories=["x" * 65])
    with pytest.raises(BadInput, match="the correction is empty"):
        await give_feedback(response, "positive", correction=" ")


async def test_a_correction_of_json_is_json(ledger: Ledger, look: Look) -> None:
    response = await ask()
    look("UPDATE llm_requests SET request = request || '{\"output_schema\": {}}'")
    with pytest.raises(BadInput, match="the response was to be JSON, and the correction is not"):
        await give_feedback(response, "negative", correction="five")
    with pytest.raises(BadInput, match="the response was to be JSON, and the correction is not"):
        await give_feedback(response, "negative", correction="[" * 100_000)
    assert (await give_feedback(response, "negative", correction='{"n": 5}')).correction == '{"n": 5}'
