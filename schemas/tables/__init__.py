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
from schemas.tables.judging import JudgeVerdictRow
from schemas.tables.laboratory import Experiment, QualityMetric, Response
from schemas.tables.laboratory_statistics import ParameterInsightRow, QualityAnalytics, SweepAnalysisRow
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
from schemas.tables.versions import AbTest, FineTuningJob, ModelPromotion, ModelVersion

__all__ = [
    "SCHEMA_REVISION",
    "AbTest",
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
    "FineTuningJob",
    "JudgeVerdictRow",
    "LlmBody",
    "LlmRequest",
    "MaterialEmbedding",
    "MigrationChunk",
    "MigrationReject",
    "MigrationRow",
    "ModelPromotion",
    "ModelVersion",
    "ParameterInsightRow",
    "Post",
    "QualityAnalytics",
    "QualityMetric",
    "RateWindow",
    "Response",
    "Run",
    "RunAttempt",
    "SourceRecord",
    "Step",
    "SweepAnalysisRow",
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
