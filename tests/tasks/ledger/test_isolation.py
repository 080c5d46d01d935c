"""Users are kept apart by the database itself, whatever an application's query says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, Row, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from blocks.database import alembic_config, create_async_database, create_database, migrate, normal_url
from schemas.errors import BadInput, ConfigurationError
from schemas.tables import Base
from tasks.ledger import as_user, complete, give_feedback, list_requests
from tasks.ledger.isolation import complete_roles, missing_of_roles
from tasks.ledger.limits import set_budgets
from tasks.ledger.session import Ledger
from tests.conftest import Environment
from tests.scripted_provider import ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
FIND_USER_TABLES = """
    SELECT pg_class.relname, relrowsecurity AND relforcerowsecurity FROM pg_class
    JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'user_id'
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
"""
READABLE = (
    "llm_requests",
    "llm_bodies",
    "budgets",
    "budget_usage",
    "feedback",
    "cost_tracking",
    "lexybrain_requests",
    "lexybrain_responses",
    "lexybrain_feedback",
    "lexybrain_training_data",
)


@pytest.fixture
def application(database: Engine) -> Iterator[str]:
    """A user of the server whom the application connects as: a member of its role and no more."""
    name = f"app_{uuid4().hex[:8]}"
    run(database, f"CREATE ROLE {name} LOGIN IN ROLE headrace_app")
    yield name
    run(database, f"DROP OWNED BY {name}")
    run(database, f"DROP ROLE {name}")


@pytest.fixture
async def pool(database: Engine, application: str) -> AsyncIterator[AsyncEngine]:
    """The application's connections, of which there is one."""
    engine = create_async_database(database.url.set(username=application), pool_size=1)
    yield engine
    await engine.dispose()


def run(engine: Engine, sql: str, **values: Any) -> list[Row[Any]]:
    """The rows of a statement, committed."""
    with engine.begin() as connection:
        result = connection.execute(text(sql), values)
        return list(result.all()) if result.returns_rows else []


async def count(connection: AsyncConnection, relation: str) -> int:
    return int((await connection.execute(text(f"SELECT count(*) FROM {relation}"))).scalar_one())


async def ask_for(*users: str | None) -> list[UUID]:
    """An answer, feedback on it and a budget for each user; returns the request ids."""
    made = []
    for user in users:
        answer = await complete("Why?", model=MODEL, user=user, project="lexybrain")
        await give_feedback(answer.request_id, "positive")
        if user:
            await set_budgets(user=user, day="5")
        made.append(answer.request_id)
    return made


async def test_a_user_reads_only_rows_of_their_own_through_tables_and_views(ledger: Ledger, pool: AsyncEngine) -> None:
    first, _, _ = await ask_for("ada", "bob", None)
    async with pool.connect() as connection, as_user(connection, "ada"):
        (row,) = (await connection.execute(text("SELECT id, user_id FROM llm_requests"))).all()
        assert row == (first, "ada")
        found = {relation: await count(connection, relation) for relation in READABLE}
    assert found == dict.fromkeys(READABLE, 1) | {"budget_usage": 2}  # a day and a month


async def test_without_a_user_there_are_no_rows(ledger: Ledger, pool: AsyncEngine) -> None:
    await ask_for("ada", None)
    async with pool.connect() as connection:
        assert [await count(connection, relation) for relation in READABLE] == [0] * len(READABLE)
        await connection.execute(text("SELECT set_config('headrace.user', '', true)"))
        assert await count(connection, "llm_requests") == 0


async def test_what_belongs_to_no_user_is_out_of_reach(ledger: Ledger, pool: AsyncEngine) -> None:
    for relation in ("runs", "steps", "answers", "workers", "bill_analyses", "pipeline_runs"):
        async with pool.connect() as connection, as_user(connection, "ada"):
            with pytest.raises(ProgrammingError, match="permission denied"):
                await count(connection, relation)


