"""A migration of every kind that is killed again and again at moments that nobody chose: the tables, row for row."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.flows.commands import Command
from tests.flows.conftest import Look, Run, Start
from tests.flows.large_sources import LARGE, Large
from tests.flows.test_migration_killed import rejects

KILLS = 2
COUNTED = ("read", "rejected", "inserted", "updated", "unchanged", "gone", "pruned", "staying", "target_checksum")
WRITTEN = """
    SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS logged, coalesce(sum(pg_relation_size(oid)), 0)::bigint
    AS staged FROM pg_class WHERE relnamespace = 'headrace_staging'::regnamespace
"""


class Written:
    """How many bytes were written since this was made, to the log of the database and to staging, which has none."""

    def __init__(self, look: Look) -> None:
        self._look, self._staged = look, 0
        self._begin = look(WRITTEN)[0]["logged"]

    def bytes(self) -> int:
        (now,) = self._look(WRITTEN)
        self._staged = max(self._staged, now["staged"])
        return int(now["logged"] - self._begin + self._staged)


def is_running(command: Command) -> bool:
    with suppress(ProcessLookupError):
        os.kill(command.pid, 0)
        return True
    return False


def bytes_of(command: Command, look: Look) -> int:
    """What a command writes that runs to its end."""
    written, most = Written(look), 0
    while is_running(command):
        most = max(most, written.bytes())
        time.sleep(0.005)
    return most


def killed_at(command: Command, look: Look, most: float) -> bool:
    """Whether the command was killed, as soon as it had written so much, before it had ended."""
    written = Written(look)
    while is_running(command) and written.bytes() < most:
        time.sleep(0.002)
    return command.kill().code < 0


def keep(look: Look, tables: tuple[str, ...], name: str) -> None:
    """The rows of the tables that came of sources are kept under `name`, without the run that wrote them."""
    look(f"CREATE SCHEMA {name}")
    for table in tables:
        look(
            f"CREATE TABLE {name}.{table} AS SELECT to_jsonb(t) - 'migration_run_id' AS row FROM {table} AS t "
            "WHERE source IS NOT NULL"
        )


def other_rows(look: Look, tables: tuple[str, ...], name: str) -> list[Any]:
    """Rows of the tables that are not kept under `name`, and rows kept that they do not have."""
    found = []
    for table in tables:
        here = f"SELECT to_jsonb(t) - 'migration_run_id' AS row FROM {table} AS t WHERE source IS NOT NULL"
        kept = f"SELECT row FROM {name}.{table}"
        found += look(f"({here} EXCEPT ALL {kept}) UNION ALL ({kept} EXCEPT ALL {here}) LIMIT 5")
    return found


def counted(report: dict[str, Any]) -> list[Any]:
    return [[table["table"], *(table[name] for name in COUNTED)] for table in report["tables"]]


@pytest.fixture(params=LARGE)
def source(request: pytest.FixtureRequest) -> Large:
    """A source that is large."""
    return LARGE[request.param]


@pytest.fixture
def path_of(source: Large, tmp_path: Path) -> Callable[..., Path]:
    """Writes the source as it was, or as it is later."""

    def write(*, later: bool) -> Path:
        folder = tmp_path / ("later" if later else "earlier")
        folder.mkdir()
        return source.write(folder, source.records(later))

    return write


def test_a_run_that_is_killed_at_any_moments_ends_as_one_that_was_not(
    headrace: Run, start: Start, look: Look, source: Large, path_of: Callable[..., Path], tmp_path: Path
) -> None:
    """The run changes, adds and prunes rows of an earlier one; taken back, it leaves that one's."""
    options = source.options(tmp_path)
    first = headrace("migrate", source.kind, path_of(later=False), *options, "--bare")
    assert first.code == 0, first.err
    keep(look, source.tables, "before")
    look("TRUNCATE migration_rejects")
    migrate = ("migrate", source.kind, path_of(later=True), *options, "--prune", "--json", "--bare")

    command = start(*migrate)
    most = bytes_of(command, look)
    alone = command.wait()
    assert alone.code == 0, alone.err
    assert all(any(table[fate] for table in alone.json["tables"]) for fate in COUNTED[:7])
    keep(look, source.tables, "alone")
    refused = rejects(look)
    assert headrace("rollback", alone.json["run_id"], "--bare").code == 0
    assert other_rows(look, source.tables, "before") == []
    look("TRUNCATE migration_rejects")

    chance, killed = random.Random(source.kind), 0
    while killed < KILLS and killed_at(start(*migrate), look, most * chance.uniform(0.02, 0.98)):
        killed += 1
        look("UPDATE workers SET lease_until = clock_timestamp() - interval '1 minute'")
        for run in look("SELECT id FROM runs WHERE flow = 'migrate-data' AND status = 'running'"):
            migrate = ("resume", run["id"], "--json", "--bare")
    assert killed
    resumed = headrace(*migrate)
    assert resumed.code == 0, resumed.err
    assert other_rows(look, source.tables, "alone") == []
    assert rejects(look) == refused
    assert counted(resumed.json) == counted(alone.json)
    assert headrace("rollback", resumed.json["run_id"], "--bare").code == 0
    assert other_rows(look, source.tables, "before") == []
