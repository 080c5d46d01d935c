"""All tables; importing this fills `Base.metadata`."""

from schemas.tables.base import SCHEMA_REVISION, Base
from schemas.tables.bills import Bill, BillAnalysis, BillSection
from schemas.tables.feedback import Feedback
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
from schemas.tables.search import WebSearchCache

__all__ = [
    "SCHEMA_REVISION",
    "Answer",
    "Base",
    "Bill",
    "BillAnalysis",
    "BillSection",
    "Budget",
    "BudgetAlert",
    "BudgetUsage",
    "Feedback",
    "LlmBody",
    "LlmRequest",
    "RateWindow",
    "Run",
    "RunAttempt",
    "Step",
    "WebSearchCache",
    "Worker",
]
