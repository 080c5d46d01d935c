"""Answers that must fit a schema, repaired at most twice."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar

import pytest
from pydantic import BaseModel, Field, ValidationError

from schemas.calls import Message
from schemas.errors import AnswerRejected
from tasks.ledger.calls import complete_structured, parse_answer
from tasks.ledger.session import Ledger
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"


class Verdict(BaseModel):
    """What the model is asked for."""

    verdict: Literal["pass", "fail"]
    score: int = Field(ge=0, le=10)


RIGHT = '{"verdict": "pass", "score": 7}'


def in_turn(*answers: str | Reply) -> Any:
    """A responder that gives `answers` one after the other."""
    left = list(answers)
    return lambda _: left.pop(0)


@pytest.mark.scripted(respond=in_turn('{"verdict": "maybe", "score": 7}', '{"verdict": "pass"}', RIGHT))
async def test_an_answer_that_does_not_fit_is_shown_to_the_model_with_what_is_wrong(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    answer = await complete_structured("Judge.", Verdict, model=MODEL, purpose="judging")
    assert answer.value == Verdict(verdict="pass", score=7)
    asked = [served.body["messages"] for served in provider.log]
    assert [len(messages) for messages in asked] == [1, 3, 5]
    assert asked[1][1] == {"role": "assistant", "content": '{"verdict": "maybe", "score": 7}'}
    assert asked[1][2]["content"].startswith(
        "That does not fit the schema: verdict: Input should be 'pass' or 'fail'. Answer again"
    )
    assert "score: Field required" in asked[2][4]["content"]
    rows = look("SELECT id, status, purpose FROM llm_requests ORDER BY id")
    assert [(row.status, row.purpose) for row in rows] == [("succeeded", "judging")] * 3
    assert [completion.request_id for completion in answer.rounds] == [row.id for row in rows]
    assert answer.request_id == rows[-1].id
    assert answer.cost_usd == sum(completion.cost_usd for completion in answer.rounds if completion.cost_usd)


@pytest.mark.scripted(respond=lambda _: '{"verdict": "maybe"}')
async def test_after_three_wrong_answers_it_is_rejected_and_every_round_is_on_record(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    with pytest.raises(AnswerRejected, match=r"did not give a valid Verdict in 3 rounds: verdict: .*; score: ") as said:
        await complete_structured("Judge.", Verdict, model=MODEL)
    rows = look("SELECT id::text FROM llm_requests WHERE status = 'succeeded' ORDER BY id")
    assert said.value.details == {"requests": [row.id for row in rows]}
    assert len(rows) == provider.paid == 3


@pytest.mark.scripted(respond=in_turn("no", "no", RIGHT))
async def test_the_rounds_are_replayed_with_their_answer(ledger: Ledger, provider: ScriptedProvider) -> None:
    first = await complete_structured("Judge.", Verdict, model=MODEL)
    second = await complete_structured("Judge.", Verdict, model=MODEL)
    assert second.value == first.value
    assert [completion.replayed for completion in second.rounds] == [True] * 3
    assert second.cost_usd == Decimal(0)
    assert provider.paid == 3


@pytest.mark.scripted(respond=in_turn(Reply('{"verdict": "pa', finish_reason="length"), RIGHT))
async def test_an_answer_cut_off_at_the_token_limit_is_asked_for_again_shorter(
    ledger: Ledger, provider: ScriptedProvider
) -> None:
    answer = await complete_structured("Judge.", Verdict, model=MODEL)
    assert answer.value.score == 7
    assert "cut off at the token limit; it must be shorter" in provider.log[1].body["messages"][2]["content"]
    assert answer.rounds[0].finish_reason == "length"


@pytest.mark.parametrize(
    "text", [RIGHT, f"```json\n{RIGHT}\n```", f"```\n{RIGHT}```", f"\n  {RIGHT}\n", f"  ```json \n{RIGHT}\n ```  \n"]
)
def test_a_fence_and_white_space_around_the_json_are_overlooked(text: str) -> None:
    assert parse_answer(text, Verdict) == Verdict(verdict="pass", score=7)


@pytest.mark.parametrize("text", ["", "yes", f"Here it is: {RIGHT}", f"{RIGHT} {RIGHT}", "```json\n```", "[]"])
def test_what_is_no_json_of_that_shape_does_not_fit(text: str) -> None:
    with pytest.raises(ValidationError):
        parse_answer(text, Verdict)


async def test_the_schema_that_is_sent_is_that_of_the_output(ledger: Ledger, provider: ScriptedProvider) -> None:
    await complete_structured("Judge.", Verdict, model=MODEL)
    sent = provider.log[0].body["response_format"]["json_schema"]
    assert sent["name"] == "Verdict"
    assert sent["strict"] is True
    assert sent["schema"]["properties"]["verdict"]["enum"] == ["pass", "fail"]


async def test_a_narrowed_schema_is_sent_in_its_place_and_is_part_of_the_key(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    narrow = Verdict.model_json_schema()
    narrow["properties"]["verdict"]["enum"] = ["fail"]
    wide = await complete_structured("Judge.", Verdict, model=MODEL)
    narrowed = await complete_structured("Judge.", Verdict, model=MODEL, output_schema=narrow)
    assert not narrowed.rounds[0].replayed
    assert narrowed.value.verdict == "fail"
    assert provider.log[1].body["response_format"]["json_schema"]["schema"]["properties"]["verdict"]["enum"] == ["fail"]
    stored = look("SELECT request -> 'output_schema' -> 'properties' -> 'verdict' -> 'enum' AS e FROM llm_requests")
    assert sorted(row.e for row in stored) == [["fail"], ["pass", "fail"]]
    assert wide.request_id != narrowed.request_id


async def test_a_whole_conversation_can_be_the_prompt(ledger: Ledger, provider: ScriptedProvider) -> None:
    turns = [Message(role="system", content="Be strict."), Message(role="user", content="Judge.")]
    await complete_structured(turns, Verdict, model=MODEL)
    assert provider.log[0].body["messages"] == [turn.model_dump() for turn in turns]


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    """A generic model, whose name has brackets."""

    items: list[T]


@pytest.mark.scripted(respond=lambda _: json.dumps({"items": [json.loads(RIGHT)]}))
async def test_the_name_that_is_sent_has_only_the_signs_that_a_name_may_have(
    ledger: Ledger, provider: ScriptedProvider
) -> None:
    answer = await complete_structured("Judge.", Box[Verdict], model=MODEL)
    assert answer.value.items == [Verdict(verdict="pass", score=7)]
    assert provider.log[0].body["response_format"]["json_schema"]["name"] == "Box_Verdict_"


async def test_an_unpriced_round_makes_the_cost_unknown(ledger: Ledger) -> None:
    answer = await complete_structured("Judge.", Verdict, model="house-model")
    assert answer.cost_usd is None
