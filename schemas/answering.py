"""Questions answered from course materials, threads of the forum, and conversations: what goes in, what comes out."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.choices import ConfidenceLevel, MessageRole, ThreadStatus
from schemas.search import CourseProposal

THE_MATERIALS_DO_NOT_SAY = "The materials do not say."


class Frozen(BaseModel):
    """Base of the value types here."""

    model_config = ConfigDict(frozen=True)


class ContextLimits(Frozen):
    """How much of the materials a model is shown.

    Attributes:
        materials: at most so many different materials.
        tokens: of all passages, by `tasks.answering.context.count_tokens`; None: 2,000, and 3,000 over several courses.
    """

    materials: int = Field(5, ge=1)
    tokens: int | None = Field(None, ge=100)

    def budget(self, *, several: bool) -> int:
        """Tokens of all passages."""
        if self.tokens is not None:
            return self.tokens
        return 3000 if several else 2000


class Passage(Frozen):
    """A chunk as it is shown to a model, under a number.

    Attributes:
        content: of the chunk, or what fits of it from its beginning.
        start: place of the content's first character in its material.
        relevance: to the question, from 0 to 1, as the search says.
    """

    number: int
    chunk_id: UUID
    material_id: str
    course_id: str
    type: str
    week: int | None
    title: str
    heading_path: tuple[str, ...]
    content: str
    start: int
    relevance: float

    @property
    def heading(self) -> str:
        """What and where it is, on one line."""
        week = f", week {self.week}" if self.week is not None else ""
        return " ".join(" / ".join((f"[{self.type}{week}] {self.title}", *self.heading_path)).split())


class CitedPassage(Frozen):
    """What an answer cites: words that stand in a chunk that was shown to the model.

    Attributes:
        ordinal: the number in the answer's text, from 1.
        quote: the material's own words, `content[start:end]` of the material.
        relevance: as the passage's.
    """

    ordinal: int
    chunk_id: UUID
    material_id: str
    course_id: str
    type: str
    week: int | None = None
    title: str
    heading_path: tuple[str, ...] = ()
    quote: str
    start: int
    end: int
    relevance: float


class DroppedClaim(Frozen):
    """A sentence of the model that is not in the answer, and why."""

    text: str
    reason: str


class Confidence(Frozen):
    """How far the evidence carries an answer; `tasks.answering.confidence` says how it is made.

    Attributes:
        score: 0 to 100.
        support: share of the model's claims whose quote was found.
        strength: mean relevance of the passages that are cited.
        agreement: 1 − 2⁻ᵐ over m materials that are cited.
    """

    score: int
    level: ConfidenceLevel
    support: float
    strength: float
    agreement: float


class CitedAnswer(Frozen):
    """An answer whose every sentence cites words that stand in the materials, or that they do not say.

    Attributes:
        id: of its row in `ai_answers`.
        text: sentences with the numbers of their citations, `[1]`.
        shown: passages that the model was shown; none where nothing was found, and then no model was asked.
        request_id: what feedback refers to; None where no model was asked.
        courses: ids of those that were looked in; where that was everywhere, of those that were shown.
        proposed: courses that the question seemed to be about, where none was named to look in.
        narrowed: only proposed ones were looked in, which are `courses` then.
    """

    id: str
    question: str
    answered: bool
    text: str
    citations: tuple[CitedPassage, ...] = ()
    dropped: tuple[DroppedClaim, ...] = ()
    confidence: Confidence
    shown: tuple[UUID, ...] = ()
    context_tokens: int = 0
    courses: tuple[str, ...] = ()
    proposed: tuple[CourseProposal, ...] = ()
    narrowed: bool = False
    thread_id: str | None = None
    user: str | None = None
    model: str | None = None
    request_id: UUID | None = None
    cost_usd: Decimal | None = Decimal(0)
    replayed: bool = False


class AnswerReport(Frozen):
    """What a run of `answer-question` made."""

    run_id: UUID
    status: str = "completed"
    answer: CitedAnswer


class ThreadSummary(Frozen):
    """A thread in a list."""

    id: str
    course_id: str
    author_id: str
    title: str
    status: ThreadStatus
    tags: tuple[str, ...]
    posts: int
    answers: int
    created_at: datetime
    updated_at: datetime | None


class ThreadPost(Frozen):
    """A person's reply in a thread."""

    id: str
    author_id: str
    content: str
    created_at: datetime


class StoredCitation(Frozen):
    """A citation as it is kept; `material_id` is None where the material is not known, or gone."""

    ordinal: int
    title: str
    material_id: str | None
    chunk_id: UUID | None
    excerpt: str | None


class StoredAnswer(Frozen):
    """The tutor's answer in a thread."""

    id: str
    content: str
    confidence_level: ConfidenceLevel | None
    confidence_score: int | None
    generated_at: datetime
    citations: tuple[StoredCitation, ...] = ()


class ThreadDetail(ThreadSummary):
    """A thread with what was said in it."""

    content: str
    replies: tuple[ThreadPost, ...]
    tutor_answers: tuple[StoredAnswer, ...]


class StoredMessage(Frozen):
    """One turn of a conversation."""

    id: str
    role: MessageRole
    content: str
    created_at: datetime


class Conversation(Frozen):
    """A private conversation of a user.

    Attributes:
        page: what the user looked at, where that is known.
        thread_id: the thread it was made into.
        summary: of the messages up to `summarized_id`, which were said at or before `summarized_until`.
        messages: all of them, or none where only the conversation was asked for.
    """

    id: str
    user_id: str
    title: str
    page: str | None
    course_id: str | None
    thread_id: str | None
    message_count: int | None
    created_at: datetime
    updated_at: datetime | None
    summary: str | None = None
    summarized_until: datetime | None = None
    summarized_id: str | None = None
    messages: tuple[StoredMessage, ...] = ()


class ChatTurn(Frozen):
    """What was said in one turn of a conversation.

    Attributes:
        remembered: earlier messages that the model was shown.
        summarized: True where it was shown a summary of still earlier ones.
        reply: as it is shown: without quotation marks around what stands in no passage, where passages were looked for.
        references: what the reply cites, by the number in it: the words that it quotes of a passage, else the passage.
        dropped: what the model gave as a quotation and is none.
    """

    conversation_id: str
    question: str
    reply: str
    request_id: UUID
    model: str
    remembered: int
    summarized: bool
    references: tuple[CitedPassage, ...] = ()
    dropped: tuple[DroppedClaim, ...] = ()
    cost_usd: Decimal | None
    replayed: bool
