"""What tests of flows share: a model that analyses, commands as processes, a look at the rows."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from blocks.settings import get_settings
from flows.command_line import run_command
from schemas.settings import Settings
from tests.flows.analyst import ScriptedAnalyst
from tests.flows.commands import Command, CommandServer, Done
from tests.scripted_provider import ScriptedProvider

Rows = list[dict[str, Any]]
Look = Callable[..., Rows]
Run = Callable[..., Done]
Start = Callable[..., Command]

BILL = """AN ACT relating to rents.

SECTION 1. LIMIT ON RENTS.

    (a) The owner of a dwelling shall not raise the rent by more than six percent in a year.
    (b) The owner shall give the tenant ninety days of notice before a raise takes effect.

SECTION 2. RELOCATION.

    (a) An owner who ends a tenancy shall pay the tenant three months of rent.
    (b) A household with a child receives two thousand dollars ($2,000) more from the owner.

SECTION 3. FUND.

    (a) There is appropriated to the department the sum of $5,000,000 for legal aid to tenants.
"""


@pytest.fixture
def analyst() -> ScriptedAnalyst:
    """The model behind the provider; a test may change how it answers."""
    return ScriptedAnalyst()


@pytest.fixture
def provider(analyst: ScriptedAnalyst) -> Iterator[ScriptedProvider]:
    """A provider of the analyst's answers."""
    with ScriptedProvider(analyst) as server:
        yield server


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    """A bill of three sections."""
    path = tmp_path / "LAKEMONT-bill.txt"
    path.write_text(BILL)
    return path


@pytest.fixture
def look(database: Engine) -> Look:
    """Runs SQL on a connection of its own, so that it sees what is durable; returns the rows."""

    def run(sql: str, **values: Any) -> Rows:
        with database.begin() as connection:
            result = connection.execute(text(sql), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    return run


@pytest.fixture(scope="session")
def command_server() -> Iterator[CommandServer]:
    """The process that commands are forked from."""
    server = CommandServer()
    yield server
    server.close()


@pytest.fixture
def start(command_server: CommandServer, settings: Settings, tmp_path: Path) -> Start:
    """Starts `headrace ARGUMENTS` as a process, on the test's database and provider."""
    assert settings.database_url is not None

    def begin(*arguments: object, **more: Any) -> Command:
        return command_server.start(tmp_path / "command", *map(str, arguments), **more)

    return begin


@pytest.fixture
def headrace(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Run]:
    """Runs the command `headrace ARGUMENTS` to its end, in this process."""
    assert settings.database_url is not None
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: object, stdin: bytes = b"") -> Done:
        capsys.readouterr()
        get_settings.cache_clear()
        (tmp_path / "stdin").write_bytes(stdin)
        monkeypatch.setattr("sys.stdin", (tmp_path / "stdin").open())
        others, logging.root.handlers = logging.root.handlers, []  # the command sets up its own
        try:
            code = run_command([str(argument) for argument in arguments])
        finally:
            logging.root.handlers = others
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
