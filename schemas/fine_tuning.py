"""A fine-tuning job: what is asked for, where it stands, what it led to."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.forms import in_order
from schemas.versions import Name

JobStatus = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
Method = Literal["supervised", "dpo"]


class FineTuneRequest(BaseModel):
    """What to train, on what, how; what is left empty the provider chooses."""

    model_config = ConfigDict(frozen=True, json_schema_extra=in_order)

    training_file: str = Field(
        description="Folder or id of a training export, or a file of one (openai-sft, openai-dpo)"
    )
    purpose: Name = Field(description="What the model is for; it becomes the newest version for it")
    base_model: str = Field(description="Model at OpenAI, or at the server of OPENAI_BASE_URL, to begin with")
    validation_file: str = Field("", description="Path of a file of the same format that the model is measured on")
    suffix: str = Field("", max_length=64, description="Becomes part of the model's name")
    method: Method = Field("supervised", description="supervised, or dpo for pairs of answers")
    n_epochs: int | None = Field(None, ge=1, description="Passes over the file")
    batch_size: int | None = Field(None, ge=1, description="Rows at once")
    learning_rate_multiplier: float | None = Field(None, gt=0, description="Of the provider's own rate")
    beta: float | None = Field(None, gt=0, description="Of dpo: how close to the base model")
    seed: int | None = Field(None, description="Makes the job repeatable, as far as the provider can")
    export_id: str = Field("", description="The training export that wrote the file; found by itself when empty")
    usd_per_million_tokens: Decimal | None = Field(
        None, ge=0, description="Price of the training, where the provider does not say what it cost"
    )
    poll_seconds: float = Field(15.0, gt=0, description="Pause between two looks at the job")


class JobState(BaseModel):
    """A job as the provider describes it.

    Attributes:
        reason: why it failed, in the provider's words.
        cost_usd: what it cost, where the provider says; OpenAI itself does not.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    status: JobStatus
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    reason: str | None = None
    code: str | None = None
    cost_usd: Decimal | None = None


class JobEvent(BaseModel):
    """Something the provider says of a job; `step` of `total_steps` where it is about progress."""

    model_config = ConfigDict(frozen=True)

    id: str
    at: datetime
    level: str
    message: str
    step: int | None = None
    total_steps: int | None = None


class FineTuneReport(BaseModel):
    """A model that was made, and its place among the versions for its purpose."""

    model_config = ConfigDict(frozen=True)

    run_id: UUID
    status: Literal["completed"] = "completed"
    purpose: str
    version: int
    model: str
    base_model: str
    job_id: str
    training_file: str
    training_sha256: str
    training_rows: int
    trained_tokens: int | None
    cost_usd: Decimal | None
