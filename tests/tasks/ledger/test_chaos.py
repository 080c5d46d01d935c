"""Everything goes wrong at once, and the books agree with what the provider served.

Eight processes ask 2,000 questions, many of which several of them ask, of a provider that refuses, fails, cuts
connections and talks nonsense. Processes are killed and others go on with their runs; Postgres is stopped at once
and comes back. What happens is chosen by a seed, `CHAOS_SEED` in the environment, and happens at marks in what the
provider has answered.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, Row

from blocks.embedded.stack import EmbeddedStack
from tasks.ledger.limits import set_budgets
from tasks.ledger.rebuild import rebuild
from tasks.ledger.session import open_ledger
from tasks.ledger.workers import bury_dead_workers
from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider, ServedRequest
from tests.tasks.ledger.chaos_worker import OWN, PARALLEL, SHARES, questions_of
from tests.tasks.ledger.conftest import Look, StartProcess, WorkerProcess
from tests.tasks.ledger.test_budget_wall import WALL

SEED = int(os.environ.get("CHAOS_SEED", "1"))
KILLS = 8
PATIENCE_SECONDS = 300.0
"""The machine may be busy; alone it takes fifteen seconds in all."""
FAULTS = {
    "429": 0.02,  # each halves how many calls the process makes at once
    "500": 0.08,
    "reset": 0.02,
    "lost_answer": 0.03,
    "truncated": 0.02,
    "broken_json": 0.02,
    "no_choices": 0.02,
}
THRIFTY_USD = Decimal("0.0008")
# gpt-4o-mini: 0.15 USD for a million tokens of input, 0.60 for a million of output.
INPUT_USD, OUTPUT_USD = Decimal("0.15e-6"), Decimal("0.60e-6")


class Answers:
    """What the provider answers, no two answers alike; counts them."""

    def __init__(self) -> None:
        self._made = 0
        self._counted = threading.Condition()

    def __call__(self, request: dict[str, Any]) -> Reply:
        """An answer whose usage depends on the question."""
        with self._counted:
            self._made += 1
            self._counted.notify_all()
            return Reply(f"The answer, said as number {self._made}.", usage=said_usage(prompt_of(request)))

    def wait_for(self, count: int) -> None:
        """Returns once `count` answers were made."""
        with self._counted:
            assert self._counted.wait_for(lambda: self._made >= count, PATIENCE_SECONDS), (
                f"{self._made} answers and no more"
            )


def prompt_of(request: Any) -> str:
    """The question that a request asks."""
    return str(request["messages"][0]["content"])


def said_usage(prompt: str) -> dict[str, Any]:
    """What the provider says of usage beside what it counts: a bill, nonsense, or nothing."""
    number = int(prompt.rpartition(" ")[2].removesuffix("?"))
    if "thriftily" in prompt:
        return {"completion_tokens": 40}
    return {3: {"cost": float(f"0.00000{number:03d}")}, 7: {"prompt_tokens": 12.5}}.get(number % 10, {})


def billed_usd(served: ServedRequest) -> Decimal | None:
    """What an answer costs; None where the provider talks nonsense about it."""
    said = said_usage(prompt_of(served.body))
    if "cost" in said:
        return Decimal(str(said["cost"]))
    if "prompt_tokens" in said:
        return None
    return served.input_tokens * INPUT_USD + served.output_tokens * OUTPUT_USD


class Share:
    """A share of the questions and the process that works on it."""

    def __init__(self, number: int, start: StartProcess) -> None:
        self._number = number
        self._start = start
        self._done = False
        self._process: WorkerProcess = start("chaos_worker.answer_share", share=number, seed=SEED)
        self._heard_run = False
        self.run = ""
        self.killed: list[int] = []

    def begun(self) -> None:
        """Its process works on the run."""
        if not self._heard_run:
            said = self._process.line(PATIENCE_SECONDS)["run"]
            assert self.run in ("", said), "the run goes on"
            self.run, self._heard_run = said, True

    def done(self) -> bool:
        """True when all of it was asked and its run is ended."""
        if not self._done and self._heard_run and self._process.has_more_to_say():
            self.finish()
        return self._done

    def finish(self) -> None:
        """All of it was asked; waits for that."""
        self.begun()
        if not self._done:
            assert self._process.line(PATIENCE_SECONDS) == {"done": self._number}
            self._done = True

    def kill(self) -> None:
        """Its process is dead in the middle of its work."""
        assert self._process.pid is not None
        self.killed.append(self._process.pid)
        self._process.kill()

    def go_on(self) -> None:
        """Another process resumes the run."""
        self._process = self._start("chaos_worker.answer_share", share=self._number, seed=SEED, resume=self.run)
        self._heard_run = False


@pytest.fixture
def database_url(stoppable_database_url: str) -> str:
    """URL of a database whose server may be stopped."""
    return stoppable_database_url


@pytest.fixture
def answers() -> Answers:
    """What the provider answers."""
    return Answers()


@pytest.fixture
def provider(answers: Answers) -> Iterator[ScriptedProvider]:
    """A provider in trouble."""
    with ScriptedProvider(answers, faults=FAULTS, seed=SEED, latency_ms=2) as server:
        yield server


def stop_at_once(stack: EmbeddedStack) -> None:
    """The server has stopped without a farewell to anybody (immediate shutdown)."""
    (pid,) = [state.pid for state in stack.running() if state.name == "postgres"]
    assert pid is not None
    server = psutil.Process(pid)
    server.send_signal(signal.SIGQUIT)
    server.wait(30)


def wreak_havoc(shares: Sequence[Share], provider: ScriptedProvider, answers: Answers, stack: EmbeddedStack) -> None:
    """At each of a few marks a process dies, at one of them while Postgres is away; others go on with what they did.

    Every second time answers wait meanwhile, so that those who die have asked and not heard.
    """
    chance = random.Random(SEED)
    marks = sorted(chance.sample(range(60, OWN * SHARES - 200), KILLS))
    outage = chance.randrange(2, KILLS - 2)
    for number, mark in enumerate(marks):
        answers.wait_for(mark)
        for share in shares:
            share.begun()
        hold = chance.random() < 0.5
        if hold:
            provider.hold()
        if number == outage:
            stop_at_once(stack)
        victims = [share for share in chance.sample(shares, SHARES) if not share.done()][: chance.choice((1, 1, 2))]
        for share in victims:
            share.kill()
        if number == outage:
            stack.database_url("stoppable")
        for share in victims:
            share.go_on()
        if hold:
            for share in victims:
                share.begun()
            provider.release()


ATTEMPTS = """
    SELECT request #>> '{messages,0,content}' AS prompt, response ->> 'content' AS said, status, error_class,
           provider_request_id, reserved_usd, cost_usd, project, run_id, pid
    FROM llm_requests JOIN workers ON workers.id = worker_id WHERE status <> 'replayed'