async def test_a_pooled_connection_does_not_carry_a_user_over(ledger: Ledger, pool: AsyncEngine) -> None:
    await ask_for("ada", "bob")
    seen = []
    backends = set()
    for user in ("ada", None, "bob", None):
        async with pool.connect() as connection:
            backends.add((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())
            await connection.commit()
            if user:
                async with as_user(connection, user):
                    seen += (await connection.execute(text("SELECT user_id FROM llm_requests"))).scalars()
            else:
                seen.append(await count(connection, "llm_requests"))
    assert seen == ["ada", 0, "bob", 0]
    assert len(backends) == 1


async def test_a_transaction_that_fails_leaves_nobody_behind(ledger: Ledger, pool: AsyncEngine) -> None:
    await ask_for("ada")
    async with pool.connect() as connection:
        with pytest.raises(DBAPIError, match="division by zero"):
            async with as_user(connection, "ada"):
                await connection.execute(text("SELECT 1 / (count(*) - 1) FROM llm_requests"))  # there is one
        assert await count(connection, "llm_requests") == 0
        assert (await connection.execute(text("SELECT current_user = session_user"))).scalar_one()


async def test_a_user_s_transaction_is_their_own_from_its_beginning(pool: AsyncEngine) -> None:
    async with pool.connect() as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(BadInput, match="in a transaction already"):
            async with as_user(connection, "ada"):
                pass
        await connection.rollback()
        for nobody in ("", "a\0b"):
            with pytest.raises(BadInput, match="named by a text"):
                async with as_user(connection, nobody):
                    pass


async def test_the_ledger_s_own_connections_are_kept_apart_as_well(ledger: Ledger) -> None:
    await ask_for("ada", "bob")
    async with ledger.engine.connect() as connection:
        async with as_user(connection, "bob"):
            assert await count(connection, "llm_requests") == 1
        assert await count(connection, "llm_requests") == 2


GIVE = "INSERT INTO feedback (response_id, user_id, rating) VALUES (:id, :user, 'negative')"


async def test_nobody_gives_feedback_for_another_or_on_another_s_response(ledger: Ledger, pool: AsyncEngine) -> None:
    ada, bob = await ask_for("ada", "bob")
    for values in ({"id": ada, "user": "bob"}, {"id": bob, "user": "ada"}, {"id": ada, "user": None}):
        async with pool.connect() as connection:
            with pytest.raises(ProgrammingError, match="row-level security policy"):
                async with as_user(connection, "ada"):
                    await connection.execute(text(GIVE), values)


async def test_a_user_gives_and_changes_feedback_of_their_own(ledger: Ledger, pool: AsyncEngine, look: Look) -> None:
    ada, bob = await ask_for("ada", "bob")
    look("DELETE FROM feedback WHERE user_id = 'ada'")
    async with pool.connect() as connection:
        async with as_user(connection, "ada"):
            await connection.execute(text(GIVE), {"id": ada, "user": "ada"})
        async with as_user(connection, "ada"):
            changed = await connection.execute(text("UPDATE feedback SET rating = 'neutral'"))
    assert changed.rowcount == 1
    assert look("SELECT response_id, user_id, rating FROM feedback ORDER BY user_id") == [
        (ada, "ada", "neutral"),
        (bob, "bob", "positive"),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE llm_requests SET cost_usd = 0",
        "DELETE FROM llm_requests",
        "INSERT INTO budgets (scope_kind, scope_id, period, limit_usd) VALUES ('user', 'ada', 'month', 1000)",
        "UPDATE budgets SET limit_usd = 1000",
        "DELETE FROM feedback",
        "INSERT INTO lexybrain_requests (id, user_id) VALUES (gen_random_uuid(), 'ada')",
        "CREATE TABLE of_mine (id int)",
    ],
)
async def test_the_ledger_is_not_the_application_s_to_write(ledger: Ledger, pool: AsyncEngine, statement: str) -> None:
    await ask_for("ada")
    async with pool.connect() as connection:
        with pytest.raises(DBAPIError, match=r"permission denied|cannot insert into view"):
            async with as_user(connection, "ada"):
                await connection.execute(text(statement))


def test_every_table_with_a_user_is_isolated_even_from_its_owner(database: Engine) -> None:
    expected = {name for name, table in Base.metadata.tables.items() if "user_id" in table.columns}
    assert dict(run(database, FIND_USER_TABLES)) == dict.fromkeys(expected, True)  # type: ignore[arg-type]
    assert {"llm_requests", "feedback"} <= expected


def test_there_is_a_writer_a_reader_and_an_application_none_of_whom_can_log_in(database: Engine) -> None:
    rows = run(database, "SELECT rolname, rolcanlogin, rolbypassrls FROM pg_roles WHERE rolname LIKE 'headrace%'")
    assert sorted(rows) == [
        ("headrace_app", False, False),
        ("headrace_read", False, False),
        ("headrace_worker", False, True),
    ]


async def test_the_worker_writes_for_everybody_and_the_reader_reads_everybody(ledger: Ledger, database: Engine) -> None:
    await ask_for("ada", "bob")
    with database.connect() as connection:
        connection.execute(text("SET ROLE headrace_worker"))
        assert connection.execute(text("UPDATE llm_requests SET model_version = 'x'")).rowcount == 2
        assert connection.execute(text("SELECT count(*) FROM lexybrain_training_data")).scalar_one() == 2
        connection.execute(text("SET ROLE headrace_read"))
        assert connection.execute(text("SELECT count(*) FROM llm_bodies")).scalar_one() == 2
        assert connection.execute(text("SELECT count(*) FROM pipeline_runs")).scalar_one() == 0
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text("DELETE FROM llm_bodies"))


