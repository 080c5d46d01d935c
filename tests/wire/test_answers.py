"""Each provider's answers in its wire format, through the whole gateway: text, usage, cost to the last digit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, Field
from sqlalchemy import Engine, text

from schemas.calls import ChatParameters, Message, Usage
from schemas.settings import Settings
from tasks.ledger.calls import complete, complete_structured
from tasks.ledger.session import open_ledger
from tests.wire.anthropic import Anthropic
from tests.wire.azure import Azure
from tests.wire.bedrock import Bedrock
from tests.wire.conftest import LeadTo
from tests.wire.gemini import Gemini
from tests.wire.ollama import Ollama
from tests.wire.openrouter import OpenRouter
from tests.wire.server import Answer, Counts, WireServer

PROVIDERS: list[type[WireServer]] = [Anthropic, Bedrock, Gemini, OpenRouter, Azure, Ollama]

TALK = [
    Message(role="system", content="Be short."),
    Message(role="user", content="What is a headrace?"),
    Message(role="assistant", content="A channel."),
    Message(role="user", content="For what?"),
]
"""Every role there is."""


class Verdict(BaseModel):
    """An answer with what schemas have trouble with: a bound, a list, something optional."""

    passed: bool
    score: int = Field(ge=0, le=10, description="of ten")
    reasons: list[str] = Field(max_length=3)
    note: str | None = None


VERDICT = {"passed": True, "score": 7, "reasons": ["short"], "note": None}


@pytest.fixture
async def _ledger(settings: Settings) -> AsyncIterator[None]:
    async with open_ledger(settings):
        yield


pytestmark = pytest.mark.usefixtures("_ledger")


def rows(database: Engine) -> list[Any]:
    """What is on record of the calls."""
    columns = "provider, model, status, cost_usd, cost_source, input_tokens, output_tokens, cached_input_tokens"
    with database.connect() as connection:
        found = connection.execute(text(f"SELECT {columns}, reasoning_tokens FROM llm_requests ORDER BY id"))
        return [tuple(row) for row in found]


@pytest.mark.parametrize(
    ("wire", "counts", "cost", "source"),
    [
        # 600 at $3, 300 cached at $0.30, 100 written at $3.75, 100 out at $15 a million
        (Anthropic, Counts(1000, 100, cached=300, written=100), "0.003765", "price_table"),
        # 600 at $3.30, 300 cached at $0.33, 100 written at $4.125, 100 out at $16.50 a million
        (Bedrock, Counts(1000, 100, cached=300, written=100), "0.0041415", "price_table"),
        # 700 at $0.30, 300 cached at $0.03, 100 out at $2.50 a million, 60 of them thought
        (Gemini, Counts(1000, 100, cached=300, reasoning=60), "0.000469", "price_table"),
        # what OpenRouter says it cost
        (OpenRouter, Counts(1000, 100, cached=300, reasoning=60), "0.00021375", "provider"),
        # 700 at $1.10, 300 cached at $0.275, 100 out at $4.40 a million
        (Azure, Counts(1000, 100, cached=300, reasoning=60), "0.0012925", "price_table"),
        # hardware of one's own
        (Ollama, Counts(1000, 100), "0", "price_table"),
    ],
)
async def test_a_talk_is_answered_counted_and_priced(
    wire: type[WireServer], counts: Counts, cost: str, source: str, lead_to: LeadTo, database: Engine
) -> None:
    parameters = ChatParameters(max_tokens=50, temperature=None if wire is Azure else 0.5)
    async with wire(Answer("To drive a mill.", counts)) as server:
        lead_to(server)
        answer = await complete(TALK, model=server.model, parameters=parameters)
    assert server.refused == []
    assert (answer.text, answer.finish_reason) == ("To drive a mill.", "stop")
    assert answer.usage == Usage(
        input_tokens=counts.input,
        output_tokens=counts.output,
        cached_input_tokens=counts.cached,
        cache_write_tokens=counts.written,
        reasoning_tokens=counts.reasoning,
    )
    assert (answer.cost_usd, answer.cost_source) == (Decimal(cost), source)
    (row,) = rows(database)
    assert row[:5] == (server.model.split("/")[0], server.model, "succeeded", Decimal(cost), source)
    assert row[5:] == (counts.input, counts.output, counts.cached, counts.reasoning)


@pytest.mark.parametrize("wire", [*PROVIDERS, "anthropic with tools", "ollama generate"])
async def test_an_answer_fits_its_schema(wire: Any, lead_to: LeadTo) -> None:
    others = {
        "anthropic with tools": (Anthropic, "anthropic/claude-3-haiku-20240307"),
        "ollama generate": (Ollama, "ollama/llama3.2"),
    }
    kind, model = others.get(wire, (wire, None))
    async with kind(Answer(orjson.dumps(VERDICT).decode())) as server:
        lead_to(server)
        parameters = ChatParameters(max_tokens=200)
        answer = await complete_structured(TALK, Verdict, model=model or server.model, parameters=parameters)
    assert server.refused == []
    assert answer.value == Verdict(**VERDICT)
    assert len(answer.rounds) == 1
    assert "passed" in orjson.dumps(server.asked[0].body).decode(), "the schema was sent"


@pytest.mark.parametrize("wire", PROVIDERS)
async def test_neither_body_on_record_holds_the_key(wire: type[WireServer], lead_to: LeadTo, database: Engine) -> None:
    import zlib

    async with wire() as server:
        lead_to(server)
        await complete("Why?", model=server.model, parameters=ChatParameters(max_tokens=5))
    with database.connect() as connection:
        (bodies,) = connection.execute(text("SELECT request, response FROM llm_bodies"))
    kept = [zlib.decompress(body) for body in bodies]
    assert b"Why?" in kept[0]
    assert b"Yes." in kept[1]
    assert not server.key or server.key.encode() not in kept[0] + kept[1]


async def test_the_price_of_a_name_comes_before_that_of_the_price_table(
    lead_to: LeadTo, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    path = tmp_path / "models.toml"
    path.write_text(
        '[models.haiku]\nmodel = "bedrock/anthropic.claude-3-haiku-20240307-v1:0"\n'
        "price = { input = 0.20, output = 1.00 }\ncontext_window = 200000\n"
    )
    named = settings.model_copy(update={"models": path})
    async with Bedrock(Answer(counts=Counts(123, 45))) as server, open_ledger(named):
        lead_to(server)
        answer = await complete("Why?", model="haiku", parameters=ChatParameters(max_tokens=100))
    assert server.asked[0].path == "/model/anthropic.claude-3-haiku-20240307-v1:0/converse"
    assert answer.cost_usd == Decimal("0.0000696")  # 123 at $0.20 and 45 at $1 a million


@pytest.mark.parametrize("wire", [Anthropic, Bedrock, Gemini, OpenRouter, Azure])
async def test_a_named_model_has_an_address_and_a_key_of_its_own(
    wire: type[WireServer], lead_to: LeadTo, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    async with wire() as usual, wire() as own:
        lead_to(usual)
        base = next(value for value in own.environment().values() if value.startswith("http"))
        key = "" if wire is Bedrock else 'api_key_env = "OWN_KEY"'
        monkeypatch.setenv("OWN_KEY", own.key)
        if wire is not Bedrock:
            monkeypatch.setenv(next(name for name, value in own.environment().items() if value == own.key), "another")
        path = tmp_path / "models.toml"
        path.write_text(f'[models.mine]\nmodel = "{own.model}"\napi_base = "{base}"\n{key}\n')
        async with open_ledger(settings.model_copy(update={"models": path})):
            answer = await complete("Why?", model="mine", parameters=ChatParameters(max_tokens=100))
    assert (answer.text, usual.asked, own.refused) == ("Yes.", [], [])
    assert len(own.asked) == 1
