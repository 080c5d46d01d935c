"""The judge's pass where Postgres goes away in between: every pair has its verdicts on record, or the pass fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, text

from schemas.errors import DatabaseUnavailable
from schemas.sweep import JudgeSpec
from tasks.ledger.runs import Run, RunRequest, open_run
from tasks.ledger.session import Ledger
from tasks.sweep.passes import judge
from tasks.sweep.passes.judge import Judging
from tasks.sweep.progress import Progress
from tests.tasks.sweep.experiments import Planted, store_experiment

PAIRS = 2 * 2 * 45
"""Of two prompts with 45 answers each, which meet the two that follow them in a circle; they are equal, so a tie."""


class Interrupted(Judging):
    """Some of its verdicts cannot be stored when they come, while others are waiting for their turn."""

    failures = 3

    async def _write(self, table: str, rows: Sequence[Mapping[str, Any]], suffix: str) -> None:
        await asyncio.sleep(0)
        if table == "judge_verdicts" and self.failures:
            self.failures -= 1
            raise DatabaseUnavailable("Postgres went away")
        await super()._write(table, rows, suffix)


def tried_again(name: str, *, version: str) -> Callable[..., Callable[..., Awaitable[Any]]]:
    """As a step inside Prefect, which waits and tries again."""

    def decorate(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def until_it_works(*arguments: Any) -> Any:
            for _ in range(3):
                try:
                    return await work(*arguments)
                except DatabaseUnavailable:
                    continue
            return await work(*arguments)

        return until_it_works

    return decorate


async def judged(run: Run, progress: Progress, *, at_once: int) -> None:
    spec = JudgeSpec(model="gpt-4o-mini")
    await Interrupted(run, "planted", spec, progress, seed=0, at_once=at_once).judge()


@pytest.mark.parametrize("at_once", [1, 4])
async def test_a_chunk_that_is_tried_again_leaves_no_pair_out(
    ledger: Ledger, database: Engine, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    store_experiment(database, Planted())
    monkeypatch.setattr(judge, "step", tried_again)
    progress = Progress()
    async with open_run(RunRequest(flow="sweep", subject="s", project="p", parameters={})) as run:
        await judged(run, progress, at_once=at_once)
    with database.connect() as connection:
        stored = connection.execute(text("SELECT count(*) FROM judge_verdicts WHERE forward = 'tie'")).scalar_one()
        scores = connection.execute(text("SELECT count(*) FROM quality_metrics WHERE metric = 'judge'")).scalar_one()
    assert (stored, scores, progress.passed, progress.to_pass) == (PAIRS, 90, PAIRS, PAIRS)


async def test_without_a_second_try_the_pass_fails_and_scores_nothing(ledger: Ledger, database: Engine) -> None:
    store_experiment(database, Planted())
    with pytest.raises(DatabaseUnavailable):
        async with open_run(RunRequest(flow="sweep", subject="s", project="p", parameters={})) as run:
            await judged(run, Progress(), at_once=4)
    with database.connect() as connection:
        scores = connection.execute(text("SELECT count(*) FROM quality_metrics WHERE metric = 'judge'")).scalar_one()
    assert scores == 0