def test_partitions_of_later_months_are_the_worker_s_and_nobody_else_s(database: Engine) -> None:
    run(database, "SELECT ensure_llm_request_partitions(6)")
    (partition,) = run(database, "SELECT max(inhrelid::regclass::text) FROM pg_inherits "
                                 "WHERE inhparent = 'llm_requests'::regclass")[0]  # fmt: skip
    said = [run(database, f"SELECT has_table_privilege('headrace_{role}', '{partition}', 'SELECT')")[0][0]
            for role in ("worker", "read", "app")]  # fmt: skip
    assert said == [True, True, False]


OURS = ("headrace_worker", "headrace_app", "headrace_read")


@pytest.fixture
def plain_owner(empty_database_url: str) -> Iterator[Engine]:
    """A database as a managed server gives it: its owner is no superuser and makes no roles."""
    admin = create_database(normal_url(empty_database_url))
    name = f"owner_{uuid4().hex[:8]}"
    run(admin, f"CREATE ROLE {name} LOGIN")
    run(admin, f'ALTER DATABASE "{admin.url.database}" OWNER TO {name}')
    run(admin, "CREATE EXTENSION vector")
    owner = create_database(admin.url.set(username=name))
    yield owner
    owner.dispose()
    run(admin, f"DROP OWNED BY {name} CASCADE")
    run(admin, f'ALTER DATABASE "{admin.url.database}" OWNER TO postgres')
    run(admin, f"DROP ROLE {name}")
    admin.dispose()


INSERT_BUDGET = "INSERT INTO budgets (scope_kind, scope_id, period, limit_usd) VALUES ('user', 'ada', 'day', 1)"


def test_an_owner_who_makes_no_roles_works_on_and_is_told_what_an_administrator_runs(
    plain_owner: Engine, database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    name = plain_owner.url.username
    for role in OURS:
        run(database, f"ALTER ROLE {role} RENAME TO hidden_{role}")
    try:
        migrate(plain_owner)
    finally:
        for role in OURS:
            run(database, f"ALTER ROLE hidden_{role} RENAME TO {role}")
    assert "CREATE ROLE headrace_worker NOLOGIN; CREATE ROLE headrace_app NOLOGIN" in caplog.text
    assert f"GRANT headrace_worker TO {name}" in caplog.text
    run(plain_owner, INSERT_BUDGET)
    assert run(plain_owner, "SELECT count(*) FROM budgets") == [(1,)]
    migrate(plain_owner, "base")
    migrate(plain_owner)


def test_an_owner_beside_roles_of_another_database_works_on_until_made_a_worker(plain_owner: Engine) -> None:
    migrate(plain_owner)
    name = plain_owner.url.username
    admin = create_database(plain_owner.url.set(username="postgres"))
    try:
        run(plain_owner, INSERT_BUDGET)
        assert complete_roles(plain_owner) == [f"GRANT headrace_worker TO {name}"]
        assert run(admin, "SELECT grant_headrace_roles()") == []
        assert complete_roles(plain_owner) == []
        assert run(plain_owner, "SELECT count(*) FROM budgets") == [(1,)]
        run(admin, f"REVOKE headrace_worker FROM {name}")
        assert run(plain_owner, "SELECT count(*) FROM budgets") == [(0,)], "forced, so that the owner is nobody too"
    finally:
        admin.dispose()


@pytest.fixture(params=["worker", "owner"])
def plain_url(request: pytest.FixtureRequest, plain_owner: Engine) -> Iterator[str]:
    """A migrated database as a user who is no superuser: a member of the worker's role, or the tables' owner."""
    migrate(plain_owner)
    name = f"worker_{uuid4().hex[:8]}"
    admin = create_database(plain_owner.url.set(username="postgres"))
    run(admin, f"CREATE ROLE {name} LOGIN IN ROLE headrace_worker")
    user = name if request.param == "worker" else str(plain_owner.url.username)
    yield plain_owner.url.set(username=user).render_as_string(hide_password=False)
    run(admin, f"DROP ROLE {name}")
    admin.dispose()


async def test_a_user_who_is_no_superuser_does_all_the_work(
    plain_url: str, environment: Environment, provider: ScriptedProvider
) -> None:
    environment(DATABASE_URL=plain_url, OPENAI_API_KEY="k", OPENAI_BASE_URL=provider.url)
    first = await complete("Why?", model=MODEL, user="ada", project="lexybrain")
    again = await complete("Why?", model=MODEL, user="ada", project="lexybrain")
    assert (first.replayed, again.replayed, provider.paid) == (False, True, 1)
    assert (await give_feedback(again.request_id, "positive")).response_id == first.request_id
    assert [record.user_id for record in await list_requests("ada")] == ["ada", "ada"]
    engine = create_database(normal_url(plain_url))
    assert run(engine, "SELECT feedback FROM lexybrain_training_data") == [("positive",)]
    assert run(engine, "SELECT ensure_llm_request_partitions(4)") == [(1,)]
    engine.dispose()


LEFT_BEHIND = """
    SELECT (SELECT count(*) FROM pg_policies WHERE schemaname = 'public'),
           (SELECT count(*) FROM pg_class WHERE relrowsecurity OR relforcerowsecurity),
           (SELECT count(*) FROM pg_default_acl),
           (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace
            AND relacl::text LIKE '%headrace_%')
"""


def test_the_schema_before_knows_nothing_of_the_roles(empty_database_url: str) -> None:
    engine = create_database(normal_url(empty_database_url))
    migrate(engine)
    assert all(run(engine, LEFT_BEHIND)[0])
    config = alembic_config()
    before = ScriptDirectory.from_config(config).get_revision("0003").down_revision
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, str(before))
    assert run(engine, LEFT_BEHIND) == [(0, 0, 0, 0)]
    engine.dispose()


