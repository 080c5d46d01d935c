"""Rankings: what they must be, what they cost, and that they are paid once."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.calls import EmbeddingCall, RerankCall, SearchCall
from schemas.errors import (
    BadInput,
    BudgetExceeded,
    ConfigurationError,
    RetriesExhausted,
)
from tasks.ledger import estimate_cost, get_request, rerank
from tasks.ledger.limits import set_budgets
from tasks.ledger.session import open_ledger
from tests.conftest import Environment
from tests.tasks.ledger.conftest import Look
from tests.wire.cohere_rerank import Cohere, Scores
from tests.wire.server import Answer, Failure

UNIT = Decimal("0.002")
"""What Cohere asks for a search unit."""
TEXTS = ["The owner pays for repairs.", "Rent is due.", "The tenant shall keep the peace at night."]
DAY = "SELECT reserved_usd, spent_usd FROM budget_usage WHERE scope_kind = 'project' AND period = 'day'"

Serve = Callable[..., AbstractAsyncContextManager[Cohere]]

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def serve(environment: Environment, database_url: str, tmp_path: Path) -> Serve:
    """A server of these outcomes, and an open ledger that leads to it; keyword arguments are variables."""

    @asynccontextmanager
    async def begin(*outcomes: Answer | Failure, named: str = "", **variables: object) -> AsyncIterator[Cohere]:
        async with Cohere(*outcomes) as server:
            path = tmp_path / "models.toml"
            path.write_text(named)
            known = {"DATABASE_URL": database_url, "HEADRACE_RETRY_ATTEMPTS": 2, "HEADRACE_MODELS": path}
            usual = {"HEADRACE_RERANK_MODEL": server.model}
            async with open_ledger(environment(**known, **usual, **server.environment(), **variables)):
                yield server  # type: ignore[misc]

    return begin


async def test_two_equal_calls_are_one_payment_and_one_ranking(serve: Serve, look: Look) -> None:
    async with serve(Scores(of={0: 0.2, 1: 0.9, 2: 0.2})) as server:
        first = await rerank("When is rent due?", TEXTS, purpose="look")
        again = await rerank("When is rent due?", TEXTS)
    assert server.refused == []
    assert [(row.index, row.relevance_score) for row in first.results] == [(1, 0.9), (0, 0.2), (2, 0.2)]
    assert (first.cost_usd, first.cost_source, first.replayed) == (UNIT, "price_table", False)
    assert (again.results, again.cost_usd, again.replayed) == (first.results, 0, True)
    assert [asked.body for asked in server.asked] == [
        {"model": "rerank-v3.5", "query": "When is rent due?", "documents": TEXTS}
    ]
    assert look("SELECT kind, status, purpose, reserved_usd, cost_usd FROM llm_requests ORDER BY id") == [
        ("rerank", "succeeded", "look", UNIT, UNIT),
        ("rerank", "replayed", None, None, 0),
    ]
    assert look(DAY) == [(0, UNIT)]


async def test_the_row_holds_the_ranking(serve: Serve) -> None:
    async with serve(Scores(of={0: 0.5, 1: 0.25, 2: 0.75})):
        found = await rerank("repairs", TEXTS, top_n=1)
        row = await get_request(found.request_id)
    assert row.response == {"ranking": [{"index": 2, "relevance_score": 0.75}]}
    assert row.provider_request_id == "07734bd2-2473-4f07-94e1-0d9f0e6843cf"


async def test_only_the_best_are_kept_whatever_the_provider_sends(serve: Serve) -> None:
    rows = [{"index": index, "relevance_score": score} for index, score in enumerate([0.1, 0.3, 0.2])]
    async with serve(Scores(rows=rows)) as server:
        found = await rerank("repairs", TEXTS, top_n=2)
    assert [row.index for row in found.results] == [1, 2]
    assert server.asked[0].body["top_n"] == 2


def said(*pairs: tuple[Any, Any]) -> Scores:
    return Scores(rows=[{"index": index, "relevance_score": score} for index, score in pairs])


BROKEN = {
    "not sent": said((0, 0.1), (1, 0.2), (3, 0.3)),
    "not sent, from the end": said((0, 0.1), (1, 0.2), (-1, 0.3)),
    "twice": said((0, 0.1), (1, 0.2), (1, 0.3)),
    "left out": said((0, 0.1), (1, 0.2)),
    "none": said(),
    "no number": said((0, 0.1), (1, 0.2), (2, float("nan"))),
    "text for a score": said((0, 0.1), (1, 0.2), (2, "a Zebra")),
    "no place": said((0, 0.1), (1, 0.2), ("a Zebra", 0.1)),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_ranking_that_is_none_is_no_answer_and_may_be_billed(serve: Serve, look: Look, answer: Scores) -> None:
    async with serve(answer):
        with pytest.raises(RetriesExhausted, match="unreadable answer") as raised:
            await rerank("repairs", TEXTS)
    assert "Zebra" not in "".join(traceback.format_exception(raised.value)), "no error quotes an answer"
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1") == [("unknown", 2)]
    assert look("SELECT count(*) FROM answers") == [(0,)]
    assert look(DAY) == [(0, 2 * UNIT)]


async def test_what_does_not_fit_the_budget_is_refused_before_anybody_is_asked(serve: Serve) -> None:
    async with serve() as server:
        await set_budgets(day="0.001")
        with pytest.raises(BudgetExceeded):
            await rerank("repairs", TEXTS)
    assert server.asked == []


async def test_a_hundred_documents_are_a_unit_and_the_answer_says_how_many_were_billed(
    serve: Serve, look: Look
) -> None:
    async with serve(Scores(units=1), Scores(units=None)):
        await rerank("repairs", ["text"] * 101)
        await rerank("repairs", ["text"] * 200)
    assert look("SELECT reserved_usd, cost_usd FROM llm_requests ORDER BY id") == [
        (2 * UNIT, UNIT),
        (2 * UNIT, 2 * UNIT),
    ]


NAMED = """
[models.sorter]
model = "cohere/rerank-v3.5"
price_per_query = 0.001
"""


async def test_a_named_model_has_a_price_for_each_unit(serve: Serve) -> None:
    async with serve(named=NAMED):
        found = await rerank("repairs", TEXTS, model="sorter")
    assert (found.model, found.cost_usd) == ("sorter", Decimal("0.001"))


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        (("", ["a"]), "no query"),
        (("a", []), "from 1 to 1000"),
        (("a", ["a"] * 1001), "not 1001"),
        (("a", ["a", " "]), "document 2 is empty"),
        (("a", "text"), "a list of texts"),
        (("a", ["\udc00"]), "lone surrogate"),
    ],
)
async def test_what_nobody_can_rank_is_said_before_anybody_is_asked(
    serve: Serve, asked: tuple[str, Any], wrong: str
) -> None:
    async with serve() as server:
        with pytest.raises(BadInput, match=wrong):
            await rerank(*asked)
        with pytest.raises(BadInput, match="top_n"):
            await rerank("a", ["b"], top_n=0)
    assert server.asked == []


@pytest.mark.parametrize("model", ["gpt-4o-mini", "local/chat", "anthropic/claude-haiku-4-5"])
async def test_a_model_that_does_not_rerank_is_told_from_one_that_does(serve: Serve, look: Look, model: str) -> None:
    async with serve():
        with pytest.raises(ConfigurationError, match="HEADRACE_RERANK_MODEL"):
            await rerank("repairs", TEXTS, model=model)
    assert look("SELECT count(*) FROM llm_requests") == [(0,)]


async def test_without_a_model_the_variable_to_set_is_named(environment: Environment, database_url: str) -> None:
    async with open_ledger(environment(DATABASE_URL=database_url)):
        with pytest.raises(ConfigurationError, match="set HEADRACE_RERANK_MODEL"):
            await rerank("repairs", TEXTS)


@pytest.mark.parametrize(
    ("model", "variable"),
    [("cohere/rerank-v3.5", "COHERE_API_KEY"), ("together_ai/Salesforce/Llama-Rank-V1", "TOGETHERAI_API_KEY")],
)
async def test_a_key_that_is_not_set_is_named_and_nothing_is_spent(
    serve: Serve, look: Look, monkeypatch: pytest.MonkeyPatch, model: str, variable: str
) -> None:
    async with serve() as server:
        monkeypatch.delenv(variable, raising=False)
        with pytest.raises(ConfigurationError, match=variable):
            await rerank("repairs", TEXTS, model=model)
    assert server.asked == []
    assert look("SELECT status, cost_usd FROM llm_requests") == [("failed", 0)]


async def test_estimates_are_there_for_every_kind_of_call(serve: Serve) -> None:
    async with serve() as server:
        ranking = await estimate_cost(RerankCall(model="cohere/rerank-v3.5", query="repairs", documents=("a", "b")))
        search = await estimate_cost(SearchCall(model="zai/search-prime", query="repairs"))
        vectors = await estimate_cost(EmbeddingCall(model="text-embedding-3-small", texts=("a",)))
    assert (ranking.usd, search.usd) == (UNIT, Decimal("0.01"))
    assert vectors.usd is not None
    assert 0 < vectors.usd <= 10 * Decimal("0.02e-6")  # a letter, at 0.02 USD a million tokens
    assert server.asked == []
