"""Who may not read a material reads nothing of it through its chunks, their vectors, or the index of their words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from blocks.database import create_async_database
from schemas.tables import Base
from tasks.ledger.isolation import as_user
from tests.tasks.retrieval.conftest import Shelf, Text

ADA = Text("m-heap", "A heap keeps its smallest key on top.", [1, 0], title="Heaps", course="cs101")
BOB = Text("m-exam", "The exam asks for rotations.", [0, 1], title="Exam", course="cs201")
BOTH = (
    Text("m-rules-1", "Write your name first.", [1, 1], title="Rules", course="cs101"),
    Text("m-rules-2", "Write your name first.", [1, 1], title="Rules", course="cs201"),
)
GONE = Text("m-gone", "An old exam.", [0, 1], title="Gone", course="cs201")
OF_MATERIALS = {
    "course_materials": "id",
    "chunks": "material_id",
    "term_documents": "material_id",
    "material_embeddings": "(SELECT min(material_id) FROM chunks WHERE chunks.content_hash = rows.content_hash)",
}
OUT_OF_REACH = ("term_segments", "term_postings", "term_deletions", "embedding_failures", "embedded_materials")


@pytest.fixture
def library(shelf: Shelf) -> Shelf:
    """Materials of two courses, one text in both; ada takes one course, bob the other, eve none."""
    generation = shelf.generation(2)
    chunks = shelf.add(generation, ADA, BOB, *BOTH, GONE)
    for table, values in (
        ("embedding_failures (generation_id, content_hash, reason, error_class)", "(:generation, 'h', 'exam', 'E')"),
        ("embedded_materials (chunker, material_id, fingerprint, chunks)", "('test-1', 'm-exam', 'f', 1)"),
    ):
        shelf.run(f"INSERT INTO {table} VALUES {values}", generation=generation)
    shelf.run("DELETE FROM course_materials WHERE id = 'm-gone'")
    assert len(chunks) == 5
    for user in ("ada", "bob", "eve"):
        shelf.run("INSERT INTO users (id, name) VALUES (:user, :user)", user=user)
    for user, course in (("ada", "cs101"), ("bob", "cs201")):
        shelf.run(
            "INSERT INTO enrollments (id, user_id, course_id, role) VALUES (:user, :user, :course, 'student')",
            user=user, course=course,
        )  # fmt: skip
    return shelf


@pytest.fixture
async def application(library: Shelf) -> AsyncIterator[AsyncEngine]:
    """Connections of a user of the server who is a member of the application's role and no more."""
    name = f"app_{uuid4().hex[:8]}"
    library.run(f"CREATE ROLE {name} LOGIN IN ROLE headrace_app")
    engine = create_async_database(library.engine.url.set(username=name), pool_size=1)
    yield engine
    await engine.dispose()
    library.run(f"DROP OWNED BY {name}")
    library.run(f"DROP ROLE {name}")


async def rows(connection: AsyncConnection, statement: str, **values: Any) -> list[Any]:
    return list((await connection.execute(text(statement), values)).scalars())


async def read(connection: AsyncConnection) -> dict[str, list[str]]:
    """The materials that each table gives away."""
    return {
        table: await rows(connection, f"SELECT {material} FROM {table} AS rows ORDER BY 1")
        for table, material in OF_MATERIALS.items()
    }


@pytest.mark.parametrize(
    ("user", "own", "vectors"),
    [
        ("ada", ["m-heap", "m-rules-1"], ["m-heap", "m-rules-1"]),
        ("bob", ["m-exam", "m-rules-2"], ["m-exam", "m-rules-2"]),
        ("eve", [], []),
    ],
)
async def test_a_user_reads_chunks_vectors_and_words_of_their_courses_alone(
    application: AsyncEngine, user: str, own: list[str], vectors: list[str]
) -> None:
    async with application.connect() as connection, as_user(connection, user):
        assert await read(connection) == dict.fromkeys(OF_MATERIALS, own) | {"material_embeddings": vectors}
        nearest = "SELECT content_hash FROM material_embeddings ORDER BY embedding <=> '[0,1]' LIMIT 10"
        assert len(await rows(connection, nearest)) == len(vectors)


async def test_without_a_user_there_is_nothing(application: AsyncEngine) -> None:
    async with application.connect() as connection:
        assert await read(connection) == {table: [] for table in OF_MATERIALS}


@pytest.mark.parametrize("table", OUT_OF_REACH)
async def test_what_is_of_all_materials_at_once_is_not_the_application_s_to_read(
    application: AsyncEngine, library: Shelf, table: str
) -> None:
    assert library.run(f"SELECT count(*) > 0 FROM {table}") == [(True,)], "there is something to hide"
    async with application.connect() as connection:
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with as_user(connection, "ada"):
                await rows(connection, f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize("table", [*OF_MATERIALS, *OUT_OF_REACH])
async def test_the_application_changes_none_of_it(application: AsyncEngine, table: str) -> None:
    async with application.connect() as connection:
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with as_user(connection, "ada"):
                await connection.execute(text(f"DELETE FROM {table}"))


def test_every_table_that_the_application_may_read_keeps_users_apart(library: Shelf) -> None:
    readable = library.run("""
        SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
            AND has_any_column_privilege('headrace_app', oid, 'SELECT')
    """)
    assert {name for name, _ in readable} <= set(Base.metadata.tables)
    assert set(OF_MATERIALS) <= {name for name, _ in readable}
    assert all(kept_apart for _, kept_apart in readable), readable
    views = library.run("""
        SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('v', 'm')
            AND has_any_column_privilege('headrace_app', oid, 'SELECT')
            AND NOT coalesce('security_invoker=true' = ANY(reloptions), false)
    """)
    assert views == [], "a view without the rights of its reader would show everybody's rows"
