"""What a user chooses from; without other imports, so that the command line can name it and start quickly."""

from __future__ import annotations

from typing import Literal

Rating = Literal["positive", "negative", "neutral"]
InsightType = Literal["market_brief", "radar", "ad_insight", "risk"]
ThreadStatus = Literal["open", "answered", "resolved"]
MessageRole = Literal["user", "assistant", "system"]
ConfidenceLevel = Literal["high", "medium", "low"]
MaterialType = Literal[
    "assignment", "lab", "lecture", "note", "reading", "schedule", "slide", "syllabus", "textbook"
]  # fmt: skip
