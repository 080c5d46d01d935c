"""`headrace image` and `headrace rerank`, one call of a model each, and what a call can cost before it is made."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from flows.command_options import AtLeastOne, Json

Project = Annotated[str, Parameter(help="Project whose budget pays.")]
User = Annotated[str, Parameter(help="Whose call it is; its answer is replayed for this user only.")]
Estimate = Annotated[bool, Parameter(negative="", help="Say what it can cost at worst, and ask nobody.")]


def image(
    prompt: str,
    *,
    out: Path | None = None,
    model: str = "",
    size: str = "",
    quality: str = "",
    n: AtLeastOne = 1,
    repetition: int = 0,
    project: Project = "",
    user: User = "",
    estimate: Estimate = False,
    json: Json = False,
) -> int:
    """Make an image of what PROMPT says; the same command again writes the same image and costs nothing.

    Parameters
    ----------
    prompt
        What the image shows.
    out
        File to write, over what is there; with several images NAME-1.png, NAME-2.png and so on. Not for an estimate.
    model
        LiteLLM name or named model; HEADRACE_IMAGE_MODEL when not given.
    size
        In pixels, like 1024x1024; the provider's choice when not given.
    quality
        In the provider's words: low, medium, high and the like; the provider's choice when not given.
    n
        How many images, up to 10.
    repetition
        Another number makes another image of the same prompt.
    """
    from flows import media

    asked = media.ImageWish(
        prompt=prompt, model=model or None, size=size or None, quality=quality or None, n=n, repetition=repetition
    )
    if estimate:
        return media.show_estimate(asyncio.run(media.estimate_image(asked)), as_json=json)
    out = media.writable(out)
    made = asyncio.run(media.make_image(asked, project=project or None, user=user or None))
    return media.show_images(made, media.write_images(made, out), as_json=json)


def rerank(
    query: str,
    *sources: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: str = "",
    top: AtLeastOne | None = None,
    project: Project = "",
    user: User = "",
    estimate: Estimate = False,
    json: Json = False,
) -> int:
    """Put documents in the order of their relevance to QUERY.

    Parameters
    ----------
    query
        What the documents are wanted for.
    sources
        Several files or URLs, each a document; or one file, or - for standard input, whose lines are the documents.
    model
        LiteLLM name or named model; HEADRACE_RERANK_MODEL when not given.
    top
        Only so many, the most relevant ones.
    """
    from flows import media

    documents = asyncio.run(media.read_documents(sources))
    if estimate:
        return media.show_estimate(asyncio.run(media.estimate_ranking(query, documents, model or None)), as_json=json)
    ranking = asyncio.run(
        media.rank(query, documents, model=model or None, top_n=top, project=project or None, user=user or None)
    )
    return media.show_ranking(ranking, documents, as_json=json)


def estimate(
    text: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    kind: Annotated[Literal["chat", "embedding", "search"], Parameter(help="What is done with the text.")] = "chat",
    model: str = "",
    max_tokens: AtLeastOne = 1024,
    json: Json = False,
) -> int:
    """Say what one call can cost at worst, and ask nobody; `image` and `rerank` have --estimate for theirs.

    Parameters
    ----------
    text
        The prompt, the text to embed or the query; - for standard input.
    model
        LiteLLM name, named model or search provider; the default of its kind when not given.
    max_tokens
        Of the answer, at most.
    """
    from flows import media

    return media.show_estimate(asyncio.run(media.estimate_text(text, kind, model or None, max_tokens)), as_json=json)
