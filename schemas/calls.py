"""What goes to a model and what comes back."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.named_models import CallLimits, TokenPrice
from schemas.vectors import Vector

CallKind = Literal["chat", "embedding", "image", "search", "rerank"]
CostSource = Literal["provider", "price_table", "local", "unpriced"]
RequestStatus = Literal["reserved", "succeeded", "failed", "unknown", "replayed"]
Recency = Literal["day", "week", "month", "year"]

MOST_RESULTS = 50
MOST_IMAGES = 10
MOST_DOCUMENTS = 1000


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str


class ChatParameters(BaseModel):
    """Sampling parameters; None leaves one to the provider. `max_tokens` is what the reserved cost rests on."""

    model_config = ConfigDict(frozen=True)

    max_tokens: int = Field(1024, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)


class ChatCall(BaseModel):
    """One chat completion as asked of a provider.

    Attributes:
        model: LiteLLM name (`gpt-4o-mini`, `anthropic/claude-3-haiku-20240307`, `local/chat`).
        output_schema: JSON schema the answer must meet, or None for free text.
        output_name: name the schema goes by at the provider (letters, digits, `_` and `-`).
    """

    model_config = ConfigDict(frozen=True)

    model: str
    messages: tuple[Message, ...]
    parameters: ChatParameters = ChatParameters()
    output_schema: dict[str, Any] | None = None
    output_name: str = "answer"


class EmbeddingCall(BaseModel):
    """Texts to embed with one model in one request.

    Attributes:
        most_tokens: a bound on the tokens of all texts, of a caller who has counted them; no part of what is asked.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    most_tokens: int | None = Field(None, exclude=True)


class SearchCall(BaseModel):
    """One search of the web as asked of a provider.

    Attributes:
        model: provider and engine (`zai/search-prime`, `tavily/search`), as LiteLLM's price table names them.
        domains: only results from these hosts and what is below them; `*.gov` is all of a top-level domain.
        recency: only what was published within the last day, week, month or year.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    query: str
    count: int = Field(10, ge=1, le=MOST_RESULTS)
    domains: tuple[str, ...] = ()
    recency: Recency | None = None


class ImageCall(BaseModel):
    """One request for images as asked of a provider.

    Attributes:
        size: `WIDTHxHEIGHT` in pixels, or `auto`; None leaves it to the provider.
        quality: in the provider's words (`low`, `medium`, `high`; `standard`, `hd`); None leaves it to the provider.
        n: how many images.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    prompt: str
    size: str | None = Field(None, pattern=r"^(auto|[1-9][0-9]{1,4}x[1-9][0-9]{1,4})$")
    quality: str | None = Field(None, pattern=r"^[a-z0-9_-]{1,32}$")
    n: int = Field(1, ge=1, le=MOST_IMAGES)


class RerankCall(BaseModel):
    """Documents to be put in the order of their relevance to a query.

    Attributes:
        top_n: only so many, the most relevant ones; None for all.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    query: str
    documents: tuple[str, ...] = Field(min_length=1, max_length=MOST_DOCUMENTS)
    top_n: int | None = Field(None, ge=1)

    @property
    def wanted(self) -> int:
        """How many documents the answer ranks."""
        return min(self.top_n or len(self.documents), len(self.documents))


ProviderCall = ChatCall | EmbeddingCall | SearchCall | ImageCall | RerankCall


class GeneratedImage(BaseModel):
    """One image as a provider answered it.

    Attributes:
        base64: the bytes of the file; `data` has them decoded.
        media_type: what the file is by its first bytes (`image/png`).
        revised_prompt: what the provider made of the prompt; None where it does not say.
    """

    model_config = ConfigDict(frozen=True)

    base64: str
    media_type: str
    revised_prompt: str | None = None

    @property
    def data(self) -> bytes:
        """The file."""
        return b64decode(self.base64)


class RankedDocument(BaseModel):
    """One document of a ranking.

    Attributes:
        index: its place among the documents asked about, from 0.
        relevance_score: the higher the more relevant; scales differ from model to model.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    relevance_score: float


