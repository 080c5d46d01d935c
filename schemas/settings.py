"""What can be set, where it comes from, and what holds when nothing is set.

Environment first (prefix `HEADRACE_`, `.env` read), then the Prefect block saved as `headrace` (read by
`blocks/settings.py`), then the defaults here. `DATABASE_URL` and provider keys keep their usual names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LOCAL_CHAT_MODEL = "local/chat"
LOCAL_EMBEDDING_MODEL = "local/embedding"

ModelRole = Literal["chat", "research", "generate", "review", "judge", "embedding"]


class Settings(BaseSettings):
    """The settings of one process; immutable once read."""

    model_config = SettingsConfigDict(
        env_prefix="HEADRACE_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True
    )

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("headrace")))
    cache: Path = Field(default_factory=lambda: Path(platformdirs.user_cache_dir("headrace")))
    idle_minutes: float = Field(15.0, ge=0)
    """Minutes without a command after which the embedded parts stop."""

    database_url: SecretStr | None = Field(None, validation_alias=AliasChoices("DATABASE_URL", "HEADRACE_DATABASE_URL"))

    chat_model: str | None = None
    research_model: str | None = None
    generate_model: str | None = None
    review_model: str | None = None
    judge_model: str | None = None
    embedding_model: str | None = None
    models: Path | None = None
    """A TOML file of named models; `headrace-models.toml` in the working folder when not set."""
    local_model: Path | None = None
    """A GGUF file to serve instead of the embedded weights."""
    local_context: int = Field(16384, ge=2048)
    """Context window of the embedded chat model, in tokens."""

    openai_api_key: SecretStr | None = Field(None, validation_alias="OPENAI_API_KEY")
    openai_base_url: str | None = Field(None, validation_alias="OPENAI_BASE_URL")

    project: str = "default"
    allow_unpriced: Annotated[frozenset[str], NoDecode] = frozenset()
    """Models that may be called under a budget although no price is known; comma-separated."""
    budget_timezone: str = "UTC"

    call_timeout_seconds: float = Field(600.0, gt=0)
    retry_attempts: int = Field(5, ge=1)
    retry_seconds: float = Field(300.0, ge=0)
    """Bound on the whole of one call's waiting and retrying, in seconds."""
    parallel_calls: int = Field(64, ge=1)
    lease_seconds: float = Field(30.0, gt=0)
    lease_renewal_seconds: float = Field(10.0, gt=0)

    task_runner: str | None = None

    @field_validator("allow_unpriced", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("database_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value or None

    @property
    def uses_embedded_database(self) -> bool:
        """True when no `DATABASE_URL` is set."""
        return self.database_url is None

    def model_for(self, role: ModelRole) -> str:
        """The LiteLLM name of the model for `role`.

        A role without a model of its own uses `HEADRACE_CHAT_MODEL`; without that, `gpt-4o-mini`
        where `OPENAI_API_KEY` is set, else the embedded model.
        """
        own: str | None = getattr(self, f"{role}_model")
        if own:
            return own
        if role == "embedding":
            return "text-embedding-3-small" if self.has_openai else LOCAL_EMBEDDING_MODEL
        return self.chat_model or ("gpt-4o-mini" if self.has_openai else LOCAL_CHAT_MODEL)

    @property
    def has_openai(self) -> bool:
        """True when an OpenAI key is set."""
        return bool(self.openai_api_key and self.openai_api_key.get_secret_value())
