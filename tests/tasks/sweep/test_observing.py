"""Responses of an experiment read into arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine

from tasks.ledger.session import Ledger
from tasks.sweep import observing
from tests.tasks.sweep.experiments import Planted, store_experiment


async def test_few_rows_are_held_at_a_time(ledger: Ledger, database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    store_experiment(database, Planted())
    held: list[int] = []
    add = observing._Columns.add

    def counted(columns: Any, rows: Iterable[Sequence[Any]]) -> None:
        some = list(rows)
        held.append(len(some))
        add(columns, some)

    monkeypatch.setattr(observing._Columns, "add", counted)
    monkeypatch.setattr(observing, "AT_ONCE", 40)
    async with ledger.engine.connect() as connection:
        observed = await connection.run_sync(observing.read_experiment, "planted")
    assert held == [40, 40, 10]
    assert len(observed.observations) == 90
