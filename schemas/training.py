"""What is exported to train models with, and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.choices import ExportFormat, InsightType, Opinion
from schemas.forms import in_order

PairSource = Literal["feedback", "corrections", "scores"]
PAIRED: tuple[ExportFormat, ...] = ("openai-dpo", "trl-dpo")
"""Formats of which a row is two answers to one prompt."""


class ExportOptions(BaseModel):
    """Which calls become training rows, and how.

    Attributes:
        models: names asked or names that answered; empty: all, as with the following.
        opinions: of all who rated the response. Empty: what the format can use; a response that is thought ill of is
            no example to follow unless it was corrected.
        min_score: of the metric `overall` of a sweep's response, 0 to 1; calls without a score are left out.
        margin: how much higher the better of two answers scores, 0 to 1.
        dedup: leave out rows that are equal to an earlier one.
        near: leave out rows that are so much alike to an earlier one: the Jaccard similarity of their runs of three
            words, 0 to 1; 0: none. It takes a second reading.
        max_tokens: of a whole row; longer ones are set aside. 0: no limit.
        fits: a model: rows that are longer than its context are set aside, whatever `max_tokens` says.
        phone_region: country, as ISO 3166 has it, of phone numbers that are written without theirs.
        test_share: of prompt families that go to the test file.
        family_likeness: prompts that are so much alike, as above, are one family; 0: only those of the same words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=in_order)

    format: ExportFormat
    project: str = ""
    since: AwareDatetime | None = None
    before: AwareDatetime | None = None
    insight_types: tuple[InsightType, ...] = ()
    models: tuple[str, ...] = ()
    model_versions: tuple[str, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    min_score: Annotated[float, Field(ge=0, le=1)] | None = None
    pairs: tuple[PairSource, ...] = ("feedback", "corrections", "scores")
    margin: float = Field(0.1, gt=0, le=1)
    dedup: bool = True
    near: float = Field(0, ge=0, lt=1)
    redact: bool = True
    phone_region: str = Field("US", pattern=r"^[A-Z]{2}$")
    max_tokens: int = Field(0, ge=0)
    fits: str = ""
    test_share: float = Field(0, ge=0, lt=1)
    family_likeness: float = Field(0.8, ge=0, lt=1)
    seed: str = ""


class ExportedFile(BaseModel):
    """One file of rows."""

    model_config = ConfigDict(frozen=True)

    rows: int
    tokens: int
    bytes: int
    sha256: str


class ExportManifest(BaseModel):
    """What stands in `manifest.json`: nothing in it differs between two exports of the same data with the same options.

    Attributes:
        redacted: how often each kind of personal data or secret was replaced, in all calls that can be examples.
        set_aside: calls that met the filters and rows made of them that are in no file, by reason; `set-aside.jsonl`
            names the calls of each. Of a call that makes several rows one may be set aside and another not.
    """

    model_config = ConfigDict(frozen=True)

    version: int = 1
    options: ExportOptions
    calls: int
    rows: int
    files: dict[str, ExportedFile]
    redacted: dict[str, int]
    set_aside: dict[str, int]


class CheckedFile(BaseModel):
    """A training file in which no row has a fault.

    Attributes:
        warnings: what a trainer may object to, in sentences.
    """

    model_config = ConfigDict(frozen=True)

    status: str = "completed"
    path: str
    format: ExportFormat
    rows: int
    warnings: tuple[str, ...] = ()


class ExportReport(BaseModel):
    """What came of an export.

    Attributes:
        until: calls settled and feedback given later are no part of it.
        warnings: what a trainer may object to, in sentences.
    """

    model_config = ConfigDict(frozen=True)

    run_id: UUID
    status: str = "completed"
    path: str
    until: datetime
    manifest: ExportManifest
    manifest_sha256: str
    warnings: tuple[str, ...] = ()


Record = dict[str, Any]
"""One row as its format wants it."""
