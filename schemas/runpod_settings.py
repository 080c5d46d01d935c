"""Settings of RunPod's serverless queue; the names are those its users have in their environments."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

RUNPOD_URL = "https://api.runpod.ai/v2"


class RunPodSettings(BaseSettings):
    """What `runpod/…` models need; a part of `Settings`."""

    runpod_api_key: SecretStr | None = Field(None, validation_alias="RUNPOD_API_KEY")
    runpod_base_url: str = Field(RUNPOD_URL, validation_alias="RUNPOD_ENDPOINT_BASE_URL")
    """As for the runpod package."""
    runpod_endpoint_id: str | None = Field(None, validation_alias="LEXYBRAIN_RUNPOD_ENDPOINT_ID")
    """The endpoint of `runpod/default`."""
    runpod_model_version: str | None = Field(None, validation_alias="LEXYBRAIN_MODEL_VERSION")
    """Name of the weights behind `runpod/default`, for the record; answers of another version are not replayed."""
    runpod_max_latency_ms: int = Field(55_000, gt=0, validation_alias="LEXYBRAIN_MAX_LATENCY_MS")
    """How long one job is waited for, a cold start included."""
    runpod_timeout_ms: int | None = Field(None, gt=0, validation_alias="LEXYBRAIN_RUNPOD_TIMEOUT_MS")
    """Later name of the same limit; wins where both are set."""
    runpod_sync: bool = False
    """Jobs are submitted with `/runsync`, which may answer at once, instead of `/run`."""
    runpod_usd_per_second: Decimal | None = Field(None, ge=0)
    """What a second of execution costs; without it calls are unpriced."""

    lexybrain_model_url: str | None = Field(None, validation_alias="LEXYBRAIN_MODEL_URL")
    """Deprecated: a llama.cpp server behind a RunPod load balancer."""
    lexybrain_key: SecretStr | None = Field(None, validation_alias="LEXYBRAIN_KEY")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty(cls, given: Any) -> Any:
        """A variable that is set to nothing is not set."""
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value != "" or name not in RUNPOD_VARIABLES}

    @property
    def runpod_limit_seconds(self) -> float:
        """How long one job is waited for."""
        return (self.runpod_timeout_ms or self.runpod_max_latency_ms) / 1000


RUNPOD_VARIABLES = frozenset(
    field.validation_alias for field in RunPodSettings.model_fields.values() if isinstance(field.validation_alias, str)
)
"""The variables above that keep a name of their own, without our prefix."""
