"""The Prefect block in which a team keeps its settings; `headrace up` registers its type.

Saved under the name `headrace`, it fills in what the environment of a command or a worker does not set.
"""

from __future__ import annotations

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import Field, SecretStr

from blocks.settings import BLOCK_TYPE


class HeadraceSettings(Block):
    """What `HEADRACE_…` variables set, kept in Prefect; what is left empty has its default."""

    _block_type_name = "Headrace settings"
    _block_type_slug = BLOCK_TYPE

    database_url: SecretStr = Field(SecretStr(""), title="Database URL", description="Postgres of the ledger")
    chat_model: str = Field("", description="Default model of every step, a LiteLLM name")
    research_model: str = Field("", description="Model that writes search queries")
    generate_model: str = Field("", description="Model that drafts")
    review_model: str = Field("", description="Model that audits drafts")
    judge_model: str = Field("", description="Model that scores answers")
    embedding_model: str = Field("", description="Model that embeds texts")
    image_model: str = Field("", description="Model that makes images")
    rerank_model: str = Field("", description="Model that reranks documents")
    search_provider: str = Field(
        "", description="Where research looks things up: corpus, zai, tavily, … (its key goes under provider keys)"
    )
    openai_api_key: SecretStr = Field(SecretStr(""), title="OpenAI API key", description="As OPENAI_API_KEY")
    openai_base_url: str = Field(
        "", title="OpenAI base URL", description="Of an OpenAI-compatible server, as OPENAI_BASE_URL"
    )
    provider_keys: SecretDict | None = Field(
        None, description="Variables that other providers read, by name, such as ANTHROPIC_API_KEY"
    )
    project: str = Field("", description="Project whose budget pays when none is named")
    allow_unpriced: str = Field(
        "", description="Models that may be called under a budget although no price is known; comma-separated"
    )
    run_budget_usd: str = Field("", title="Run budget, USD", description="What each new run may spend, in US dollars")
    budget_timezone: str = Field("", description="Where the days of a budget begin, e.g. Europe/Berlin")
    retry_attempts: int | None = Field(None, ge=1, description="Tries of one call, at most")
    retry_seconds: float | None = Field(None, ge=0, description="Seconds that one call may wait and retry, at most")
    call_timeout_seconds: float | None = Field(None, gt=0, description="Seconds a provider may take to answer")
    parallel_calls: int | None = Field(None, ge=1, description="Calls of one process at the same time, at most")
    user_requests_per_minute: int | None = Field(
        None, ge=0, le=1000, description="Requests for one user in any minute, at most; 0 for no limit"
    )
    limit_wait_seconds: float | None = Field(
        None, ge=0, description="Seconds a call waits for its turn under the limits before it is refused"
    )
