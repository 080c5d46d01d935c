"""Threads of the forum: listed, read, begun, answered, changed, and made of conversations.

A user sees the threads of the courses they are enrolled in. Who begins one must be enrolled in its course; its status
and tags are changed by its author and by who teaches the course. Where no user is named, an operator acts, who may do
everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blocks.database import database_errors
from schemas.answering import StoredAnswer, StoredMessage, ThreadDetail, ThreadPost, ThreadSummary
from schemas.canonical import postgres_text, require_storable
from schemas.choices import ThreadStatus
from schemas.errors import BadInput, NotFound
from schemas.identifiers import new_id
from tasks.answering.conversion import first_question, thread_content, thread_title
from tasks.answering.courses import readable_courses
from tasks.ledger.session import open_ledger

LONGEST_TAG = 50
MOST_TAGS = 20

_SUMMARY = """
    SELECT threads.id, threads.course_id, author_id, title, status, tags, threads.created_at, updated_at,
           (SELECT count(*) FROM posts WHERE posts.thread_id = threads.id) AS posts,
           (SELECT count(*) FROM ai_answers WHERE ai_answers.thread_id = threads.id) AS answers, content
    FROM threads
    WHERE (CAST(:user AS text) IS NULL OR threads.course_id IN (
        SELECT course_id FROM enrollments WHERE user_id = :user))
"""
_LIST = text(f"""{_SUMMARY}
    AND (CAST(:courses AS text[]) = '{{}}' OR threads.course_id = ANY(CAST(:courses AS text[])))
    AND (CAST(:status AS text) IS NULL OR status = :status) AND (CAST(:tag AS text) IS NULL OR :tag = ANY(tags))
    ORDER BY coalesce(updated_at, threads.created_at) DESC, threads.id DESC LIMIT :limit
""")
_ONE = text(f"{_SUMMARY} AND threads.id = :id")
_POSTS = text("""
    SELECT id, author_id, content, created_at FROM posts WHERE thread_id = :id ORDER BY created_at, id
""")
_ANSWERS = text("""
    SELECT answers.id, content, confidence_level, confidence_score, generated_at,
           coalesce(jsonb_agg(jsonb_build_object('ordinal', ordinal, 'title', title, 'material_id', material_id,
               'chunk_id', chunk_id, 'excerpt', excerpt) ORDER BY ordinal) FILTER (WHERE citations.id IS NOT NULL),
               '[]') AS citations
    FROM ai_answers AS answers LEFT JOIN citations ON citations.answer_id = answers.id
    WHERE thread_id = :id GROUP BY answers.id ORDER BY generated_at, answers.id
""")
_INSERT = text("""
    INSERT INTO threads (id, course_id, author_id, title, content, status, tags, created_at, updated_at)
    VALUES (:id, :course, :author, :title, :content, 'open', :tags, clock_timestamp(), clock_timestamp())
""")
_REPLY = text("""
    WITH said AS (
        INSERT INTO posts (id, thread_id, author_id, content, created_at, updated_at)
        VALUES (:id, :thread, :author, :content, clock_timestamp(), clock_timestamp())
    )
    UPDATE threads SET updated_at = clock_timestamp(),
        status = CASE WHEN status = 'open' AND author_id <> :author THEN 'answered' ELSE status END
    WHERE id = :thread
""")
_MAY_CHANGE = text("""
    SELECT author_id = :user OR EXISTS (
        SELECT FROM enrollments WHERE enrollments.course_id = threads.course_id AND user_id = :user
            AND role IN ('instructor', 'ta')) AS allowed
    FROM threads WHERE id = :id
""")
_CHANGE = text("""
    UPDATE threads SET status = coalesce(CAST(:status AS text), status), tags = coalesce(CAST(:tags AS text[]), tags),
        updated_at = clock_timestamp()
    WHERE id = :id
""")
_LOCK_TALK = text("SELECT user_id, course_id, thread_id FROM ai_conversations WHERE id = :id FOR UPDATE")
_SAID = text("""
    SELECT id, role, content, created_at FROM ai_messages WHERE conversation_id = :id ORDER BY created_at, id
""")
_CONVERTED = text("UPDATE ai_conversations SET thread_id = :thread WHERE id = :id")
_IS_USER = text("SELECT FROM users WHERE id = :user")


async def list_threads(
    user: str | None = None,
    *,
    courses: Sequence[str] = (),
    status: ThreadStatus | None = None,
    tag: str | None = None,
    limit: int = 20,
) -> tuple[ThreadSummary, ...]:
    """The threads that were written in last.

    Raises:
        NotFound: there is no such course that the user is enrolled in.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                chosen = await readable_courses(connection, courses, user) if courses else ()
                wanted = {"user": user, "courses": list(chosen), "status": status, "tag": tag, "limit": limit}
                rows = (await connection.execute(_LIST, wanted)).all()
                return tuple(ThreadSummary.model_validate(row._mapping) for row in rows)