class WebResult(BaseModel):
    """One page that a search found.

    Attributes:
        snippet: the part of its text that the provider shows; may be empty.
        published_date: as the provider words it; None where it does not say.
        source: who publishes the page: the medium the provider names, else the host.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    url: str
    snippet: str
    published_date: str | None = None
    source: str


class Usage(BaseModel):
    """Tokens of one call: input includes what was read from or written to the provider's cache, output reasoning.

    `output_text_tokens` are the part of the output that is text where the answer is an image.
    """

    model_config = ConfigDict(frozen=True)

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    output_text_tokens: int = 0


class ProviderReply(BaseModel):
    """What a provider answered, before anybody judged it.

    Attributes:
        text: the answer's text (chat), else the empty string.
        vectors: one vector per text (embedding), else None.
        in_openai_form: the bodies of an embedding are as OpenAI has them: texts and vectors can be read from them.
        results: the pages found, best first (search), else None.
        images: the images made (image), else None.
        ranking: the documents, most relevant first (rerank), else None.
        model: the model that answered, as the provider names it.
        usage: as the provider counted it; None where it did not say.
        provider_cost_usd: what the provider says the call cost, if it says so.
        billed_seconds: how long the provider worked, where it bills by time; None where it did not say.
        search_units: how many the provider billed, where it bills rankings by them; None where it did not say.
        request_bytes / response_bytes: the exact bodies, without any credential.
    """

    model_config = ConfigDict(frozen=True)

    text: str = ""
    vectors: tuple[Vector, ...] | None = None
    in_openai_form: bool = False
    results: tuple[WebResult, ...] | None = None
    images: tuple[GeneratedImage, ...] | None = None
    ranking: tuple[RankedDocument, ...] | None = None
    model: str
    finish_reason: str | None = None
    usage: Usage | None = None
    provider_cost_usd: Decimal | None = None
    billed_seconds: Decimal | None = None
    search_units: int | None = None
    provider_request_id: str | None = None
    request_bytes: bytes
    response_bytes: bytes


class ModelInfo(BaseModel):
    """What is known of a model before it is called.

    Attributes:
        identity: what the answer depends on beside the name: endpoint, weights.
        context_window: tokens of prompt and answer together; None when unknown.
        max_output_tokens: None when unknown.
        local: served by this machine for nothing.
        reasoning: it may think before it answers, within its output tokens, and then takes no sampling parameters.
        queued: calls become jobs with an id, by which an answer can be fetched later, also by another process.
        version: name of the weights, where it is set apart from the model's name.
        usd_per_second: price of a model that is billed by time.
        longest_seconds: the provider ends a call that works longer than this.
        stands_for: LiteLLM name of a named model; None where `model` is one itself.
        key_variable: holds the key of a named model that has one of its own.
        price: in place of what the price table or the provider says.
        price_per_image, price_per_query: USD, likewise, of images and rankings.
        fallback: models to ask instead, in order, where another one can help.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    provider: str
    identity: str
    context_window: int | None = None
    max_output_tokens: int | None = None
    local: bool = False
    reasoning: bool = False
    queued: bool = False
    version: str | None = None
    usd_per_second: Decimal | None = None
    longest_seconds: int = 0
    stands_for: str | None = None
    key_variable: str | None = None
    price: TokenPrice | None = None
    price_per_image: Decimal | None = None
    price_per_query: Decimal | None = None
    limits: CallLimits = CallLimits()
    fallback: tuple[str, ...] = ()

    @property
    def litellm_model(self) -> str:
        """The LiteLLM name of what is asked."""
        return self.stands_for or self.model

    @property
    def has_own_price(self) -> bool:
        """True where the table of a named model says what calls cost, whatever the provider says."""
        return any(said is not None for said in (self.price, self.price_per_image, self.price_per_query))

    def time_usd(self, seconds: Decimal | None = None) -> Decimal | None:
        """What so many seconds cost, the most it can be where they are not known; None when not billed by time."""
        if self.usd_per_second is None:
            return None
        return self.usd_per_second * (self.longest_seconds if seconds is None else seconds)


class CostEstimate(BaseModel):
    """Worst-case cost of a call before it is made; `usd` is None when no price is known."""

    model_config = ConfigDict(frozen=True)

    model: str
    input_tokens: int
    max_output_tokens: int
    usd: Decimal | None
    source: CostSource


def total_cost(costs: Iterable[Decimal | None]) -> Decimal | None:
    """The sum in USD; None where one of `costs` is not known."""
    total = Decimal(0)
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total
