"""QuokkaQ, the course forum: an export of a browser's localStorage, or the same records as JSON files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tasks.migration.declaration import Counted, Kind, Lookup, Nested, Reference, SourceRecord, Table
from tasks.migration.fields import IN_UTC, Count, CountOrZero, Id, Moment, Percent, Texts

if TYPE_CHECKING:
    from blocks.sources.records import Source

Role = Literal["student", "instructor", "ta"]
MaterialType = Literal[
    "assignment", "lab", "lecture", "note", "reading", "schedule", "slide", "syllabus", "textbook"
]  # fmt: skip


class UserRecord(SourceRecord):
    id: Id
    name: str
    email: str | None = None
    role: Role | None = None
    avatar: str | None = None
    created_at: Moment | None = None


class CourseRecord(SourceRecord):
    id: Id
    code: str | None = None
    name: str
    term: str | None = None
    description: str | None = None
    instructor_ids: Texts
    enrollment_count: Count | None = None
    status: Literal["active", "archived"] = "active"
    created_at: Moment | None = None


class EnrollmentRecord(SourceRecord):
    id: Id
    user_id: Id
    course_id: Id
    role: Role
    enrolled_at: Moment | None = None


class ThreadRecord(SourceRecord):
    id: Id
    course_id: Id
    author_id: Id
    title: str
    content: str
    status: Literal["open", "answered", "resolved"]
    tags: Texts
    views: CountOrZero = 0
    created_at: Moment
    updated_at: Moment | None = None

    @model_validator(mode="before")
    @classmethod
    def _view_count(cls, record: Any) -> Any:
        if isinstance(record, dict) and "views" not in record and "viewCount" in record:
            record = {**record, "views": record["viewCount"]}
            del record["viewCount"]
        return record


class PostRecord(SourceRecord):
    id: Id
    thread_id: Id
    author_id: Id
    content: str
    endorsed: bool = False
    flagged: bool = False
    created_at: Moment
    updated_at: Moment | None = None


class MaterialRecord(SourceRecord):
    id: Id
    course_id: Id
    type: MaterialType
    title: str
    content: str
    keywords: Texts
    week: Count | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None

    @model_validator(mode="before")
    @classmethod
    def _week(cls, record: Any) -> Any:
        if isinstance(record, dict) and isinstance(record.get("metadata"), dict) and "week" not in record:
            return {**record, "week": record["metadata"].get("week")}
        return record


class AnswerRecord(SourceRecord):
    id: Id
    thread_id: Id
    course_id: Id | None = None
    content: str
    confidence_level: Literal["high", "medium", "low"] | None = None
    confidence_score: Percent | None = None
    student_endorsements: CountOrZero = 0
    instructor_endorsements: CountOrZero = 0
    total_endorsements: CountOrZero = 0
    instructor_endorsed: bool = False
    endorsed_by: Texts
    generated_at: Moment
    updated_at: Moment | None = None


class CitationRecord(SourceRecord):
    id: Id
    answer_id: Id
    course_id: Id | None = None
    ordinal: Count
    title: str = Field(alias="source")
    source_type: Annotated[MaterialType | None, BeforeValidator(lambda kind: "slide" if kind == "slides" else kind)] = (
        None
    )
    excerpt: str | None = None
    relevance: Percent | None = None
    link: str | None = None


class ConversationRecord(SourceRecord):
    id: Id
    user_id: Id
    course_id: Id | None = None
    thread_id: Id | None = None
    title: str
    message_count: Count | None = None
    created_at: Moment
    updated_at: Moment | None = None


class MessageRecord(SourceRecord):
    id: Id
    conversation_id: Id
    role: Literal["user", "assistant", "system"]
    content: str
    created_at: Moment = Field(alias="timestamp")


def _open(path: str) -> Source:
    from blocks.sources.opening import open_source

    return open_source(path)


OF_COURSE = Reference("course_id", "courses")
PLACEHOLDER_NAME = "(not in the source)"

KIND = Kind(
    name="quokkaq",
    version="1",
    description="Course forum: a localStorage export, or its records as JSON files or a folder of them",
    open_source=_open,
    ignored=frozenset({"seedVersion", "initialized", "rankingBaseline"}),
    tables=(
        Table("users", UserRecord, "users", placeholder={"name": PLACEHOLDER_NAME}, conversions=(IN_UTC,)),
        Table(
            "courses",
            CourseRecord,
            "courses",
            placeholder={"name": PLACEHOLDER_NAME, "status": "archived", "instructor_ids": []},
            conversions=(IN_UTC,),
        ),
        Table(
            "enrollments",
            EnrollmentRecord,
            "enrollments",
            references=(Reference("user_id", "users"), OF_COURSE),
            conversions=(IN_UTC,),
        ),
        Table(
            "threads",
            ThreadRecord,
            "threads",
            references=(OF_COURSE, Reference("author_id", "users")),
            conversions=(IN_UTC, "viewCount is read as views where there is no views", "no tags are an empty list"),
        ),
        Table(
            "posts",
            PostRecord,
            "posts",
            references=(Reference("thread_id", "threads"), Reference("author_id", "users")),
            conversions=(IN_UTC, "a post that does not say so is neither endorsed nor flagged"),
        ),
        Table(
            "materials",
            MaterialRecord,
            "course_materials",
            aliases=("courseMaterials",),
            references=(OF_COURSE,),
            conversions=(IN_UTC, "week is taken from metadata"),
        ),
        Table(
            "answers",
            AnswerRecord,
            "ai_answers",
            aliases=("aiAnswers",),
            references=(Reference("thread_id", "threads"), OF_COURSE),
            nested=(Nested("citations", "citations", inherits={"answerId": "id", "courseId": "courseId"}),),
            conversions=(IN_UTC, "citations are rows of their own, called ANSWER/CITATION"),
        ),
        Table(
            "citations",
            CitationRecord,
            "citations",
            references=(Reference("answer_id", "answers"), Reference("course_id", "courses", "null")),
            lookups=(Lookup("material_id", "materials", by="title", match="title", within="course_id"),),
            conversions=("slides is read as slide", "a citation belongs to the material of its course with its title"),
        ),
        Table(
            "conversations",
            ConversationRecord,
            "ai_conversations",
            aliases=("aiConversations",),
            references=(Reference("user_id", "users"), OF_COURSE, Reference("thread_id", "threads", "null")),
            counted=(Counted("message_count", "messages", by="conversation_id"),),
            conversions=(IN_UTC,),
        ),
        Table(
            "messages",
            MessageRecord,
            "ai_messages",
            aliases=("conversationMessages", "aiMessages"),
            references=(Reference("conversation_id", "conversations"),),
            conversions=(IN_UTC, "timestamp is kept as created_at"),
        ),
    ),
)