async def read_thread(thread: str, user: str | None = None) -> ThreadDetail:
    """The thread with what people and the tutor said in it, in three queries.

    Raises:
        NotFound: there is none of that id in a course that the user is enrolled in.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                row = await _thread(connection, thread, user)
                posts = (await connection.execute(_POSTS, {"id": thread})).mappings()
                answers = (await connection.execute(_ANSWERS, {"id": thread})).mappings()
                return ThreadDetail(
                    **row._mapping,
                    replies=tuple(ThreadPost(**post) for post in posts),
                    tutor_answers=tuple(StoredAnswer.model_validate(answer) for answer in answers),
                )


async def begin_thread(
    course: str, content: str, *, author: str, title: str = "", tags: Sequence[str] = ()
) -> ThreadDetail:
    """A new thread, open; without a title it has the beginning of its content.

    Raises:
        NotFound: there is no such course that the author is enrolled in.
        BadInput: it says nothing, or a tag is none.
    """
    content = _require_text(content)
    chosen = _require_tags(tags)
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                (found,) = await readable_courses(connection, [course], author)
                named = thread_title(title or content)
                thread = await _insert(connection, found, author, named, content, chosen)
    return await read_thread(thread)


async def reply_to_thread(thread: str, content: str, *, author: str) -> ThreadDetail:
    """What a person says to a thread; an open one that somebody else began is answered by it.

    Raises:
        NotFound: there is no such thread in a course that the author is enrolled in.
    """
    content = _require_text(content)
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                await _thread(connection, thread, author)
                values = {"id": str(new_id()), "thread": thread, "author": author, "content": content}
                await connection.execute(_REPLY, values)
    return await read_thread(thread)


async def update_thread(
    thread: str, *, status: ThreadStatus | None = None, tags: Sequence[str] | None = None, user: str | None = None
) -> ThreadDetail:
    """The thread has the status and the tags; None leaves what it has.

    Raises:
        NotFound: there is no such thread in a course that the user is enrolled in.
        BadInput: nothing is to be changed, a tag is none, or the user neither began the thread nor teaches the course.
    """
    if status is None and tags is None:
        raise BadInput("say what is to be changed: the status, the tags, or both")
    chosen = None if tags is None else _require_tags(tags)
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                await _thread(connection, thread, user)
                if user and not (await connection.execute(_MAY_CHANGE, {"id": thread, "user": user})).scalar_one():
                    raise BadInput(f"{user} neither began thread {thread} nor teaches its course")
                await connection.execute(_CHANGE, {"id": thread, "status": status, "tags": chosen})
    return await read_thread(thread)


async def convert_conversation(
    conversation: str, *, course: str | None = None, tags: Sequence[str] = (), user: str | None = None
) -> ThreadDetail:
    """The conversation as a thread of its course, begun by who had it; see `tasks.answering.conversion`.

    Args:
        course: id or code, where the conversation is of none, or of another.
        user: whose the conversation must be.

    Raises:
        NotFound: there is no such conversation of the user, or its user is not enrolled in the course.
        BadInput: it is a thread already, says nothing, or no course is known.
    """
    chosen = _require_tags(tags)
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                talk = (await connection.execute(_LOCK_TALK, {"id": conversation})).first()
                if talk is None or user not in (None, talk.user_id):
                    raise NotFound(f"there is no conversation {conversation}{f' of {user}' if user else ''}")
                if talk.thread_id is not None:
                    raise BadInput(f"conversation {conversation} is thread {talk.thread_id} already")
                if (wanted := course or talk.course_id) is None:
                    raise BadInput(f"conversation {conversation} is of no course: name the one to put it to")
                (found,) = await readable_courses(connection, [wanted], talk.user_id)
                said = [
                    StoredMessage(**row) for row in (await connection.execute(_SAID, {"id": conversation})).mappings()
                ]
                content = _require_text(thread_content(said))
                title = thread_title(first_question(said))
                thread = await _insert(connection, found, talk.user_id, title, content, chosen)
                await connection.execute(_CONVERTED, {"thread": thread, "id": conversation})
    return await read_thread(thread)


async def _thread(connection: AsyncConnection, thread: str, user: str | None) -> Row[Any]:
    row = (await connection.execute(_ONE, {"id": thread, "user": user})).first()
    if row is None:
        whose = f" in a course that {user} is enrolled in" if user else ""
        raise NotFound(f"there is no thread {thread}{whose}", thread=thread)
    return row


async def _insert(
    connection: AsyncConnection, course: str, author: str, title: str, content: str, tags: list[str]
) -> str:
    """The id of a new thread."""
    if (await connection.execute(_IS_USER, {"user": author})).first() is None:
        raise NotFound(f"there is no user {author}", user=author)
    thread = str(new_id())
    values = {"id": thread, "course": course, "author": author, "title": title, "content": content, "tags": tags}
    await connection.execute(_INSERT, values)
    return thread


def _require_text(content: str) -> str:
    if not content.strip():
        raise BadInput("there is nothing to post")
    return postgres_text(content.strip())


def _require_tags(tags: Sequence[str]) -> list[str]:
    """`tags` with single blanks, each once.

    Raises:
        BadInput: one is empty or too long, or there are too many.
    """
    chosen = list(dict.fromkeys(" ".join(tag.split()) for tag in tags))
    for tag in chosen:
        require_storable(tag, "tag")
        if not 0 < len(tag) <= LONGEST_TAG:
            raise BadInput(f"a tag has 1 to {LONGEST_TAG} characters")
    if len(chosen) > MOST_TAGS:
        raise BadInput(f"a thread has at most {MOST_TAGS} tags")
    return chosen