"""
ROW_KINDS = {
    ("succeeded", None): "answered",
    ("failed", "RateLimited"): "refused",
    ("failed", "ProviderUnavailable"): "refused",
    ("unknown", "ProviderTimeout"): "cut",
    ("unknown", "ProviderUnavailable"): "unreadable",
    ("unknown", "WorkerLost"): "killed",
}
SERVED_KINDS = {
    None: "answered",
    "status": "refused",
    "reset": "cut",
    "lost_answer": "cut",
    "truncated": "cut",
    "broken_json": "unreadable",
    "no_choices": "unreadable",
}


@dataclass(frozen=True)
class Books:
    """What the ledger says was attempted, and what the provider says it was asked."""

    attempts: list[Row[Any]]
    served: list[ServedRequest]

    def agree_on_each_attempt(self) -> None:
        """Each request the provider saw is a row that says what became of it, or `unknown` if its process was killed.

        Nothing else is a row, but what a killed process had not sent yet.
        """
        rows: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self.attempts:
            rows[row.prompt][ROW_KINDS[row.status, row.error_class]] += 1
        served: dict[str, Counter[str]] = defaultdict(Counter)
        for request in self.served:
            served[prompt_of(request.body)][SERVED_KINDS[request.fault]] += 1
        for prompt in rows.keys() | served.keys():
            in_flight_at_a_kill = rows[prompt].pop("killed", 0)
            assert rows[prompt] <= served[prompt], prompt
            assert (served[prompt] - rows[prompt]).total() <= in_flight_at_a_kill, prompt

    def agree_on_each_answer(self) -> None:
        """Each answer on record is one that was served, with its price; no key has two, no answer is on two rows."""
        answered = [row for row in self.attempts if row.status == "succeeded"]
        assert len({row.prompt for row in answered}) == len(answered)
        assert len({row.provider_request_id for row in answered}) == len(answered)
        served = {f"chatcmpl-{request.number}": request for request in self.served if request.fault is None}
        for row in answered:
            request = served[row.provider_request_id]
            assert row.prompt == prompt_of(request.body)
            assert row.cost_usd == billed_usd(request)

    def agree_on_the_sum(self) -> None:
        """What was paid for answers is what was billed, but for answers that only an `unknown` row stands for.

        These and all others together are counted with no less than was billed.
        """
        on_record = {row.provider_request_id for row in self.attempts if row.status == "succeeded"}
        bills = {f"chatcmpl-{request.number}": request for request in self.served if request.paid}
        lost = sum_usd(billed_usd(request) for number, request in bills.items() if number not in on_record)
        billed = sum_usd(billed_usd(request) for request in bills.values())
        assert sum_usd(row.cost_usd for row in self.attempts) == billed - lost
        assert lost <= sum_usd(row.reserved_usd for row in self.attempts if row.status == "unknown")


def sum_usd(amounts: Iterable[Decimal | None]) -> Decimal:
    """The sum of those that are known."""
    return sum((amount for amount in amounts if amount is not None), Decimal(0))


async def bury_the_dead() -> None:
    """What killed processes left behind is reconciled."""
    async with open_ledger() as ledger:
        await bury_dead_workers(ledger.engine, ledger.worker.id)


def every_question_has_its_answer(look: Look, attempts: Sequence[Row[Any]]) -> None:
    """Each question of each share has the one answer that was paid for; under the budget some have none."""
    answer_to = {row.prompt: row.said for row in attempts if row.status == "succeeded"}
    notes = look("SELECT output ->> 'prompt' AS prompt, output ->> 'answer' AS answer, status FROM steps")
    assert Counter(note.prompt for note in notes) == Counter(
        prompt for share in range(SHARES) for prompt in questions_of(share, SEED)
    )
    assert {note.status for note in notes} == {"completed"}
    assert all(note.answer == answer_to.get(note.prompt) for note in notes)
    refused = {note.prompt for note in notes if note.answer is None}
    assert refused, "the budget has room for fewer than half"
    assert all("thriftily" in prompt for prompt in refused)
    assert look("SELECT count(*) FROM llm_requests WHERE status = 'replayed' AND cost_usd <> 0") == [(0,)]
    stored = look("SELECT answers.status, count(*) FROM answers JOIN llm_bodies USING (request_id) GROUP BY 1")
    assert stored == [("answered", len(answer_to))]


def only_the_killed_left_something_behind(attempts: Sequence[Row[Any]], killed: set[int]) -> None:
    """No more than they may have had in flight, counted with its worst case."""
    lost = [row for row in attempts if row.error_class == "WorkerLost"]
    assert lost, "kills that hit nothing prove nothing"
    assert all(row.cost_usd is None and row.reserved_usd > 0 for row in lost)
    left = Counter(row.pid for row in lost)
    assert left.keys() <= killed
    assert max(left.values()) <= PARALLEL


def counters_and_runs_come_to_the_same(look: Look, attempts: Sequence[Row[Any]]) -> None:
    """Nothing is reserved any more; what is spent is what was paid or may have been."""
    usage = "SELECT sum(reserved_usd), sum(spent_usd) FROM budget_usage WHERE scope_id = :project AND period = 'day'"
    for project in ("default", "thrifty"):
        mine = [row for row in attempts if row.project == project]
        spent = sum_usd(row.reserved_usd if row.cost_usd is None else row.cost_usd for row in mine)
        assert look(usage, project=project) == [(0, spent)]
    for run in look("SELECT id, status, cost_usd FROM runs"):
        mine = [row for row in attempts if row.run_id == run.id]
        costs = [row.reserved_usd if row.status == "unknown" else row.cost_usd for row in mine]
        assert (run.status, run.cost_usd) == ("completed", None if None in costs else sum_usd(costs))


def test_2000_calls_of_8_processes_survive_faults_kills_and_a_restart_of_postgres(
    environment: Environment,
    provider: ScriptedProvider,
    answers: Answers,
    stoppable: EmbeddedStack,
    database_url: str,
    database: Engine,
    look: Look,
    start_process: StartProcess,
) -> None:
    environment(
        DATABASE_URL=database_url,
        OPENAI_API_KEY="key",
        OPENAI_BASE_URL=provider.url,
        HEADRACE_PARALLEL_CALLS=PARALLEL,
        HEADRACE_RETRY_ATTEMPTS=50,
        HEADRACE_RETRY_SECONDS=3600,
        HEADRACE_LEASE_SECONDS=600,  # only who is known to be dead is taken over, however slow the machine is
    )
    look(WALL)
    asyncio.run(set_budgets(project="thrifty", day=str(THRIFTY_USD)))
    provider.hold()
    shares = [Share(number, start_process) for number in range(SHARES)]
    for share in shares:
        share.begun()
    provider.release()
    wreak_havoc(shares, provider, answers, stoppable)
    for share in shares:
        share.finish()
    asyncio.run(bury_the_dead())
    database.dispose()  # its connections are those to the server that was stopped

    books = Books(look(ATTEMPTS), provider.log)
    books.agree_on_each_attempt()
    books.agree_on_each_answer()
    books.agree_on_the_sum()
    every_question_has_its_answer(look, books.attempts)
    only_the_killed_left_something_behind(books.attempts, {pid for share in shares for pid in share.killed})
    counters_and_runs_come_to_the_same(look, books.attempts)
    with database.begin() as connection:
        assert rebuild(connection).differences == ()
