"""A sweep is asked: cells in chunks, some at once, each answer scored and stored as it comes.

What is stored is not asked again, and what was paid for but not stored is in the ledger: whoever resumes after a crash
goes on where that was. A call that fails is stored as failed, with its reason; no other model answers in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import text

from blocks.database import database_errors
from schemas.calls import ChatCall
from schemas.errors import (
    BudgetExceeded,
    ConfigurationError,
    DatabaseUnavailable,
    HeadraceError,
    LeaseLost,
    RateLimited,
    RetriesExhausted,
)
from tasks.ledger.gateway import CallOutcome, answer_call
from tasks.ledger.runs import Run
from tasks.ledger.scoping import scope_of
from tasks.ledger.steps import step
from tasks.sweep.cells import PURPOSE, Cell
from tasks.sweep.chunks import Elsewhere, follow_record
from tasks.sweep.grid import Grid
from tasks.sweep.progress import Progress
from tasks.sweep.quality.scoring import OVERALL, VERSION, Scores, score_response
from tasks.sweep.storing import Answered, ResponseStore
from tasks.sweep.strategies import LEARNING, Asking, Scored, asking, most_calls

CHUNK = 200
"""Cells of a step."""
CHUNKS_AT_ONCE = 3
"""While the last cells of one are answered, those of the next are asked."""
MOST_FAILURES = 20
"""Calls that fail one after the other for want of the provider, after which the sweep ends: it can be resumed."""
LONG_ANSWER = 20_000
"""Characters from which on an answer is scored in a thread, so that others are not held up."""

_ENDING = (BudgetExceeded, DatabaseUnavailable, LeaseLost)
"""What no other cell would fare better with. Calls on their way are waited for and stored all the same."""
_OUTAGES = (RetriesExhausted, RateLimited, ConfigurationError)


class Chunked(BaseModel):
    """What a chunk came to; cells that were stored before count as well."""

    answered: int
    failed: int

    def __add__(self, other: Chunked) -> Chunked:
        return Chunked(answered=self.answered + other.answered, failed=self.failed + other.failed)


@dataclass(frozen=True)
class Asked:
    """What a sweep came to."""

    cells: int
    answered: int
    failed: int


class Sweep:
    """One sweep at work within a run.

    Args:
        grid: of a spec whose models are all named.
        at_once: calls on their way at any time, within the limits of their models.
        elsewhere: where chunks are asked, if not in this event loop.
    """

    def __init__(
        self,
        run: Run,
        experiment_id: str,
        grid: Grid,
        progress: Progress,
        *,
        at_once: int,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.run = run
        self.experiment_id = experiment_id
        self.grid = grid
        self.progress = progress
        self._slots = asyncio.Semaphore(at_once)
        self._store = ResponseStore(run, experiment_id)
        self._elsewhere = elsewhere
        self._learns = grid.spec.strategy.name in LEARNING
        self.scored: dict[tuple[str, int], float] = {}
        """`overall` of what was answered since the strategy was told, where it wants to know."""
        self._failures = 0
        self._ended: HeadraceError | None = None

    async def ask(self) -> Asked:
        """Every cell that the strategy wants has its response.

        Raises:
            BudgetExceeded: a budget has no room; what is answered is stored.
            RetriesExhausted, RateLimited, ConfigurationError: so many calls failed in a row.
            LeaseLost, DatabaseUnavailable: see `ResponseStore.store`.
        """
        self.progress.total = most_calls(self.grid)
        strategy, done = asking(self.grid), Chunked(answered=0, failed=0)
        following = self._follow()
        try:
            wanted: Iterable[Cell] | None = next(strategy)
            while wanted is not None:
                done += await self._ask_all(wanted)
                if self._ended is not None:
                    raise self._ended
                scored, self.scored = self.scored, {}
                wanted = _following(strategy, scored)
        finally:
            if following is not None:
                following.cancel()
            await asyncio.shield(self._store.close())
        return Asked(done.answered + done.failed, done.answered, done.failed)

    def end(self, error: HeadraceError) -> None:
        """No more calls are begun; what is on its way is stored."""
        self._ended = self._ended or error

    def _follow(self) -> asyncio.Task[None] | None:
        """Of what is asked elsewhere the record tells."""
        if self._elsewhere is None:
            return None
        following = follow_record(self.run.ledger, self.experiment_id, VERSION, self.progress)
        return asyncio.create_task(following, name="sweep-record")

    async def _ask_all(self, cells: Iterable[Cell]) -> Chunked:
        """What became of `cells`, of which few chunks are held at a time; none is begun once something ends it."""
        done = Chunked(answered=0, failed=0)
        slots = asyncio.Semaphore(self._elsewhere.workers if self._elsewhere else CHUNKS_AT_ONCE)
        ask = self._ask_chunk_elsewhere if self._elsewhere else self._ask_chunk

        async def one(chunk: Sequence[Cell]) -> None:
            nonlocal done
            try:
                chunked = await ask(chunk)
                done += chunked
            except HeadraceError as error:  # raised by `ask`, when what is under way beside it is stored
                self._ended = self._ended or error
            finally:
                slots.release()

        async with asyncio.TaskGroup() as group:
            for chunk in chunks_of(cells):
                await slots.acquire()
                if self._ended is not None:
                    break
                group.create_task(one(chunk))
        return done

    async def _ask_chunk(self, cells: Sequence[Cell]) -> Chunked:
        """The chunk is a step, of this attempt: one that is resumed looks at the table anew."""
        counted: set[Cell] = set()

        async def ask(attempt: UUID, first: str) -> Chunked:
            return await self._ask_missing(cells, counted)

        return await step("ask", version="1")(ask)(self.run.attempt.id, _first(cells))

    async def _ask_chunk_elsewhere(self, cells: Sequence[Cell]) -> Chunked:
        """As `_ask_chunk`, the work being that of whoever it is handed to."""
        elsewhere = self._elsewhere
        assert elsewhere is not None

        async def ask(attempt: UUID, first: str) -> Chunked:
            outcome = await elsewhere.ask(self.run, self.experiment_id, self.grid.spec, cells)
            outcome.raise_error()
            self.scored |= {(key, repetition): score for key, repetition, score in outcome.scored}
            return Chunked(answered=outcome.answered, failed=outcome.failed)

        return await step("ask", version="1", as_task=False)(ask)(self.run.attempt.id, _first(cells))

    async def ask_cells(self, cells: Sequence[Cell]) -> Chunked:
        """The cells have their responses, here and now; raises as `ask`."""
        try:
            return await self._ask_missing(cells, set())
        finally:
            await asyncio.shield(self._store.close())

    async def _ask_missing(self, cells: Sequence[Cell], counted: set[Cell]) -> Chunked:
        if isinstance(self._ended, DatabaseUnavailable):
            self._ended = None  # Prefect has waited, and tries again
        stored = await self._stored(cells, counted)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._ask_cell(cell, counted)) for cell in cells if cell not in stored]
        if self._ended is not None:
            raise self._ended
        failed = sum(not task.result() for task in asked)
        return Chunked(answered=len(cells) - failed, failed=failed)

    async def _ask_cell(self, cell: Cell, counted: set[Cell]) -> bool:
        """The response of `cell` is stored, unless something ends the sweep; True when it is an answer."""
        try:
            answered = await self._answer(cell)
            if answered is None:
                return False
            await self._store.store(answered)
        except HeadraceError as error:
            self._ended = self._ended or error
            return False
        outcome = answered.outcome
        overall = answered.scores.values[OVERALL] if answered.scores else None
        self._note(cell, overall, outcome.cost_usd if outcome else None, bool(outcome and outcome.replayed))
        counted.add(cell)
        return outcome is not None

    def _note(self, cell: Cell, overall: float | None, cost_usd: Decimal | None, replayed: bool) -> None:
        if self._learns and overall is not None:
            self.scored[cell.combination_key, cell.repetition] = overall
        self.progress.add(shown(cell), overall, cost_usd, replayed=replayed)

    async def _answer(self, cell: Cell) -> Answered | None:
        """What came of the call; None when it is not to be made any more."""
        async with self._slots:
            if self._ended is not None:
                return None
            try:
                outcome = await self._call(cell)
            except _ENDING:
                raise
            except HeadraceError as error:
                self._failures += isinstance(error, _OUTAGES)
                if self._failures >= MOST_FAILURES:
                    raise
                return Answered(cell, None, None, error)
        self._failures = 0
        return Answered(cell, outcome, await self._score(cell, outcome))

    async def _call(self, cell: Cell) -> CallOutcome:
        model = cell.combination.model
        assert model is not None
        call = ChatCall(model=model, messages=cell.messages, parameters=cell.parameters)
        context = {"experiment_id": self.experiment_id, "response_id": cell.response_id(self.experiment_id)}
        ledger = self.run.ledger
        scope = scope_of(ledger, None, None, PURPOSE, cell.repetition, context)
        return await answer_call(ledger, call, scope)  # and no fallback: another model's answer would be no answer

    async def _score(self, cell: Cell, outcome: CallOutcome) -> Scores:
        prompt, answer, weights = cell.combination.prompt, outcome.reply.text, self.grid.spec.weights
        if len(answer) > LONG_ANSWER:
            return await asyncio.to_thread(score_response, prompt, answer, weights=weights)
        return score_response(prompt, answer, weights=weights)

    async def _stored(self, cells: Sequence[Cell], counted: set[Cell]) -> set[Cell]:
        """Those of `cells` that have an answer."""
        by_id = {cell.response_id(self.experiment_id): cell for cell in cells}
        values = {"ids": list(by_id), "overall": OVERALL, "version": VERSION}
        with database_errors():
            async with self.run.ledger.engine.connect() as connection:
                rows = (await connection.execute(_STORED, values)).all()
        for row in rows:
            if (cell := by_id[row.id]) not in counted:
                self._note(cell, row.score, row.cost_usd, bool(row.replayed))
                counted.add(cell)
        return {by_id[row.id] for row in rows}


_STORED = text("""
    SELECT responses.id, responses.cost_usd, responses.replayed, quality_metrics.score
    FROM responses LEFT JOIN quality_metrics
        ON response_id = responses.id AND metric = :overall AND analysis_version = :version
    WHERE responses.id = ANY(:ids) AND status = 'succeeded'
""")


def chunks_of(cells: Iterable[Cell]) -> Iterator[Sequence[Cell]]:
    """`cells` in their order, so many together."""
    rest = iter(cells)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _first(cells: Sequence[Cell]) -> str:
    """What a chunk is known by."""
    return f"{cells[0].combination_key}/{cells[0].repetition}"


def shown(cell: Cell) -> str:
    """What the cell asks with, for people."""
    asked = cell.combination
    parameters = [f"{name} {value.normalize():f}" for name, value in asked.parameters]
    return ", ".join([asked.model or "", *parameters])


def _following(strategy: Asking, scored: Scored) -> Iterable[Cell] | None:
    """The cells to ask next; None when there are no more."""
    try:
        return strategy.send(scored)
    except StopIteration:
        return None
