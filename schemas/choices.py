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
ExportFormat = Literal["openai-sft", "openai-dpo", "trl-sft", "trl-dpo", "trl-kto", "sharegpt", "parquet"]
Opinion = Literal["positive", "negative", "neutral", "none"]
"""What is thought of a response by all who said: the more frequent of positive and negative, else neutral."""
