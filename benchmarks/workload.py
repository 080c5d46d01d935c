"""The work: documents, four questions about each, every question holding the answer to the one before."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from blocks.providers.openai_requests import response_format

MODEL = "gpt-4o-mini"
MAX_TOKENS = 800
TEMPERATURE = 0.0
EXAMPLE = Path(__file__).parents[1] / "examples" / "housing-bill.txt"


class Finding(BaseModel):
    """What every question asks for."""

    model_config = ConfigDict(frozen=True)

    summary: str
    affected: list[str]
    amounts_usd: list[float]
    confidence: float = Field(ge=0, le=1)


class Document(BaseModel):
    """A bill whose text is its label's alone, so that no two documents ask the same."""

    model_config = ConfigDict(frozen=True)

    label: str
    text: str


QUESTIONS = (
    ("extract", "State what the bill changes and for whom."),
    ("assess", "Assess what the finding below would cost those it names."),
    ("review", "Look for mistakes in the assessment below and correct them."),
    ("conclude", "Draw one conclusion from the reviewed assessment below."),
)

Analyse = Callable[[Sequence[str]], Awaitable[list[Finding]]]
"""Analyses the documents of these labels, so many at once; the last finding of each, in order."""


@lru_cache(maxsize=1)
def _example() -> str:
    return EXAMPLE.read_text(encoding="utf-8")


def document(label: str) -> Document:
    """The document that `label` stands for."""
    return Document(label=label, text=f"Document {label}\n\n{_example()}")


def question(number: int, text: str, before: Finding | None) -> str:
    """The prompt of question `number`, counted from 0."""
    known = f"\n\nFinding so far:\n{before.model_dump_json()}" if before else ""
    return f"{text}\n\n{QUESTIONS[number][1]}{known}"


@lru_cache(maxsize=1)
def answer_format() -> dict[str, Any]:
    """`response_format` of each call, the same bytes whoever makes it."""
    return response_format(Finding.__name__, Finding.model_json_schema(), strict=True)


async def each_at_once(
    labels: Sequence[str], limit: int, work: Callable[[Document], Awaitable[Finding]]
) -> list[Finding]:
    """`work` is done on the document of every label, at most `limit` at a time; results in order."""
    slots = asyncio.Semaphore(limit)

    async def attempt(label: str) -> Finding:
        async with slots:
            return await work(document(label))

    return list(await asyncio.gather(*map(attempt, labels)))


def digest(findings: Sequence[Finding]) -> str:
    """Equal for contestants that asked the same questions of the same documents and got the same answers."""
    joined = "\n".join(finding.model_dump_json() for finding in findings)
    return hashlib.sha256(joined.encode()).hexdigest()[:16]
