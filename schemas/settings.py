"""What can be set, where it comes from, and what holds when nothing is set.

Environment first (prefix `HEADRACE_`, `.env` read), then the Prefect block saved as `headrace` (read by
`blocks/settings.py`), then the defaults here. `DATABASE_URL` and provider keys keep their usual names.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from schemas.embedding import TemplateName
from schemas.runpod_settings import RunPodSettings

LOCAL_CHAT_MODEL = "local/chat"
LOCAL_EMBEDDING_MODEL = "local/embedding"
STORED_CORPUS = "corpus"

OLDER_VARIABLES = frozenset(
    {
        "LEXYBRAIN_DAILY_COST_CAP",
        "LEXYBRAIN_ENABLE",
        "LEXYBRAIN_NOTIFICATIONS_ENABLED",
        "MAX_DAILY_LLM_COST",
        "MAX_REQUESTS_PER_MINUTE",
    }
)
"""Variables of older applications that keep their meaning, beside those of `runpod_settings`."""
_LEFT_OUT_EMPTY = OLDER_VARIABLES | {"HEADRACE_USER_REQUESTS_PER_MINUTE"}  # as Pydantic calls either of two names

ModelRole = Literal["chat", "research", "generate", "review", "judge", "embedding"]


class Settings(RunPodSettings):
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
    embedding_dimensions: int | None = Field(None, ge=1, le=16000)
    """What the embedding model is asked for; its own number when not set."""
    embedding_template: TemplateName = "heading-1"
    """How a chunk becomes the text that is embedded: with title and headings, or `text-1`, by itself."""
    chunk_tokens: int = Field(200, ge=16)
    """Tokens of a chunk at most, as the embedded model counts them; another number is a new generation."""
    chunk_overlap: int = Field(24, ge=0)
    """Tokens that a chunk repeats of the one before it, at most."""
    embedding_batch_items: int = Field(100, ge=1, le=2048)
    """Texts and, as bounded, tokens of one request for embeddings at most; a provider that refuses gets less."""
    embedding_batch_tokens: int = Field(100_000, ge=1)
    embedding_parallel: int = Field(8, ge=1)
    """Requests for embeddings at once, within the model's limits."""
    embedding_recall: float = Field(0.95, ge=0, le=1)
    """Share of the nearest that a new generation's index must find before search is switched to it."""
    image_model: str | None = None
    """Makes images; `gpt-image-2` where an OpenAI key is set and this is not."""
    rerank_model: str | None = None
    models: Path | None = None
    """A TOML file of named models; `headrace-models.toml` in the working folder when not set."""
    local_model: Path | None = None
    """A GGUF file to serve instead of the embedded weights."""
    local_context: int = Field(16384, ge=2048)
    """Context window of the embedded chat model, in tokens."""

    openai_api_key: SecretStr | None = Field(None, validation_alias="OPENAI_API_KEY")
    openai_base_url: str | None = Field(None, validation_alias="OPENAI_BASE_URL")

    search_provider: str = STORED_CORPUS
    """Where research looks things up: `corpus` (the stored bills), `zai`, or a search provider of LiteLLM."""
    search_cache_hours: float = Field(24.0, gt=0)
    search_empty_minutes: float = Field(10.0, ge=0)
    """How long a search that found nothing is taken at its word."""
    search_timeout_seconds: float = Field(30.0, gt=0)
    zai_api_key: SecretStr | None = Field(None, validation_alias="ZAI_API_KEY")
    zai_base_url: str | None = Field(None, validation_alias="ZAI_API_BASE")
    """Another address of z.ai's API, up to and including the version."""

    project: str = "default"
    allow_unpriced: Annotated[frozenset[str], NoDecode] = frozenset()
    """Models that may be called under a budget although no price is known; comma-separated."""
    budget_timezone: str = "UTC"
    max_daily_llm_cost: Decimal | None = Field(None, ge=0, lt=10**9, validation_alias="MAX_DAILY_LLM_COST")
    """US dollars a day for `project`, where nobody has set that budget; None limits nothing."""
    lexybrain_daily_cost_cap: Decimal | None = Field(None, ge=0, lt=10**11, validation_alias="LEXYBRAIN_DAILY_COST_CAP")
    """US cents a day for the insights of project `lexybrain`; None leaves the budget of that project as it is set."""
    lexybrain_enable: bool = Field(True, validation_alias="LEXYBRAIN_ENABLE")
    """False switches insights off."""
    lexybrain_notifications_enabled: bool = Field(False, validation_alias="LEXYBRAIN_NOTIFICATIONS_ENABLED")
    """Risks of high severity are said in the log."""
    answer_ttl_minutes: Annotated[dict[str, Annotated[float, Field(ge=0)]], NoDecode] = Field(default_factory=dict)
    """Minutes for which stored answers are used, by purpose (`radar=60,review=0`); others however old they are."""
    run_budget_usd: Decimal | None = Field(None, ge=0, lt=10**9)
    """What each new run may spend, in US dollars; no limit when not set."""

    call_timeout_seconds: float = Field(600.0, gt=0)
    retry_attempts: int = Field(5, ge=1)
    retry_seconds: float = Field(300.0, ge=0)
    """Bound on the whole of one call's waiting and retrying, in seconds."""
    parallel_calls: int = Field(64, ge=1)
    user_requests_per_minute: int = Field(
        20, ge=0, le=1000, validation_alias=AliasChoices("HEADRACE_USER_REQUESTS_PER_MINUTE", "MAX_REQUESTS_PER_MINUTE")
    )
    """Requests made for one user in any 60 seconds, all processes together; 0 for no limit."""
    model_requests_per_minute: int = Field(0, ge=0)
    """These are limits of each model that is not served by this machine, for one process; 0, the default, for none."""
    model_tokens_per_minute: int = Field(0, ge=0)
    model_parallel_calls: int = Field(0, ge=0)
    limit_share: int = Field(1, ge=1)
    """So many processes keep to the limits of models together: each takes its part of them."""
    limit_wait_seconds: float = Field(300.0, ge=0)
    """How long a call waits for its turn under these limits before it is refused."""
    lease_seconds: float = Field(30.0, gt=0)
    lease_renewal_seconds: float = Field(10.0, gt=0)

    chat_pages: Path | None = None
    """A folder of Markdown files, each of which describes a page that conversations may be about."""

    task_runner: str | None = None
    """Where chunks of a sweep are asked, under Prefect: `threads:4`, `processes:4`, `dask://host:port/4`, `ray:4`."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_older_empty(cls, given: Any) -> Any:
        """A variable of an older application that is set to nothing is not set."""
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value != "" or name not in _LEFT_OUT_EMPTY}

    @field_validator("allow_unpriced", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("answer_ttl_minutes", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if isinstance(value, str):
            pairs = (pair.partition("=") for pair in value.split(",") if pair.strip())
            return {purpose.strip(): minutes.strip() for purpose, _, minutes in pairs}
        return value

    @field_validator("database_url", "run_budget_usd", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def uses_embedded_database(self) -> bool:
        """True when no `DATABASE_URL` is set."""
        return self.database_url is None

    def answer_ttl(self, purpose: str | None) -> timedelta | None:
        """How old a stored answer may be to be used again for `purpose`; None where that is not set."""
        minutes = self.answer_ttl_minutes.get(purpose or "")
        return None if minutes is None else timedelta(minutes=minutes)

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
    def web_search_provider(self) -> str | None:
        """The provider of web searches: the one set, z.ai where only its key is, else None."""
        if self.search_provider != STORED_CORPUS:
            return self.search_provider
        return "zai" if self.zai_api_key and self.zai_api_key.get_secret_value() else None

    @property
    def has_openai(self) -> bool:
        """True when an OpenAI key is set."""
        return bool(self.openai_api_key and self.openai_api_key.get_secret_value())
