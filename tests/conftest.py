"""What tests share: one Postgres a session, a database cloned for each test, a scripted provider."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Engine, create_engine, text

from blocks.database import create_database, migrate, normal_url
from blocks.embedded.stack import EmbeddedStack
from blocks.settings import get_settings
from schemas.runpod_settings import RUNPOD_VARIABLES
from schemas.settings import OLDER_VARIABLES, Settings
from tasks.ledger import model_gate
from tasks.ledger.session import Ledger, open_ledger
from tests.scripted_provider import ScriptedProvider

SHARED = Path(__file__).parents[1] / ".." / "shared" / "data"
TEMPLATE = "headrace_template"
# The machine may be busy: an example may take its time.
hypothesis_settings.register_profile("unhurried", deadline=None)
hypothesis_settings.load_profile("unhurried")

FOREIGN_VARIABLES = (
    *("PREFECT_API_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "DATABASE_URL"),
    *RUNPOD_VARIABLES,
    *OLDER_VARIABLES,
)


def shared_data(name: str) -> Path:
    """A folder of the real inputs, or a skip that says what is missing."""
    path = (SHARED / name).resolve()
    if not path.exists():
        pytest.skip(f"the real inputs are not here: {path}")
    return path


@pytest.fixture(autouse=True)
def fresh_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits because of what a provider said that had the same port in an earlier one."""
    monkeypatch.setattr(model_gate, "_gates", {})
    monkeypatch.setattr(model_gate, "_beside", {})


@pytest.fixture(scope="session")
def postgres_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """The session's embedded Postgres."""
    home = tmp_path_factory.mktemp("headrace")
    with EmbeddedStack(home, home / "cache", idle_minutes=0) as stack:
        yield stack


@pytest.fixture(scope="session")
def template(postgres_stack: EmbeddedStack) -> Iterator[Engine]:
    """A connection to the server, on which a migrated template database stands ready."""
    engine = create_database(normal_url(postgres_stack.database_url(TEMPLATE)))
    migrate(engine)
    engine.dispose()
    admin = create_engine(normal_url(postgres_stack.database_url("postgres")), isolation_level="AUTOCOMMIT")
    yield admin
    admin.dispose()


@pytest.fixture
def empty_database_url(template: Engine) -> Iterator[str]:
    """URL of a database without a schema."""
    yield from _database(template, "template1")


@pytest.fixture
def database_url(template: Engine) -> Iterator[str]:
    """URL of a migrated database of the test's own."""
    yield from _database(template, TEMPLATE)


def _database(admin: Engine, source: str) -> Iterator[str]:
    name = f"test_{uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{source}"'))
    yield admin.url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    """A synchronous engine on the test's database, to look at the rows."""
    engine = create_database(normal_url(database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """A scripted OpenAI-compatible server in a thread of its own."""
    with ScriptedProvider() as server:
        yield server


Environment = Callable[..., Settings]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Environment]:
    """Sets the environment of this test and of its subprocesses; returns the settings it makes."""
    for name in (*FOREIGN_VARIABLES, *(name for name in os.environ if name.startswith("HEADRACE_"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HEADRACE_IDLE_MINUTES", "0")

    def make(**variables: object) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        get_settings.cache_clear()
        return get_settings()

    yield make
    get_settings.cache_clear()


@pytest.fixture
def settings(environment: Environment, database_url: str, provider: ScriptedProvider) -> Settings:
    """The test's database and scripted provider, chosen by the usual variables."""
    return environment(DATABASE_URL=database_url, OPENAI_API_KEY="test-key", OPENAI_BASE_URL=provider.url)


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[Ledger]:
    """An open ledger; pass it where one is wanted, or open one again and get this."""
    async with open_ledger(settings) as opened:
        yield opened
