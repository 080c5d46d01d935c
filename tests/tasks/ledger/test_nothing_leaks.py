"""Whatever a provider says when it fails, neither the prompt nor a key is in what is said or kept of it.

The prompt is in the row's `request` and both bodies in `llm_bodies`; a paid answer is in its `response`.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import product

import pytest
from pydantic import BaseModel, ConfigDict, field_validator
from sqlalchemy import Engine, text

from schemas.errors import (
    AnswerRejected,
    AuthenticationFailed,
    BadInput,
    ConfigurationError,
    ContentRefused,
    CreditExhausted,
    HeadraceError,
    JobEnded,
    ModelNotFound,
    PromptEchoed,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RetriesExhausted,
)
from schemas.settings import Settings
from tasks.ledger.calls import complete, complete_structured, embed
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.searches import search_web
from tasks.ledger.session import open_ledger
from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider
from tests.scripted_runpod import API_KEY as RUNPOD_KEY
from tests.scripted_runpod import ENDPOINT, Script, ScriptedRunPod, llama
from tests.scripted_search import KEY as SEARCH_KEY
from tests.scripted_search import Answer, ScriptedSearch

MODEL = "gpt-4o-mini"
KEY = "sk-Quagga-91c4"
PROMPT = "the Zebra of the mill keeps its secret recipe"
MARKS = ("quagga", "zebra", "secret recipe", SEARCH_KEY, RUNPOD_KEY.lower())
STATUSES = (307, 400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 503, 529)

Ask = Callable[[], Awaitable[object]]


class Strict(BaseModel):
    """An answer that takes little."""

    model_config = ConfigDict(extra="forbid")

    n: int

    @field_validator("n", mode="before")
    @classmethod
    def _is_small(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(f"{value} is no number")
        return value


def echoes(status: int) -> list[bytes]:
    """Bodies that repeat the key and the prompt wherever a provider might."""
    said = f"{KEY} asked: {PROMPT}"
    error = {"message": said, "type": said, "param": PROMPT, "code": KEY, "metadata": {"raw": said, "reasons": [said]}}
    return [
        json.dumps({"error": {"message": said, "type": "invalid_request_error", "param": None, "code": None}}).encode(),
        json.dumps({"error": error, "user_id": said}).encode(),
        json.dumps({"detail": said, "error": said, "status": status}).encode(),
        json.dumps([{"error": {"message": said, "details": [{"reason": KEY, "retryDelay": said}]}}]).encode(),
        f"<html><title>{said}</title></html>".encode(),
        said.encode(),
    ]


def marks_in(said: str) -> list[str]:
    """What of prompt and keys is in what is said."""
    return [mark for mark in MARKS if mark in said.lower()]


class Witness:
    """Looks wherever something is said or kept."""

    def __init__(self, database: Engine, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        self.database, self.caplog, self.capfd = database, caplog, capfd
        self.kinds: set[type[HeadraceError]] = set()

    async def failure(self, ask: Awaitable[object]) -> None:
        """The call fails, and nothing that is said of it holds a mark."""
        with pytest.raises(HeadraceError) as failed:
            await ask
        error: BaseException | None = failed.value
        while error is not None:
            if isinstance(error, HeadraceError):
                self.kinds.add(type(error))
            said = "".join(traceback.format_exception_only(error)) + repr(error) + repr(getattr(error, "details", ""))
            assert not marks_in(said), said
            error = error.__cause__
        shown = "".join(traceback.format_exception(failed.value))
        assert not marks_in(shown), shown

    def look_everywhere(self) -> None:
        """No log line, no output and no column of any row but those for it holds a mark."""
        printed = self.capfd.readouterr()
        assert not marks_in(self.caplog.text + printed.out + printed.err)
        with self.database.connect() as connection:
            tables = connection.execute(
                text("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                     "AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'llm_bodies'")
            ).scalars().all()  # fmt: skip
            assert "llm_requests" in tables
            for name in tables:
                kept = "'request' - CASE t.status WHEN 'succeeded' THEN 'response' ELSE '' END"
                columns = f"to_jsonb(t) - {kept}" if name == "llm_requests" else "to_jsonb(t)"
                rows = connection.execute(text(f"SELECT CAST({columns} AS text) FROM {name} AS t"))
                for row in rows.scalars():
                    assert not marks_in(row), (name, row)
            asked = connection.execute(text("SELECT count(*) FROM llm_requests WHERE CAST(request AS text) ~* 'zebra'"))
            assert asked.scalar_one() > 0


@pytest.fixture
def witness(database: Engine, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Witness]:
    """Looks everywhere when the test is done."""
    caplog.set_level(logging.DEBUG)
    present = Witness(database, caplog, capfd)
    yield present
    present.look_everywhere()


@pytest.fixture
def replies() -> list[Reply]:
    """What the provider has answered; the last one is its answer from now on."""
    return [Reply("yes")]


@pytest.fixture
def provider(request: pytest.FixtureRequest, replies: list[Reply]) -> Iterator[ScriptedProvider]:
    """A provider that says what it is told to."""
    marker = request.node.get_closest_marker("scripted")
    with ScriptedProvider(lambda _: replies[-1], **(marker.kwargs if marker else {})) as server:
        yield server


@pytest.fixture
def settings(environment: Environment, database_url: str, provider: ScriptedProvider) -> Settings:
    """One attempt a call, with a key that can be known again."""
    return environment(
        DATABASE_URL=database_url,
        OPENAI_API_KEY=KEY,
        OPENAI_BASE_URL=provider.url,
        HEADRACE_RETRY_ATTEMPTS=1,
        HEADRACE_CALL_TIMEOUT_SECONDS=5,
    )


async def in_a_run(ask: Ask) -> None:
    """The call is one of a run, so that run and attempt keep why it failed."""
    async with open_run(RunRequest(flow="f", subject="s", project="default", parameters={})):
        await ask()


@pytest.mark.usefixtures("ledger")
async def test_error_answers_repeat_nothing(provider: ScriptedProvider, replies: list[Reply], witness: Witness) -> None:
    for status in STATUSES:
        for body in echoes(status):
            replies.append(Reply(status=status, body=body))
            await witness.failure(in_a_run(partial(complete, PROMPT, model=MODEL)))
    assert len(provider.log) == len(STATUSES) * len(echoes(400))
    assert witness.kinds == {
        *(AuthenticationFailed, BadInput, ConfigurationError, CreditExhausted, ModelNotFound),
        *(ProviderUnavailable, RateLimited, RetriesExhausted, ContentRefused),
    }


@pytest.mark.scripted(faults={1: "reset", 2: "broken_json", 3: "no_choices", 4: "truncated", 5: "lost_answer"})
@pytest.mark.usefixtures("ledger")
async def test_answers_that_are_none_are_not_quoted(replies: list[Reply], witness: Witness) -> None:
    replies.append(Reply(f"{KEY} {PROMPT}"))
    for _ in range(5):
        await witness.failure(in_a_run(partial(complete, PROMPT, model=MODEL)))
    replies.append(Reply(None, refusal=f"I will not speak of {PROMPT}"))
    await witness.failure(complete(PROMPT, model=MODEL))
    assert witness.kinds == {RetriesExhausted, ProviderTimeout, ProviderUnavailable, ContentRefused}


@pytest.mark.parametrize(
    "answer",
    [PROMPT, json.dumps({"n": PROMPT}), json.dumps({"n": 1, PROMPT: KEY}), json.dumps({PROMPT: {"n": [PROMPT]}})],
)
@pytest.mark.usefixtures("ledger")
async def test_an_answer_outside_its_schema_is_not_quoted(replies: list[Reply], witness: Witness, answer: str) -> None:
    replies.append(Reply(answer))
    await witness.failure(in_a_run(partial(complete_structured, PROMPT, Strict, model=MODEL)))
    assert witness.kinds == {AnswerRejected}


async def test_input_that_cannot_be_sent_is_not_quoted(settings: Settings, witness: Witness) -> None:
    await complete(PROMPT, model=MODEL, project="so that there is a row")
    await witness.failure(complete(f"{PROMPT} \ud800", model=MODEL))
    await witness.failure(embed([PROMPT, " "]))
    await witness.failure(embed([f"{PROMPT} \ud800"]))
    assert witness.kinds == {BadInput}


async def test_jobs_that_come_to_nothing_are_not_quoted(
    environment: Environment, database_url: str, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocks.providers.runpod_job.FIRST_PAUSE_SECONDS", 0.005)
    said = f"{RUNPOD_KEY} asked: {PROMPT}"
    scripts = [
        Script(states=("FAILED",), error=said),
        Script(states=("CANCELLED",)),
        Script(states=("TIMED_OUT",), error=said),
        Script(output={"error": said, "error_type": said}),
        Script(output={"echo": PROMPT}),
        Script(output=said),
        Script(output=llama(PROMPT)),
    ]
    current = iter(scripts)
    with ScriptedRunPod(lambda _: next(current)) as runpod:
        environment(
            DATABASE_URL=database_url,
            RUNPOD_API_KEY=RUNPOD_KEY,
            RUNPOD_ENDPOINT_BASE_URL=runpod.url,
            LEXYBRAIN_RUNPOD_ENDPOINT_ID=ENDPOINT,
            HEADRACE_RETRY_ATTEMPTS=1,
        )
        for _ in scripts:
            await witness.failure(in_a_run(partial(complete, PROMPT, model="runpod/default")))
    assert {PromptEchoed, JobEnded, RetriesExhausted} <= witness.kinds


async def test_searches_that_fail_are_not_quoted(environment: Environment, database_url: str, witness: Witness) -> None:
    with ScriptedSearch() as server:
        environment(DATABASE_URL=database_url, HEADRACE_RETRY_ATTEMPTS=1, **server.environment)
        async with open_ledger():
            for provider, status in product(("zai", "tavily"), (200, *STATUSES[:5], 429, 500)):
                for body in echoes(status)[::2]:
                    answer = Answer(status, body.replace(KEY.encode(), SEARCH_KEY.encode()))
                    server.find = lambda _, answer=answer: answer
                    await witness.failure(in_a_run(partial(search_web, PROMPT, provider=provider)))
    assert {AuthenticationFailed, BadInput, RetriesExhausted} <= witness.kinds
