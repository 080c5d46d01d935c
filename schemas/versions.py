"""Versions of models for a purpose, and tests that divide users among variants."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

PREFIX = "version:"
"""`version:PURPOSE`, wherever a model is named, is the version that is in charge of the purpose."""
CONTEXT_KEY = "ab_tests"
"""Of the context of a call: `{test: variant}` of every test that it was part of."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
"""Of a purpose, test or variant: letters, digits, '.', '_' and '-'."""


def purpose_of(model: str) -> str | None:
    """The purpose that `version:PURPOSE` names; None of any other name of a model."""
    return model.removeprefix(PREFIX) if model.startswith(PREFIX) else None


class Lineage(BaseModel):
    """What a model was made of.

    Attributes:
        base_model: what was trained on.
        run_id, job_id: the run that fine-tuned it, and the provider's job.
        training_path, training_sha256, training_rows: the file it learned from.
        export_id: the training export that wrote the file; its manifest names the calls that the rows came from.
        cost_usd: of the training; None where it is not known.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    base_model: str | None = None
    run_id: UUID | None = None
    job_id: str | None = None
    training_path: str | None = None
    training_sha256: str | None = None
    training_rows: int | None = None
    export_id: str | None = None
    trained_tokens: int | None = None
    cost_usd: Decimal | None = None


class VersionRecord(Lineage):
    """A version of the model for a purpose.

    Attributes:
        number: 1, 2, 3 … within the purpose.
        model: LiteLLM name or named model that is called.
        in_charge: calls of `version:PURPOSE` go to it.
    """

    id: UUID
    purpose: str
    number: int
    model: str
    notes: str | None
    created_at: datetime
    in_charge: bool


class Variant(BaseModel):
    """One of the things that a test compares.

    Attributes:
        weight: its share of the users is its weight over the sum of all.
        model: who answers; None where the application does with the variant what it wants.
        version: number of the version that `model` is of the purpose, where it is one.
    """

    model_config = ConfigDict(frozen=True)

    name: Name
    weight: int = Field(1, ge=1, le=1_000_000)
    model: str | None = None
    version: int | None = None


class AbTestRecord(BaseModel):
    """A test; its first variant is the control.

    Attributes:
        purpose: calls of `version:PURPOSE` get their variant's model while it runs.
        minimum_effect: the difference between two rates of positive feedback that is worth knowing.
        error_rate: how likely the test says that there is a difference where there is none, however often it is read.
        stopped_at: None while it runs.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: UUID
    name: str
    purpose: str | None
    variants: tuple[Variant, ...]
    minimum_effect: float
    error_rate: float
    notes: str | None
    started_at: datetime
    stopped_at: datetime | None


class Assignment(BaseModel):
    """Which variant of a test a user has; the same one every time.

    Attributes:
        running: False once the test is stopped: whoever asks then gets what they had, and no test counts it.
    """

    model_config = ConfigDict(frozen=True)

    test: str
    user: str
    variant: str
    model: str | None
    version: int | None
    running: bool

    @property
    def context(self) -> dict[str, Any]:
        """For `context` of the calls that the variant has a part in, so that the ledger shows it on their rows."""
        return {CONTEXT_KEY: {self.test: self.variant}} if self.running else {}


def choose_variant(test_id: UUID, user: str, variants: Sequence[Variant]) -> Variant:
    """The variant of `user`, by the first 64 bits of SHA-256 over test and user, in proportion to the weights.

    The test's id makes the choice independent of the user's variants in other tests (Kohavi, Tang and Xu,
    "Trustworthy Online Controlled Experiments", 2020, chapter 4). A bucket is chosen with a bias below 2**-40.
    """
    digest = hashlib.sha256(test_id.bytes + user.encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big") * sum(variant.weight for variant in variants) >> 64
    for variant in variants:
        place -= variant.weight
        if place < 0:
            return variant
    raise AssertionError("the place is less than the sum of the weights")
