"""Threads: begun, answered, changed, and made of conversations; seen by those who take the course."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from blocks.database import create_async_database
from schemas.errors import BadInput, NotFound
from tasks.answering.ask import ask
from tasks.answering.chatting import chat
from tasks.answering.threads import (
    begin_thread,
    convert_conversation,
    list_threads,
    read_thread,
    reply_to_thread,
    update_thread,
)
from tasks.ledger import as_user
from tasks.ledger.session import Ledger
from tests.tasks.answering.conftest import Tutor, counted, run, search_rows


async def test_a_thread_is_begun_by_who_takes_the_course(ledger: Ledger, school: Engine) -> None:
    thread = await begin_thread("MATH 221", " Why is it so? ", author="ada", tags=["limits", " big  o ", "limits"])
    assert (thread.course_id, thread.title, thread.content) == ("math", "Why is it so?", "Why is it so?")
    assert (thread.status, thread.tags, thread.posts, thread.answers) == ("open", ("limits", "big o"), 0, 0)
    titled = await begin_thread("math", "Body", author="ada", title="x" * 120)
    assert titled.title == "x" * 97 + "..."
    with pytest.raises(NotFound, match="no course math that bob is enrolled in"):
        await begin_thread("math", "Why?", author="bob")
    for content, tags, reason in (
        (" ", [], "nothing to post"),
        ("Why?", [" "], "1 to 50"),
        ("Why?", ["t" * 51], "1 to 50"),
    ):
        with pytest.raises(BadInput, match=reason):
            await begin_thread("math", content, author="ada", tags=tags)
    with pytest.raises(BadInput, match="at most 20 tags"):
        await begin_thread("math", "Why?", author="ada", tags=[str(n) for n in range(21)])


async def test_the_tutor_s_answer_is_in_the_thread_with_its_citations(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    thread = await begin_thread("math", "What is a derivative?", author="ada")
    tutor.claims = [(1, "limit of the difference quotient", "It is a limit.")]
    answer = await ask("What is a derivative?", search=search_rows, courses=["math"], thread_id=thread.id)
    found = await read_thread(thread.id, "ada")
    (told,) = found.tutor_answers
    assert (found.status, found.answers, told.id, told.content) == ("answered", 1, answer.id, "It is a limit. [1]")
    (cited,) = told.citations
    assert (cited.material_id, cited.excerpt) == ("m-derivative", "limit of the difference quotient")


async def test_that_the_materials_do_not_say_leaves_a_thread_open(ledger: Ledger, school: Engine) -> None:
    thread = await begin_thread("math", "What is a derivative?", author="ada")
    await ask("What is a derivative?", search=search_rows, courses=["math"], thread_id=thread.id)
    assert (await read_thread(thread.id)).status == "open"


async def test_people_answer_threads_and_their_authors_only_add_to_them(ledger: Ledger, school: Engine) -> None:
    thread = await begin_thread("cs", "Why?", author="ada")
    assert (await reply_to_thread(thread.id, "I mean: why?", author="ada")).status == "open"
    answered = await reply_to_thread(thread.id, "Because.", author="bob")
    assert (answered.status, answered.posts) == ("answered", 2)
    assert [(post.author_id, post.content) for post in answered.replies] == [
        ("ada", "I mean: why?"),
        ("bob", "Because."),
    ]
    with pytest.raises(NotFound, match="that tess is enrolled in"):
        await reply_to_thread(thread.id, "Let me in", author="tess")


async def test_status_and_tags_are_changed_by_the_author_and_by_who_teaches(ledger: Ledger, school: Engine) -> None:
    thread = await begin_thread("math", "Why?", author="ada", tags=["a"])
    assert (await update_thread(thread.id, status="resolved", user="ada")).tags == ("a",)
    changed = await update_thread(thread.id, tags=["b", "c"], user="tess")
    assert (changed.status, changed.tags) == ("resolved", ("b", "c"))
    assert (await update_thread(thread.id, status="open", tags=[])).tags == ()
    of_cs = await begin_thread("cs", "Why?", author="ada")
    with pytest.raises(BadInput, match="bob neither began thread"):
        await update_thread(of_cs.id, status="resolved", user="bob")
    with pytest.raises(NotFound, match="in a course that bob is enrolled in"):
        await update_thread(thread.id, status="resolved", user="bob")
    with pytest.raises(BadInput, match="what is to be changed"):
        await update_thread(thread.id)


async def test_threads_are_listed_by_course_status_and_tag(ledger: Ledger, school: Engine) -> None:
    one = await begin_thread("math", "One", author="ada", tags=["x"])
    two = await begin_thread("cs", "Two", author="ada")
    await update_thread(one.id, status="resolved")
    assert [thread.id for thread in await list_threads()] == [one.id, two.id]
    assert [thread.id for thread in await list_threads("bob")] == [two.id]
    assert [thread.id for thread in await list_threads(status="resolved")] == [one.id]
    assert [thread.id for thread in await list_threads(tag="x")] == [one.id]
    assert [thread.id for thread in await list_threads("ada", courses=["CS101"])] == [two.id]
    assert len(await list_threads(limit=1)) == 1
    with pytest.raises(NotFound, match="no course math"):
        await list_threads("bob", courses=["math"])
    with pytest.raises(NotFound, match="there is no thread"):
        await read_thread(one.id, "bob")


async def test_reading_threads_takes_as_many_queries_however_many_there_are(ledger: Ledger, school: Engine) -> None:
    thread = await begin_thread("cs", "Why?", author="ada")
    for number in range(5):
        await reply_to_thread(thread.id, f"Because {number}.", author="bob")
    with counted(ledger) as seen:
        await read_thread(thread.id, "ada")
    assert len(seen) == 3
    with counted(ledger) as seen:
        await list_threads("ada")
    assert len(seen) == 1


async def test_a_conversation_becomes_a_thread_by_the_forum_s_rules(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    tutor.says = ["It is a limit.", "Gladly."]
    turn = await chat("What is a derivative? " + "Really? " * 12, user="ada")
    await chat("Thanks!", user="ada", conversation=turn.conversation_id)
    with pytest.raises(BadInput, match="is of no course"):
        await convert_conversation(turn.conversation_id, user="ada")
    with pytest.raises(NotFound, match="of bob"):
        await convert_conversation(turn.conversation_id, course="cs", user="bob")
    with pytest.raises(NotFound, match="no course physics that ada is enrolled in"):
        await convert_conversation(turn.conversation_id, course="physics")
    thread = await convert_conversation(turn.conversation_id, course="math", tags=["limits"], user="ada")
    question = "What is a derivative? " + "Really? " * 12
    assert thread.title == question[:93] + "...", "cut at the last blank before 97"
    assert thread.content == (
        f"**You:** {question.strip()}\n\n**Quokka:** It is a limit.\n\n**You:** Thanks!\n\n**Quokka:** Gladly."
    )
    assert (thread.author_id, thread.status, thread.tags) == ("ada", "open", ("limits",))
    with pytest.raises(BadInput, match=f"is thread {thread.id} already"):
        await convert_conversation(turn.conversation_id, course="math")
    assert run(school, "SELECT thread_id FROM ai_conversations") == [(thread.id,)]


VISIBLE = ("threads", "posts", "ai_answers", "citations", "ai_conversations", "ai_messages", "conversations")


async def test_the_database_shows_each_user_their_own_conversations_answers_and_threads_alone(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    tutor.claims = [(1, "limit of the difference quotient", "It is a limit.")]
    thread = await begin_thread("math", "Why?", author="ada")
    await ask("difference quotient", search=search_rows, courses=["math"], thread_id=thread.id)
    await ask("difference quotient", search=search_rows, user="ada")
    await ask("difference quotient", search=search_rows)
    await chat("Mine.", user="ada", page="portfolio")
    name = f"app_{uuid4().hex[:8]}"
    run(school, f"CREATE ROLE {name} LOGIN IN ROLE headrace_app")
    pool = create_async_database(school.url.set(username=name), pool_size=1)
    try:
        seen: dict[str | None, list[int]] = {}
        users: tuple[str | None, ...] = ("ada", "tess", "bob", None)
        for user in users:
            async with pool.connect() as connection:
                if user is None:
                    seen[user] = [await _count(connection, table) for table in VISIBLE]
                    continue
                async with as_user(connection, user):
                    seen[user] = [await _count(connection, table) for table in VISIBLE]
        async with pool.connect() as connection:
            for statement in (
                "DELETE FROM ai_messages",
                "INSERT INTO ai_answers (id, question, content, generated_at) VALUES ('x', 'q', 'c', now())",
                "UPDATE ai_conversations SET user_id = 'bob'",
            ):
                with pytest.raises(ProgrammingError, match="permission denied"):
                    async with as_user(connection, "ada"):
                        await connection.execute(text(statement))
    finally:
        await pool.dispose()
        run(school, f"DROP OWNED BY {name}")
        run(school, f"DROP ROLE {name}")
    assert seen == {
        "ada": [1, 0, 2, 2, 1, 2, 2],  # the thread's answer and her own; not the operator's
        "tess": [1, 0, 1, 1, 0, 0, 0],
        "bob": [0, 0, 0, 0, 0, 0, 0],
        None: [0, 0, 0, 0, 0, 0, 0],
    }


async def _count(connection: AsyncConnection, table: str) -> int:
    return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())
