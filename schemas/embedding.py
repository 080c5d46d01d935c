"""What a refresh of embeddings is asked and what it reports."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

GenerationStatus = Literal["building", "ready", "active", "retired"]
TemplateName = Literal["heading-1", "text-1"]

ASKED = " asked for {} dimensions"
"""Ends the identity of a model that is asked for another number of dimensions than its own."""


class Changes(BaseModel):
    """What became of materials or chunks."""

    model_config = ConfigDict(frozen=True)

    added: int = 0
    updated: int = 0
    skipped: int = 0
    deleted: int = 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            added=self.added + other.added,
            updated=self.updated + other.updated,
            skipped=self.skipped + other.skipped,
            deleted=self.deleted + other.deleted,
        )


class GenerationRecord(BaseModel):
    """One way of embedding everything, and how far it is.

    Attributes:
        chunker: name, version and numbers of the chunker, and the template.
        recall: share of the exact nearest that its index found on a sample; None before it was compared.
        vectors: distinct texts that have a vector.
        missing: distinct texts that have none yet, those set aside not counted.
        failed: distinct texts that were set aside.
        uncut: materials that are new, or were never looked at.
    """

    model_config = ConfigDict(frozen=True)

    id: int
    model: str
    model_identity: str
    dimensions: int
    chunker: str
    template: str
    status: GenerationStatus
    created_at: datetime
    completed_at: datetime | None = None
    activated_at: datetime | None = None
    retired_at: datetime | None = None
    recall: float | None = None
    index_built: bool = False
    vectors: int = 0
    missing: int = 0
    failed: int = 0
    uncut: int = 0

    @property
    def asked_dimensions(self) -> int | None:
        """What the model is asked for, also with queries; None where it gives its own number unasked."""
        return self.dimensions if self.model_identity.endswith(ASKED.format(self.dimensions)) else None


class Agreement(BaseModel):
    """How a generation's search compares on a sample of stored texts as queries.

    Attributes:
        sample: how many texts were asked with.
        recall: share of the 10 nearest that the index found, or others as near; None without an index or other texts.
        overlap: share of the active generation's 10 nearest that are this one's too; None where there is none.
    """

    model_config = ConfigDict(frozen=True)

    sample: int
    recall: float | None = None
    overlap: float | None = None


class SetAside(BaseModel):
    """A text that could not be embedded, and why."""

    model_config = ConfigDict(frozen=True)

    content_hash: str
    reason: str
    error_class: str


class EmbeddingEstimate(BaseModel):
    """What a refresh would do, before it does it; nobody was asked.

    Attributes:
        chunks: texts that would be embedded, equal ones counted once.
        tokens: of their chunks, as the chunker counts; titles and headings come on top.
        cost_usd: at the price of the model; None where none is known.
    """

    model_config = ConfigDict(frozen=True)

    run_id: None = None
    status: str = "completed"
    model: str
    chunker: str
    materials: int
    chunks: int
    tokens: int
    cost_usd: Decimal | None


class RefreshReport(BaseModel):
    """What a refresh did.

    Attributes:
        generation: None where there is nothing to embed at all.
        embedded: texts that got a vector in this attempt; equal texts are one.
        failed: the texts that were set aside in this attempt.
        vectors_deleted: of texts that no chunk has any more.
        calls, tokens, cost_usd: of the run, all its attempts together, replays apart; the cost is None when unknown.
        activated: this refresh switched search to the generation.
        active: search reads it.
        remarks: what else is to be known, as sentences.
    """

    model_config = ConfigDict(frozen=True)

    run_id: UUID
    status: str = "completed"
    generation: int | None
    model: str
    dimensions: int | None
    chunker: str
    template: str
    materials: Changes
    chunks: Changes
    embedded: int = 0
    failed: tuple[SetAside, ...] = ()
    failed_count: int = 0
    vectors_deleted: int = 0
    calls: int = 0
    tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    agreement: Agreement | None = None
    activated: bool = False
    active: bool = False
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0