def test_only_the_owner_of_the_tables_grants_the_roles(database: Engine, application: str) -> None:
    stranger = create_database(database.url.set(username=application))
    with pytest.raises(ConfigurationError, match="does not own the tables: let their owner run `headrace db roles`"):
        complete_roles(stranger)
    stranger.dispose()


async def test_a_connection_that_may_not_act_for_users_is_told_what_to_do(database: Engine) -> None:
    name = f"stranger_{uuid4().hex[:8]}"
    run(database, f"CREATE ROLE {name} LOGIN")
    engine = create_async_database(database.url.set(username=name))
    try:
        async with engine.connect() as connection:
            with pytest.raises(ConfigurationError, match=r"headrace db roles.*GRANT headrace_app"):
                async with as_user(connection, "ada"):
                    pass
    finally:
        await engine.dispose()
        run(database, f"DROP ROLE {name}")


def missing(engine: Engine) -> list[str]:
    """What the roles lack, as `headrace doctor` says it."""
    with engine.connect() as connection:
        return missing_of_roles(connection)


def test_what_the_roles_lack_is_found_and_is_what_granting_them_mends(database: Engine) -> None:
    assert missing(database) == []
    run(database, "REVOKE SELECT ON llm_requests, cost_tracking FROM headrace_app")
    run(database, "REVOKE INSERT ON budgets FROM headrace_worker")
    run(database, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM headrace_read")
    run(database, "REVOKE ALL ON SCHEMA headrace_staging FROM headrace_worker")
    app, read, staging, worker = sorted(missing(database))
    assert staging == "headrace_worker may not stage data in headrace_staging"
    assert app in {
        "headrace_app may not read llm_requests, cost_tracking",
        "headrace_app may not read cost_tracking, llm_requests",
    }
    assert worker == "headrace_worker may not write budgets"
    assert read.startswith("headrace_read may not read ")
    assert read.endswith(" tables and views")
    assert complete_roles(database) == []
    assert missing(database) == []


def test_roles_that_are_not_there_and_a_user_who_may_not_work_are_found(plain_owner: Engine, database: Engine) -> None:
    migrate(plain_owner)
    name = plain_owner.url.username
    assert missing(plain_owner) == []
    run(database, f"GRANT headrace_worker TO {name}")
    assert complete_roles(plain_owner) == []
    run(database, f"REVOKE headrace_worker FROM {name}")
    assert missing(plain_owner) == [f"{name}, who is connected, does not act as headrace_worker"]
    for role in OURS:
        run(database, f"ALTER ROLE {role} RENAME TO hidden_{role}")
    try:
        run(database, "ALTER ROLE hidden_headrace_worker NOBYPASSRLS")
        found = missing(plain_owner)
    finally:
        for role in OURS:
            run(database, f"ALTER ROLE hidden_{role} RENAME TO {role}")
        lacking = missing(database)
        run(database, "ALTER ROLE headrace_worker BYPASSRLS")
    assert {f"there is no role {role}" for role in OURS} <= set(found)
    assert lacking == ["headrace_worker is without BYPASSRLS"]
    assert missing(database) == []
