"""The pass in which a model compares stored answers, pair by pair; a pair that has its verdicts is not asked again.

Verdicts are stored as they come, and what was paid for but not stored is in the ledger. At the end every answer has its
score, the metric `judge`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Connection, text

from blocks.database import database_errors
from schemas.errors import DatabaseUnavailable, HeadraceError
from schemas.sweep import JudgeSpec
from tasks.ledger.rows import insert_rows
from tasks.ledger.runs import Run, hold_run_here
from tasks.ledger.steps import step
from tasks.sweep.passes.work import work_through
from tasks.sweep.progress import Progress
from tasks.sweep.quality.agreement import Comparison
from tasks.sweep.quality.judging import (
    JUDGE,
    Bench,
    Ruling,
    count_pairs,
    draw_pairs,
    judge_scores,
    judge_version,
    open_bench,
)

CHUNK = 100
"""Pairs of a step."""
CHUNKS_AT_ONCE = 3
"""While the last pairs of one are judged, those of the next are asked."""
ROWS = 5_000
"""Scores of a statement."""

Pair = tuple[str, str]
Group = dict[str, str]

_ANSWERS = text("""
    SELECT md5(coalesce(responses.prompt, experiments.prompt)) AS prompt, responses.id,
           combination_key || '/' || repetition AS cell
    FROM responses JOIN experiments ON experiments.id = experiment_id
    WHERE experiment_id = :experiment AND responses.status = 'succeeded' ORDER BY 1, combination_key, repetition
""")
_TEXTS = text("""
    SELECT responses.id, coalesce(responses.prompt, experiments.prompt) AS prompt, content
    FROM responses JOIN experiments ON experiments.id = experiment_id WHERE responses.id = ANY(:ids)
""")
_VERDICTS = text("""
    SELECT first_id, second_id, forward, backward FROM judge_verdicts
    WHERE experiment_id = :experiment AND analysis_version = :version
