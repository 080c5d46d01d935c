"""A scripted search server on loopback: several providers' wire formats, each request checked by its reference.

A request with a field that the provider's reference does not have, without its key, or with a value out
of range is answered with status 400 or 401, as the providers do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

KEY = "search-key-51d2"


class Shape(BaseModel):
    """A request body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ZaiRequest(Shape):
    """https://docs.z.ai/api-reference/tools/web-search; z-ai-sdk-python, types/web_search."""

    search_engine: Literal["search-prime"]
    search_query: str = Field(min_length=1)
    count: int = Field(10, ge=1, le=50)
    search_domain_filter: str | None = None
    search_recency_filter: Literal["oneDay", "oneWeek", "oneMonth", "oneYear", "noLimit"] = "noLimit"
    request_id: str | None = None
    user_id: str | None = None


class TavilyRequest(Shape):
    """https://docs.tavily.com/documentation/api-reference/endpoint/search."""

    query: str = Field(min_length=1)
    max_results: int = Field(5, ge=0, le=20)
    include_domains: list[str] = Field([], max_length=300)
    exclude_domains: list[str] = Field([], max_length=150)
    time_range: Literal["day", "week", "month", "year"] | None = None
    search_depth: Literal["basic", "advanced"] = "basic"
    topic: Literal["general", "news", "finance"] = "general"


class PerplexityRequest(Shape):
    """https://docs.perplexity.ai/api-reference/search-post."""

    query: str = Field(min_length=1)
    max_results: int = Field(10, ge=1, le=20)
    search_domain_filter: list[str] = Field([], max_length=20)
    search_recency_filter: Literal["hour", "day", "week", "month", "year"] | None = None
    max_tokens_per_page: int | None = None
    country: str | None = None


