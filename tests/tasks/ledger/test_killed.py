"""A process is killed in the midst of many calls, and another one finishes them."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from decimal import Decimal

import pytest

from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look, StartProcess

COUNT = 100
WORKERS = 16


@pytest.mark.parametrize("killed_at", [1, 30, 70])
async def test_the_provider_is_asked_again_only_for_calls_that_had_no_stored_answer(
    environment: Environment, database_url: str, look: Look, start_process: StartProcess, killed_at: int
) -> None:
    numbers, reached = itertools.count(1), threading.Event()

    def respond(_: object) -> Reply:
        if next(numbers) == killed_at:
            reached.set()
        return Reply("yes", usage={"cost": 0.25})

    with ScriptedProvider(respond, latency_ms=5) as provider:
        environment(DATABASE_URL=database_url, OPENAI_API_KEY="key", OPENAI_BASE_URL=provider.url)
        calls = {"first": 0, "count": COUNT, "workers": WORKERS, "max_tokens": 100}
        doomed = start_process("ask_many", **calls)
        assert await asyncio.to_thread(reached.wait, 60)
        doomed.kill()
        stored = prompts(look, "succeeded")
        heir = start_process("ask_many", **calls)
        assert heir.line() == {"answered": COUNT}
        asked = Counter(request.body["messages"][0]["content"] for request in provider.log)

    again = {prompt for prompt, times in asked.items() if times > 1}
    assert len(asked) == COUNT
    assert not again & stored
    assert again <= prompts(look, "unknown")
    assert len(prompts(look, "unknown")) <= WORKERS
    rows = dict(tuple(row) for row in look("SELECT status, count(*) FROM llm_requests GROUP BY 1"))
    assert (rows["succeeded"], rows.get("replayed", 0)) == (COUNT, len(stored))
    assert look("SELECT status, count(*) FROM answers GROUP BY 1") == [("answered", COUNT)]
    (worst,) = look("SELECT coalesce(sum(reserved_usd), 0) AS usd FROM llm_requests WHERE status = 'unknown'")
    spent = COUNT * Decimal("0.25") + worst.usd
    assert look("SELECT reserved_usd, spent_usd FROM budget_usage WHERE period = 'day'") == [(0, spent)]


def prompts(look: Look, status: str) -> set[str]:
    """The prompts of requests with this status."""
    query = "SELECT request #>> '{messages,0,content}' AS prompt FROM llm_requests WHERE status = :status"
    return {row.prompt for row in look(query, status=status)}
