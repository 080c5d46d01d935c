"""What `headrace image`, `headrace rerank` and `headrace estimate` do and show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from blocks.documents.fetching import fetch_document
from flows.presentation import console, money, table, write_json
from schemas.calls import ChatParameters, CostEstimate, CostSource, EmbeddingCall, SearchCall
from schemas.errors import BadInput
from tasks.ledger import estimate_cost, generate_image, rerank
from tasks.ledger.images import Images, image_call, image_model
from tasks.ledger.reranking import Ranking, rerank_call, rerank_model
from tasks.ledger.searches import search_model
from tasks.ledger.session import open_ledger

SHOWN_CHARACTERS = 100
"""Of a document in a ranking for people."""


class ImageWish(BaseModel):
    """The image that is asked for; None for what is left to settings and provider."""

    model_config = ConfigDict(frozen=True)

    prompt: str
    model: str | None
    size: str | None
    quality: str | None
    n: int
    repetition: int


class Document(BaseModel):
    """One document to be ranked; `source` says where it is from."""

    model_config = ConfigDict(frozen=True)

    source: str
    text: str


async def make_image(wish: ImageWish, *, project: str | None, user: str | None) -> Images:
    """The images wished for; errors as in `generate_image`."""
    return await generate_image(**wish.model_dump(), project=project, user=user)


async def estimate_image(wish: ImageWish) -> CostEstimate:
    """What `make_image` can cost at worst."""
    async with open_ledger() as ledger:
        model = wish.model or image_model(ledger.settings)
        ledger.providers.require("image", model)
        return await estimate_cost(image_call(wish.prompt, model, wish.size, wish.quality, wish.n))


async def rank(
    query: str,
    documents: Sequence[Document],
    *,
    model: str | None,
    top_n: int | None,
    project: str | None,
    user: str | None,
) -> Ranking:
    """The ranking of `documents`; errors as in `rerank`."""
    texts = [document.text for document in documents]
    return await rerank(query, texts, model=model, top_n=top_n, project=project, user=user)


async def estimate_ranking(query: str, documents: Sequence[Document], model: str | None) -> CostEstimate:
    """What `rank` can cost at worst."""
    async with open_ledger() as ledger:
        name = model or rerank_model(ledger.settings)
        ledger.providers.require("rerank", name)
        return await estimate_cost(rerank_call(query, [document.text for document in documents], name))


async def estimate_text(
    text: str, kind: Literal["chat", "embedding", "search"], model: str | None, max_tokens: int
) -> CostEstimate:
    """What an answer to `text`, its vector or a search for it can cost at worst.

    Raises:
        BadInput: there is no text.
        ConfigurationError: there is no such model, or no search provider is set.
    """
    said = _read_text("-") if text == "-" else text
    if not said.strip():
        raise BadInput("there is no text to estimate the cost of")
    async with open_ledger() as ledger:
        match kind:
            case "chat":
                return await estimate_cost(said, model=model, parameters=ChatParameters(max_tokens=max_tokens))
            case "embedding":
                name = model or ledger.settings.model_for("embedding")
                return await estimate_cost(EmbeddingCall(model=name, texts=(said,)))
        return await estimate_cost(SearchCall(model=search_model(model, ledger.settings), query=said))


async def read_documents(sources: Sequence[str]) -> list[Document]:
    """Each of several sources is a document; the lines of a single one are, without those that are empty.

    Raises:
        BadInput: there is no source, one cannot be read, or there is no document in it.
    """
    if not sources:
        raise BadInput("rerank needs documents: files or URLs, or - for standard input with one document a line")
    for source in sources:
        if source.startswith("-") and source != "-":
            raise BadInput(f"there is no option {source}; `headrace rerank --help` lists those there are")
    if len(sources) > 1 and "-" in sources:
        raise BadInput("standard input is read by itself: its lines are the documents")
    if len(sources) > 1:
        return [Document(source=source, text=(await fetch_document(source)).text) for source in sources]
    lines = enumerate(_read_text(sources[0]).splitlines(), start=1)
    name = "line" if sources[0] == "-" else sources[0]
    found = [Document(source=f"{name}:{number}", text=line.strip()) for number, line in lines if line.strip()]
    if not found:
        raise BadInput(f"there is no document in {sources[0]}: every line that is not empty is one")
    return found


def _read_text(source: str) -> str:
    """What a file, or standard input for `-`, holds.

    Raises:
        BadInput: it cannot be read, or is no UTF-8.
    """
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{source} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{source} is no UTF-8 text (byte {error.start})") from None


def writable(out: Path | None) -> Path:
    """`out`, where an image can be written as far as that can be known before it is paid for.

    Raises:
        BadInput: none is given, its folder is not there, or it is a folder itself.
    """
    if out is None:
        raise BadInput("name the file to write: --out FILE.png")
    if out.is_dir():
        raise BadInput(f"{out} is a folder; name the file to write")
    if not out.parent.is_dir():
        raise BadInput(f"the folder {out.parent} does not exist; make it first")
    return out


def write_images(made: Images, out: Path) -> list[Path]:
    """The images are files; returns their paths, in order.

    Raises:
        BadInput: one cannot be written.
    """
    count = len(made.images)
    paths = [out] if count == 1 else [out.with_stem(f"{out.stem}-{number}") for number in range(1, count + 1)]
    for image, path in zip(made.images, paths, strict=True):
        try:
            path.write_bytes(image.data)
        except OSError as error:
            raise BadInput(
                f"{path} cannot be written ({error.strerror}); the image is on record (request {made.request_id}), so "
                f"that the same command with another --out costs nothing",
                request_id=str(made.request_id),
            ) from None
    return paths


class _File(BaseModel):
    path: str
    media_type: str
    bytes: int
    revised_prompt: str | None


class _Made(BaseModel):
    run_id: None = None
    status: str = "completed"
    images: list[_File]
    request_id: str
    model: str
    fallback_for: str | None
    cost_usd: Decimal | None
    cost_source: CostSource
    replayed: bool
    latency_ms: int


class _Ranked(BaseModel):
    index: int
    relevance_score: float
    source: str
    text: str


class _Ranking(BaseModel):
    run_id: None = None
    status: str = "completed"
    results: list[_Ranked]
    request_id: str
    model: str
    fallback_for: str | None
    cost_usd: Decimal | None
    cost_source: CostSource
    replayed: bool
    latency_ms: int


class _Estimate(CostEstimate):
    run_id: None = None
    status: str = "completed"


def show_images(made: Images, paths: Sequence[Path], *, as_json: bool) -> int:
    """Where the images are, what they cost and under which request they are on record."""
    files = [
        _File(path=str(path), bytes=len(image.data), **image.model_dump(exclude={"base64"}))
        for image, path in zip(made.images, paths, strict=True)
    ]
    if as_json:
        shared = made.model_dump(include=set(_Made.model_fields) - {"images", "request_id"})
        write_json(_Made(images=files, request_id=str(made.request_id), **shared))
        return 0
    out = console()
    for file in files:
        out.print(f"{file.path}: {file.media_type}, {file.bytes:,} bytes", soft_wrap=True, markup=False)
        if file.revised_prompt:
            out.print(f"  made of: {file.revised_prompt}", soft_wrap=True, markup=False)
    out.print(_bill(made), soft_wrap=True, markup=False)
    return 0


def show_ranking(ranking: Ranking, documents: Sequence[Document], *, as_json: bool) -> int:
    """The documents, most relevant first, and what it cost to know."""
    rows = [_Ranked(**row.model_dump(), **documents[row.index].model_dump()) for row in ranking.results]
    if as_json:
        shared = ranking.model_dump(include=set(_Ranking.model_fields) - {"results", "request_id"})
        write_json(_Ranking(results=rows, request_id=str(ranking.request_id), **shared))
        return 0
    out = console()
    cells = [(f"{row.relevance_score:.4f}", row.source, _beginning(row.text)) for row in rows]
    out.print(table("", ["relevance", "document", "text"], cells))
    out.print(_bill(ranking), soft_wrap=True, markup=False)
    return 0


def show_estimate(estimate: CostEstimate, *, as_json: bool) -> int:
    """The most that a call can cost."""
    if as_json:
        write_json(_Estimate(**estimate.model_dump()))
        return 0
    most = "an unknown amount" if estimate.usd is None else f"at most {money(estimate.usd)}"
    tokens = f", up to {estimate.input_tokens:,} tokens in and {estimate.max_output_tokens:,} out"
    console().print(f"{estimate.model}: {most}{tokens}", soft_wrap=True, markup=False)
    return 0


def _bill(answer: Images | Ranking) -> str:
    instead = f" instead of {answer.fallback_for}" if answer.fallback_for else ""
    again = ", replayed" if answer.replayed else ""
    return f"{answer.model}{instead}, {money(answer.cost_usd)}{again}, request {answer.request_id}"


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"
