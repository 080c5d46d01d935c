"""The course forum: who learns what, what they ask, and what the tutor answers. Ids are those of the source."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, CheckConstraint, ForeignKey, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base
from schemas.tables.ledger import one_of
from schemas.tables.migration import Migrated

MATERIAL_TYPES = (
    "assignment", "lab", "lecture", "note", "reading", "schedule", "slide", "syllabus", "textbook",
)  # fmt: skip


class _Kept(Migrated):
    """A row with what has no column of its own."""

    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class User(_Kept, Base):
    """A person; passwords are never kept."""

    __tablename__ = "users"
    __table_args__ = (one_of("role", "student", "instructor", "ta"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]
    role: Mapped[str | None]
    avatar: Mapped[str | None]
    created_at: Mapped[datetime | None]


class Course(_Kept, Base):
    """A course in one term."""

    __tablename__ = "courses"
    __table_args__ = (one_of("status", "active", "archived"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str | None]
    name: Mapped[str]
    term: Mapped[str | None]
    description: Mapped[str | None]
    instructor_ids: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    enrollment_count: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(server_default="active")
    created_at: Mapped[datetime | None]


class Enrollment(_Kept, Base):
    """Who takes or teaches a course."""

    __tablename__ = "enrollments"
    __table_args__ = (one_of("role", "student", "instructor", "ta"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    course_id: Mapped[str] = mapped_column(ForeignKey("courses.id"), index=True)
    role: Mapped[str]
    enrolled_at: Mapped[datetime | None]


class Thread(_Kept, Base):
    """A question put to a course."""

    __tablename__ = "threads"
    __table_args__ = (one_of("status", "open", "answered", "resolved"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    course_id: Mapped[str] = mapped_column(ForeignKey("courses.id"), index=True)
    author_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    title: Mapped[str]
    content: Mapped[str]
    status: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    views: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime | None]


class Post(_Kept, Base):
    """A reply in a thread."""

    __tablename__ = "posts"

    id: Mapped[str] = mapped_column(primary_key=True)
    thread_id: Mapped[str] = mapped_column(ForeignKey("threads.id"), index=True)
    author_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    content: Mapped[str]
    endorsed: Mapped[bool] = mapped_column(Boolean, server_default="false")
    flagged: Mapped[bool] = mapped_column(Boolean, server_default="false")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime | None]


class CourseMaterial(_Kept, Base):
    """What is taught from, and what answers cite."""

    __tablename__ = "course_materials"
    __table_args__ = (one_of("type", *MATERIAL_TYPES),)

    id: Mapped[str] = mapped_column(primary_key=True)
    course_id: Mapped[str] = mapped_column(ForeignKey("courses.id"), index=True)
    type: Mapped[str]
    title: Mapped[str]
    content: Mapped[str]
    keywords: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    week: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime | None]
    updated_at: Mapped[datetime | None]


class AiAnswer(_Kept, Base):
    """The tutor's answer to a thread, or to a question that somebody asked outside of threads."""

    __tablename__ = "ai_answers"
    __table_args__ = (
        one_of("confidence_level", "high", "medium", "low"),
        CheckConstraint("confidence_score BETWEEN 0 AND 100", name="confidence_score_range"),
        CheckConstraint("thread_id IS NOT NULL OR question IS NOT NULL", name="asked"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    thread_id: Mapped[str | None] = mapped_column(ForeignKey("threads.id"), index=True)
    course_id: Mapped[str | None] = mapped_column(ForeignKey("courses.id"), index=True)
    content: Mapped[str]
    confidence_level: Mapped[str | None]
    confidence_score: Mapped[int | None] = mapped_column(Integer)
    student_endorsements: Mapped[int] = mapped_column(Integer, server_default="0")
    instructor_endorsements: Mapped[int] = mapped_column(Integer, server_default="0")
    total_endorsements: Mapped[int] = mapped_column(Integer, server_default="0")
    instructor_endorsed: Mapped[bool] = mapped_column(Boolean, server_default="false")
    endorsed_by: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    generated_at: Mapped[datetime]
    updated_at: Mapped[datetime | None]
    user_id: Mapped[str | None] = mapped_column(index=True)
    """Who asked; who reads an answer without a thread."""
    question: Mapped[str | None]
    """As it was asked; None where the source did not say."""
    answered: Mapped[bool | None] = mapped_column(Boolean)
    """False where the materials do not say; None where the source did not say."""
    model: Mapped[str | None]
    request_id: Mapped[UUID | None]
    """The call that answered; no key, as calls leave with their partition."""


class Citation(_Kept, Base):
    """What an answer cites; `material_id` where the material is known."""

    __tablename__ = "citations"
    __table_args__ = (
        one_of("source_type", *MATERIAL_TYPES),
        CheckConstraint("relevance BETWEEN 0 AND 100", name="relevance_range"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    """ANSWER/id of the citation: the forum counted them from one in every answer."""
    answer_id: Mapped[str] = mapped_column(ForeignKey("ai_answers.id"), index=True)
    material_id: Mapped[str | None] = mapped_column(ForeignKey("course_materials.id"), index=True)
    course_id: Mapped[str | None] = mapped_column(ForeignKey("courses.id"), index=True)
    ordinal: Mapped[int] = mapped_column(Integer)
    title: Mapped[str]
    source_type: Mapped[str | None]
    excerpt: Mapped[str | None]
    relevance: Mapped[int | None] = mapped_column(Integer)
    link: Mapped[str | None]
    chunk_id: Mapped[UUID | None] = mapped_column(ForeignKey("chunks.id", ondelete="SET NULL"), index=True)
    """The chunk that was shown to the model, while there is one."""
    start_char: Mapped[int | None] = mapped_column(Integer)
    end_char: Mapped[int | None] = mapped_column(Integer)
    """`excerpt` was `material.content[start_char:end_char]`."""


class AiConversation(_Kept, Base):
    """A private conversation of a user with the tutor."""

    __tablename__ = "ai_conversations"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    course_id: Mapped[str | None] = mapped_column(ForeignKey("courses.id"), index=True)
    thread_id: Mapped[str | None] = mapped_column(ForeignKey("threads.id"), index=True)
    """The thread it was made into."""
    title: Mapped[str]
    message_count: Mapped[int | None] = mapped_column(Integer)
    """As the source counted."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime | None]
    summary: Mapped[str | None]
    """What was said up to the message `summarized_id` of `summarized_until`, in short."""
    summarized_until: Mapped[datetime | None]
    summarized_id: Mapped[str | None]


class AiMessage(_Kept, Base):
    """One turn of a conversation; turns are in the order of `created_at`, then of `id`."""

    __tablename__ = "ai_messages"
    __table_args__ = (
        one_of("role", "user", "assistant", "system"),
        Index("ix_ai_messages_conversation_id_created_at_id", "conversation_id", "created_at", "id"),
        Index("ix_ai_messages_created_at", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("ai_conversations.id"), index=True)
    role: Mapped[str]
    content: Mapped[str]
    created_at: Mapped[datetime]