class ExaRequest(Shape):
    """https://docs.exa.ai/reference/search."""

    query: str = Field(min_length=1)
    numResults: int = Field(10, ge=1, le=100)
    includeDomains: list[str] = []
    startPublishedDate: str | None = Field(None, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
    contents: dict[str, Any] = {}


class SearxngRequest(BaseModel):
    """https://docs.searxng.org/dev/search_api.html; the parameters of a query string are all text."""

    model_config = ConfigDict(extra="forbid")

    q: str = Field(min_length=1)
    format: Literal["json"]
    time_range: Literal["day", "month", "year"] | None = None


@dataclass(frozen=True)
class Page:
    """A page that can be found."""

    url: str
    title: str = "A page"
    text: str = "What the page says."
    date: str = ""


def _zai(pages: Sequence[Page]) -> Any:
    rows = [
        {"title": page.title, "content": page.text, "link": page.url, "media": "", "icon": "", "refer": f"ref_{number}",
         "publish_date": page.date}
        for number, page in enumerate(pages, 1)
    ]  # fmt: skip
    return {"id": "20250101-zai", "created": 1764970762, "request_id": "r-1", "search_result": rows}


def _tavily(pages: Sequence[Page]) -> Any:
    rows = [{"title": p.title, "url": p.url, "content": p.text, "score": 0.9, "raw_content": None} for p in pages]
    return {"query": "q", "answer": None, "images": [], "results": rows, "response_time": 0.5, "request_id": "t-1"}


def _perplexity(pages: Sequence[Page]) -> Any:
    rows = [{"title": p.title, "url": p.url, "snippet": p.text, "date": p.date, "last_updated": None} for p in pages]
    return {"results": rows, "id": "p-1"}


def _exa(pages: Sequence[Page]) -> Any:
    rows = [{"id": p.url, "title": p.title, "url": p.url, "publishedDate": p.date, "text": p.text} for p in pages]
    return {"requestId": "e-1", "results": rows, "costDollars": {"total": 0.007}}


def _searxng(pages: Sequence[Page]) -> Any:
    rows = [{"title": p.title, "url": p.url, "content": p.text, "engine": "mojeek"} for p in pages]
    return {"query": "q", "number_of_results": 0, "results": rows, "answers": [], "suggestions": []}


@dataclass(frozen=True)
class Dialect:
    """One provider: how it is asked, by whom it lets itself be asked, how it answers."""

    path: str
    shape: type[BaseModel]
    query: str
    render: Callable[[Sequence[Page]], Any]
    header: tuple[str, str] | None
    method: str = "POST"


BEARER = ("Authorization", f"Bearer {KEY}")
DIALECTS = {
    "zai": Dialect("/zai/web_search", ZaiRequest, "search_query", _zai, BEARER),
    "tavily": Dialect("/tavily/search", TavilyRequest, "query", _tavily, BEARER),
    "perplexity": Dialect("/perplexity/search", PerplexityRequest, "query", _perplexity, BEARER),
    "exa_ai": Dialect("/exa/search", ExaRequest, "query", _exa, ("x-api-key", KEY)),
    "searxng": Dialect("/searxng/search", SearxngRequest, "q", _searxng, None, "GET"),
}


@dataclass(frozen=True)
class Answer:
    """An answer other than pages found."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request that was served, with the status of its answer."""

    provider: str
    query: str
    body: dict[str, Any]
    status: int


Find = Callable[[str], Sequence[Page] | Answer]


def one_page(query: str) -> Sequence[Page]:
    """A page about whatever is asked."""
    return [Page("https://www.irs.gov/page", f"About {query}")]


class ScriptedSearch:
    """Serves every dialect under its own path while entered.

    Args:
        find: query → pages, or another answer.

    Attributes:
        asked: the requests served, in the order they ended.
    """

    def __init__(self, find: Find = one_page) -> None:
        self.find = find
        self.asked: list[Asked] = []
        self._open = threading.Event()
        self._open.set()
        self._waiting = threading.Semaphore(0)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def paid(self) -> int:
        """How many answers would be billed."""
        return sum(asked.status == 200 for asked in self.asked)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead every provider here."""
        return {
            "ZAI_API_BASE": f"{self.url}/zai",
            "ZAI_API_KEY": KEY,
            "TAVILY_API_BASE": f"{self.url}/tavily",
            "TAVILY_API_KEY": KEY,
            "PERPLEXITY_API_BASE": f"{self.url}/perplexity",
            "PERPLEXITYAI_API_KEY": KEY,
            "EXA_API_BASE": f"{self.url}/exa",
            "EXA_API_KEY": KEY,
            "SEARXNG_API_BASE": f"{self.url}/searxng",
        }

    def hold(self) -> None:
        """From now on answers wait for `release`."""
        self._open.clear()

    def release(self) -> None:
        """Waiting answers go out."""
        self._open.set()

    def wait_held(self, count: int) -> None:
        """Returns when `count` more requests have come."""
        for _ in range(count):
            assert self._waiting.acquire(timeout=60), "the request did not come"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}"))

            def do_GET(self) -> None:
                self._answer(dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True)))

            def _answer(self, body: dict[str, Any]) -> None:
                answer = scripted.serve(self.command, urlsplit(self.path).path, self.headers, body)
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(BrokenPipeError, ConnectionResetError):  # who asked may have gone
                    self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def serve(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> Answer:
        """The answer to one request, on record."""
        self._waiting.release()
        self._open.wait(60)
        found = [
            (name, dialect) for name, dialect in DIALECTS.items() if (dialect.path, dialect.method) == (path, method)
        ]
        if not found:
            return Answer(404, b'{"error": {"code": "not_found"}}')
        ((name, dialect),) = found
        query = str(body.get(dialect.query, ""))
        answer = self._judge(dialect, headers, body) or self._found(dialect, query)
        self.asked.append(Asked(name, query, body, answer.status))
        return answer

    def _judge(self, dialect: Dialect, headers: Any, body: dict[str, Any]) -> Answer | None:
        if dialect.header and headers.get(dialect.header[0]) != dialect.header[1]:
            return Answer(401, b'{"error": {"code": "1000", "message": "Authentication Failed"}}')
        try:
            dialect.shape.model_validate(body)
        except ValidationError as error:
            at = ".".join(map(str, error.errors()[0]["loc"]))
            return Answer(400, json.dumps({"error": {"code": "1210", "param": at}}).encode())
        return None

    def _found(self, dialect: Dialect, query: str) -> Answer:
        found = self.find(query)
        return found if isinstance(found, Answer) else Answer(body=json.dumps(dialect.render(found)).encode())
