"""Whose materials may be read: a user's are those of the courses they are enrolled in."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import NotFound

_READABLE = text("""
    SELECT id, code FROM courses
    WHERE CAST(:user AS text) IS NULL OR id IN (SELECT course_id FROM enrollments WHERE user_id = :user)
    ORDER BY id
""")


async def readable_courses(connection: AsyncConnection, names: Sequence[str], user: str | None) -> tuple[str, ...]:
    """Ids of the courses called `names`, by id or code; without names, of all that `user` is enrolled in.

    Without names and without a user the tuple is empty: all courses.

    Raises:
        NotFound: there is no course of that name that the user is enrolled in.
    """
    if not names and user is None:
        return ()
    rows = (await connection.execute(_READABLE, {"user": user})).all()
    if not names:
        return tuple(row.id for row in rows)
    known = {_plain(row.code): row.id for row in rows if row.code} | {row.id: row.id for row in rows}
    found = {name: known.get(name) or known.get(_plain(name)) for name in names}
    if missing := [name for name, course in found.items() if course is None]:
        whose = f" that {user} is enrolled in" if user else ""
        raise NotFound(f"there is no course {', '.join(missing)}{whose}", courses=missing)
    return tuple(dict.fromkeys(course for course in found.values() if course))


def _plain(code: str) -> str:
    """A course's code as people type it: `CS 101` and `cs101` are one."""
    return "".join(code.split()).lower()
