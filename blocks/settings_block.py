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
    embedding_dimensions: int | None = Field(
        None, ge=1, le=16000, description="Dimensions that the embedding model is asked for"
    )
    embedding_template: str = Field("", description="heading-1, with title and headings, or text-1, a chunk by itself")
    chunk_tokens: int | None = Field(None, ge=16, description="Tokens of a chunk at most")
    chunk_overlap: int | None = Field(None, ge=0, description="Tokens that a chunk repeats of the one before it")
    embedding_batch_items: int | None = Field(None, ge=1, le=2048, description="Texts of one request at most")
    embedding_batch_tokens: int | None = Field(None, ge=1, description="Tokens of one request at most")
    embedding_parallel: int | None = Field(None, ge=1, description="Requests for embeddings at once")
    embedding_recall: float | None = Field(
        None, ge=0, le=1, description="What a new generation's index must find of the nearest before search reads it"
    )
    chat_pages: str = Field("", description="Folder of pages that chats may be about; a path on the worker's machine")
    models: str = Field("", description="File of named models; a path on the worker's machine")
    local_model: str = Field("", description="GGUF file to serve as the local model; a path on the worker's machine")
    local_context: int | None = Field(None, ge=2048, description="Context window of the local model, in tokens")
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
    search_cache_hours: float | None = Field(None, gt=0, description="Hours for which what a search found is shared")
    search_empty_minutes: float | None = Field(None, ge=0, description="Minutes for which finding nothing is believed")
    search_timeout_seconds: float | None = Field(None, gt=0, description="Seconds a search may take")
    zai_api_key: SecretStr = Field(SecretStr(""), title="z.ai API key", description="As ZAI_API_KEY")
    zai_base_url: str = Field("", title="z.ai base URL", description="Another address of z.ai's API, as ZAI_API_BASE")
    runpod_api_key: SecretStr = Field(SecretStr(""), title="RunPod API key", description="As RUNPOD_API_KEY")
    runpod_base_url: str = Field(
        "", title="RunPod base URL", description="Another address of RunPod's API, as RUNPOD_ENDPOINT_BASE_URL"
    )
    runpod_endpoint_id: str = Field(
        "", title="RunPod endpoint", description="Endpoint of runpod/default, as LEXYBRAIN_RUNPOD_ENDPOINT_ID"
    )
    runpod_model_version: str = Field(
        "", title="RunPod model version", description="Name of its weights, as LEXYBRAIN_MODEL_VERSION"
    )
    runpod_max_latency_ms: int | None = Field(
        None,
        gt=0,
        title="RunPod latency, ms",
        description="How long one job is waited for, as LEXYBRAIN_MAX_LATENCY_MS",
    )
    runpod_sync: bool | None = Field(None, title="RunPod /runsync", description="Submit jobs with /runsync")
    runpod_usd_per_second: str = Field("", title="RunPod, USD per second", description="Price of a second of execution")
    lexybrain_model_url: str = Field(
        "", title="LexyBrain model URL", description="Deprecated: a llama.cpp server, as LEXYBRAIN_MODEL_URL"
    )
    lexybrain_key: SecretStr = Field(SecretStr(""), title="LexyBrain key", description="Its key, as LEXYBRAIN_KEY")
    project: str = Field("", description="Project whose budget pays when none is named")
    allow_unpriced: str = Field(
        "", description="Models that may be called under a budget although no price is known; comma-separated"
    )
    run_budget_usd: str = Field("", title="Run budget, USD", description="What each new run may spend, in US dollars")
    max_daily_llm_cost: str = Field(
        "",
        title="Daily budget, USD",
        description="Of the project, where none is set with headrace budget set; as MAX_DAILY_LLM_COST",
    )
    budget_timezone: str = Field("", description="Where the days of a budget begin, e.g. Europe/Berlin")
    lexybrain_daily_cost_cap: str = Field("", title="Insights, cents a day", description="As LEXYBRAIN_DAILY_COST_CAP")
    lexybrain_enable: bool | None = Field(None, title="Insights", description="False switches them off")
    lexybrain_notifications_enabled: bool | None = Field(
        None, title="Word of grave risks", description="Risks of high severity are said in the log"
    )
    answer_ttl_minutes: str = Field(
        "", title="Age of answers", description="Minutes stored answers are used, by purpose: radar=60,review=0"
    )
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
    model_requests_per_minute: int | None = Field(None, ge=0, description="Requests to a model in a minute; 0 for any")
    model_tokens_per_minute: int | None = Field(None, ge=0, description="Tokens of a model in a minute; 0 for any")
    model_parallel_calls: int | None = Field(None, ge=0, description="Calls of a model at the same time; 0 for any")