""")


class Judged(BaseModel):
    """What a chunk came to."""

    pairs: int


class Judging:
    """A judge at work within a run.

    Args:
        spec: with its model named.
        seed: of the draw of pairs.
        at_once: pairs that are being compared at any time, within the limits of the model.
    """

    def __init__(
        self, run: Run, experiment_id: str, spec: JudgeSpec, progress: Progress, *, seed: int, at_once: int
    ) -> None:
        assert spec.model is not None
        self.run = run
        self.experiment_id = experiment_id
        self.spec = spec
        self.model = spec.model
        self.version = judge_version(spec.model)
        self.progress = progress
        self.seed = seed
        self.at_once = at_once
        self._slots = asyncio.Semaphore(at_once)
        self._ended: HeadraceError | None = None
        self._unstored: list[Mapping[str, Any]] = []
        self._storing = asyncio.Lock()

    async def judge(self) -> None:
        """Every answer has the score that the verdicts give it.

        Raises:
            BudgetExceeded, ConfigurationError, RetriesExhausted, BadInput: see `judge_answers`; what is judged is
                stored.
            LeaseLost: another attempt has taken the run over.
        """
        groups = await self._answers()
        known = {(each.first, each.second) for each in await self._verdicts()}
        pairs = sum(count_pairs(len(ids), self.spec.opponents) for ids in groups)
        self.progress.begin_pass("judging", pairs, "pairs")
        bench = await open_bench(self.run.ledger, self.model)

        async def one(chunk: Sequence[Pair]) -> None:
            await self._judge_chunk(bench, chunk)

        await work_through(_chunks(self._missing(groups, known)), one, at_once=CHUNKS_AT_ONCE)
        await self._score(groups)

    def _missing(self, groups: Sequence[Group], known: set[Pair]) -> Iterator[Pair]:
        """Pairs that have no verdict yet; those that have are counted.

        They are drawn among cells, which are the same in every sweep that asks the same: it pays for no verdict again.
        """
        for ids in groups:
            for one, other in draw_pairs(list(ids), opponents=self.spec.opponents, seed=self.seed):
                pair = (ids[one], ids[other])
                if pair in known:
                    self.progress.count_pass(1)
                else:
                    yield pair

    async def _judge_chunk(self, bench: Bench, pairs: Sequence[Pair]) -> None:
        """The chunk is a step, of this attempt: one that is resumed looks at the table anew."""

        stored: set[Pair] = set()

        async def judge(attempt: UUID, first: Pair) -> Judged:
            if isinstance(self._ended, DatabaseUnavailable):
                self._ended = None  # Prefect has waited, and tries again
            texts = await self._texts({name for pair in pairs for name in pair})

            async def compare(pair: Pair) -> None:
                async with self._slots:
                    if self._ended is not None:
                        raise self._ended
                    row = await self._compare(bench, texts, pair)
                await self._store(row)
                stored.add(pair)
                self.progress.count_pass(1)

            try:
                await work_through([pair for pair in pairs if pair not in stored], compare, at_once=self.at_once)
            except HeadraceError as error:
                self._ended = self._ended or error
                raise
            return Judged(pairs=len(pairs))

        await step("judge", version="1")(judge)(self.run.attempt.id, pairs[0])

    async def _compare(self, bench: Bench, texts: Mapping[str, tuple[str, str]], pair: Pair) -> dict[str, Any]:
        (prompt, first), (_, second) = texts[pair[0]], texts[pair[1]]
        forward, backward = await bench.compare(prompt, first, second)
        return self._row(pair, forward, backward)

    def _row(self, pair: Pair, forward: Ruling, backward: Ruling) -> dict[str, Any]:
        return {
            "experiment_id": self.experiment_id,
            "analysis_version": self.version,
            "first_id": pair[0],
            "second_id": pair[1],
            "forward": forward.verdict,
            "backward": backward.verdict,
            "forward_request_id": forward.request_id and str(forward.request_id),
            "backward_request_id": backward.request_id and str(backward.request_id),
        }

    async def _store(self, row: Mapping[str, Any]) -> None:
        """The verdicts are stored as they come; those that come while others are being written go together."""
        self._unstored.append(row)
        async with self._storing:
            rows, self._unstored = self._unstored, []
            if not rows:
                return
            try:
                await self._write("judge_verdicts", rows, "ON CONFLICT DO NOTHING")
            except BaseException:
                self._unstored = [*rows, *self._unstored]  # whoever handed in one of these has his turn yet
                raise

    async def _score(self, groups: Sequence[Group]) -> None:
        """The verdicts on each prompt's answers give these their scores."""
        verdicts = await self._verdicts()
        group_of = {name: place for place, ids in enumerate(groups) for name in ids.values()}
        of_groups: list[list[Comparison]] = [[] for _ in groups]
        for each in verdicts:
            of_groups[group_of[each.first]].append(each)
        for ids, comparisons in zip(groups, of_groups, strict=True):
            scores = await asyncio.to_thread(judge_scores, list(ids.values()), comparisons)
            rows = iter(self._score_rows(scores))
            while some := list(islice(rows, ROWS)):
                await self._write("quality_metrics", some, "ON CONFLICT (id) DO UPDATE SET score = excluded.score")

    def _score_rows(self, scores: Mapping[str, float]) -> Iterator[Mapping[str, Any]]:
        for name, score in scores.items():
            yield {
                "id": f"{name}/{self.version}/{JUDGE}",
                "response_id": name,
                "metric": JUDGE,
                "score": score,
                "analysis_version": self.version,
            }

    async def _answers(self) -> list[Group]:
        """Ids of the answers to each prompt, by cell."""
        with database_errors():
            async with self.run.ledger.engine.connect() as connection:
                rows = (await connection.execute(_ANSWERS, {"experiment": self.experiment_id})).all()
        return [{row.cell: row.id for row in group} for _, group in groupby(rows, key=lambda row: row.prompt)]

    async def _texts(self, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Prompt and answer, by the response's id."""
        with database_errors():
            async with self.run.ledger.engine.connect() as connection:
                rows = (await connection.execute(_TEXTS, {"ids": sorted(ids)})).all()
        return {row.id: (row.prompt, row.content) for row in rows}

    async def _verdicts(self) -> list[Comparison]:
        values = {"experiment": self.experiment_id, "version": self.version}
        with database_errors():
            async with self.run.ledger.engine.connect() as connection:
                rows = (await connection.execute(_VERDICTS, values)).all()
        return [Comparison(*row) for row in rows]

    async def _write(self, table: str, rows: Sequence[Mapping[str, Any]], suffix: str) -> None:
        def write(connection: Connection) -> None:
            hold_run_here(connection, self.run.attempt)
            insert_rows(connection, table, rows, suffix=suffix)

        with database_errors():
            async with self.run.ledger.engine.begin() as connection:
                await connection.run_sync(write)


def _chunks(pairs: Iterator[Pair]) -> Iterator[Sequence[Pair]]:
    while chunk := list(islice(pairs, CHUNK)):
        yield chunk
