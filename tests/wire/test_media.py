"""Images and rankings in each provider's wire format, through the whole gateway."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, text

from schemas.errors import (
    AuthenticationFailed,
    BadInput,
    ContentRefused,
    HeadraceError,
    ModelNotFound,
    RetriesExhausted,
)
from schemas.settings import Settings
from tasks.ledger import generate_image, rerank
from tasks.ledger.session import open_ledger
from tests.conftest import Environment
from tests.wire.azure_images import AzureImages
from tests.wire.cohere_rerank import Cohere, Scores
from tests.wire.conftest import LeadTo
from tests.wire.gemini_images import GeminiImages
from tests.wire.jina_rerank import Jina
from tests.wire.openai_images import OpenAIImages, Picture, png, usage
from tests.wire.openrouter_images import OpenRouterImages
from tests.wire.server import WireServer

SECRET = "the secret recipe of the mill"


@pytest.fixture
def settings(environment: Environment, database_url: str) -> Settings:
    """One attempt, so that what a provider says is what is raised."""
    return environment(DATABASE_URL=database_url, HEADRACE_RETRY_ATTEMPTS=1)


@pytest.fixture
async def _ledger(settings: Settings) -> AsyncIterator[None]:
    async with open_ledger(settings):
        yield


def bodies(database: Engine) -> list[bytes]:
    """What is on record of both directions."""
    with database.connect() as connection:
        found = connection.execute(text("SELECT request, response FROM llm_bodies")).all()
    return [zlib.decompress(body) for row in found for body in row if body is not None]


async def image_by(server: WireServer, lead_to: LeadTo, environment: Environment, **asked: Any) -> Any:
    """An image made by the model of `server`."""
    lead_to(server)
    async with open_ledger(environment()):
        return await generate_image(SECRET, model=server.model, size="1024x1024", quality="low", **asked)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("wire", [OpenAIImages, AzureImages])
async def test_images_are_read_counted_and_priced(
    wire: type[OpenAIImages], lead_to: LeadTo, environment: Environment, database: Engine
) -> None:
    async with wire(Picture(files=(png(1), png(2)), usage=usage(100, 700, text_made=100))) as server:
        made = await image_by(server, lead_to, environment, n=2)
    assert server.refused == []
    assert [image.data for image in made.images] == [png(1), png(2)]
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.output_text_tokens) == (100, 700, 100)
    # 100 tokens of prompt at 5 USD a million, 700 at 30: text in the output has no rate of its own
    assert made.cost_usd == Decimal("0.0005") + Decimal("0.021")
    sent, received = bodies(database)
    assert orjson.loads(sent)["prompt"] == SECRET
    assert orjson.loads(received)["usage"]["output_tokens"] == 700
    assert server.key.encode() not in sent + received


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("wire", [OpenAIImages, AzureImages])
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "content_policy_violation", ContentRefused),
        (400, "invalid_value", BadInput),
        (401, "invalid_api_key", AuthenticationFailed),
        (404, "DeploymentNotFound", ModelNotFound),
        (429, "rate_limit_exceeded", RetriesExhausted),
        (503, None, RetriesExhausted),
    ],
)
async def test_a_failure_of_an_image_is_a_class_of_ours_and_costs_nothing(
    wire: type[OpenAIImages],
    status: int,
    code: str | None,
    expected: type[HeadraceError],
    lead_to: LeadTo,
    environment: Environment,
    database: Engine,
) -> None:
    server = wire()
    server._outcomes = [server.failure(status, f"{server.key} asked for {SECRET}", code)]
    async with server:
        with pytest.raises(expected) as raised:
            await image_by(server, lead_to, environment)
    assert SECRET not in str(raised.value)
    assert server.key not in str(raised.value)
    with database.connect() as connection:
        rows = connection.execute(text("SELECT status, cost_usd FROM llm_requests")).all()
    assert [tuple(row) for row in rows] == [("failed", 0)]
    assert not any(server.key.encode() in body for body in bodies(database))


@pytest.mark.usefixtures("_ledger")
async def test_gemini_makes_an_image_or_refuses_to(lead_to: LeadTo, database: Engine) -> None:
    refusing = Picture(most=0, usage={"input_tokens": 10, "output_tokens": 0})
    async with GeminiImages(Picture(files=(png(3),)), refusing) as server:
        lead_to(server)
        made = await generate_image("a mill", model=server.model)
        with pytest.raises(ContentRefused, match="no image"):
            await generate_image(SECRET, model=server.model)
    assert server.refused == []
    assert [image.data for image in made.images] == [png(3)]
    assert made.cost_usd == Decimal("0.000003") + Decimal("0.0387")  # 10 at 0.30 and 1290 at 30 USD a million
    with database.connect() as connection:
        rows = connection.execute(text("SELECT status, cost_usd FROM llm_requests ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [("succeeded", made.cost_usd), ("failed", 0)]


@pytest.mark.usefixtures("_ledger")
async def test_openrouter_says_what_an_image_cost(lead_to: LeadTo) -> None:
    async with OpenRouterImages(Picture(files=(png(4),))) as server:
        lead_to(server)
        made = await generate_image("a mill", model=server.model, size="1536x1024")
    assert server.refused == []
    assert server.asked[0].body["image_config"] == {"aspect_ratio": "3:2"}
    assert [image.data for image in made.images] == [png(4)]
    assert (made.cost_usd, made.cost_source) == (Decimal("0.0387243"), "provider")


@pytest.mark.usefixtures("_ledger")
@pytest.mark.parametrize(
    ("wire", "cost"),
    [
        (Cohere, "0.004"),  # two units at 0.002
        (Jina, "0.000003"),  # 60 tokens at 0.05 USD a million
    ],
)
async def test_a_ranking_is_read_and_priced(wire: Any, cost: str, lead_to: LeadTo, database: Engine) -> None:
    async with wire(Scores(of={0: 0.1, 1: 0.7, 2: 0.4}, units=2, tokens=60)) as server:
        lead_to(server)
        found = await rerank(SECRET, ["a", "b", "c"], model=server.model, top_n=2)
    assert server.refused == []
    assert [(row.index, row.relevance_score) for row in found.results] == [(1, 0.7), (2, 0.4)]
    assert (found.cost_usd, found.cost_source) == (Decimal(cost), "price_table")
    sent, received = bodies(database)
    assert orjson.loads(sent)["documents"] == ["a", "b", "c"]
    assert b"0.7" in received
    assert server.key.encode() not in sent + received
    assert SECRET.encode() not in received, "the documents were not sent back"


@pytest.mark.usefixtures("_ledger")
@pytest.mark.parametrize("wire", [Cohere, Jina])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, BadInput),
        (401, AuthenticationFailed),
        (404, ModelNotFound),
        (422, BadInput),
        (429, RetriesExhausted),
        (500, RetriesExhausted),
    ],
)
async def test_a_failure_of_a_ranking_is_a_class_of_ours_and_costs_nothing(
    wire: Any, status: int, expected: type[HeadraceError], lead_to: LeadTo, database: Engine
) -> None:
    server = wire()
    server._outcomes = [server.failure(status, f"{server.key} asked for {SECRET}")]
    async with server:
        lead_to(server)
        with pytest.raises(expected) as raised:
            await rerank(SECRET, ["a", "b"], model=server.model)
    assert SECRET not in str(raised.value)
    assert server.key not in str(raised.value)
    with database.connect() as connection:
        rows = connection.execute(text("SELECT status, cost_usd FROM llm_requests")).all()
    assert [tuple(row) for row in rows] == [("failed", 0)]


@pytest.mark.usefixtures("_ledger")
async def test_what_is_no_json_may_be_billed(lead_to: LeadTo, database: Engine) -> None:
    class Broken(Cohere):
        def body(self, asked: Any, answer: Any) -> dict[str, Any]:
            return {"results": "many"}

    async with Broken() as server:
        lead_to(server)
        with pytest.raises(RetriesExhausted, match="unreadable"):
            await rerank(SECRET, ["a", "b"], model=server.model)
    with database.connect() as connection:
        rows = connection.execute(text("SELECT status, cost_usd FROM llm_requests")).all()
    assert [tuple(row) for row in rows] == [("unknown", None)]
