"""All tables; importing this fills `Base.metadata`."""

from schemas.tables.base import SCHEMA_REVISION, Base
from schemas.tables.bills import Bill, BillAnalysis, BillSection
from schemas.tables.feedback import Feedback
from schemas.tables.forum import (
    AiAnswer,
    AiConversation,
    AiMessage,
    Citation,
    Course,
    CourseMaterial,
    Enrollment,
    Post,
    Thread,
    User,
)
from schemas.tables.laboratory import Experiment, QualityMetric, Response
from schemas.tables.ledger import (
    Answer,
    Budget,
    BudgetAlert,
    BudgetUsage,
    LlmBody,
    LlmRequest,
    RateWindow,
    Run,
    RunAttempt,
    Step,
    Worker,
)
from schemas.tables.migration import MigrationChunk, MigrationReject, MigrationRow, SourceRecord
from schemas.tables.retrieval import Chunk, EmbeddedMaterial, EmbeddingFailure, EmbeddingGeneration, MaterialEmbedding
from schemas.tables.search import WebSearchCache
from schemas.tables.terms import TermDeletion, TermDocument, TermPostings, TermSegment
from schemas.tables.training import TrainingExport

__all__ = [
    "SCHEMA_REVISION",
    "AiAnswer",
    "AiConversation",
    "AiMessage",
    "Answer",
    "Base",
    "Bill",
    "BillAnalysis",
    "BillSection",
    "Budget",
    "BudgetAlert",
    "BudgetUsage",
    "Chunk",
    "Citation",
    "Course",
    "CourseMaterial",
    "EmbeddedMaterial",
    "EmbeddingFailure",
    "EmbeddingGeneration",
    "Enrollment",
    "Experiment",
    "Feedback",
    "LlmBody",
    "LlmRequest",
    "MaterialEmbedding",
    "MigrationChunk",
    "MigrationReject",
    "MigrationRow",
    "Post",
    "QualityMetric",
    "RateWindow",
    "Response",
    "Run",
    "RunAttempt",
    "SourceRecord",
    "Step",
    "TermDeletion",
    "TermDocument",
    "TermPostings",
    "TermSegment",
    "Thread",
    "TrainingExport",
    "User",
    "WebSearchCache",
    "Worker",
]
