"""The commands that keep embeddings up to date and choose between their generations."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from uuid import UUID

from cyclopts import App, Parameter

from flows.command_options import AtLeastOne, Bare, Json

Force = Annotated[bool, Parameter(negative="")]


def embed(
    *,
    model: str = "",
    dimensions: AtLeastOne | None = None,
    course: Annotated[list[str] | None, Parameter(negative="")] = None,
    estimate: Annotated[bool, Parameter(negative="")] = False,
    retry_failed: Annotated[bool, Parameter(negative="")] = False,
    project: str = "",
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Embed the course materials that are new or changed; a new model is built beside the one that search reads.

    Search goes on meanwhile. It is switched to a new generation (another model, number of dimensions or way of
    cutting) when that is complete and its index finds what is nearest on a sample; `headrace embeddings restore`
    takes that back.

    Parameters
    ----------
    model
        LiteLLM name or named model; HEADRACE_EMBEDDING_MODEL when not given.
    dimensions
        What the model is asked for; its own number when not given.
    course
        Id of a course whose materials are embedded; several can be given; all courses when not given.
    estimate
        Say how many chunks, tokens and dollars it would be, and ask nobody.
    retry_failed
        Try texts again that were set aside because no vector could be had.
    project
        Whose budget pays; HEADRACE_PROJECT when not given.
    """
    parameters = {
        "model": model,
        "dimensions": dimensions,
        "courses": course or [],
        "retry_failed": retry_failed,
        "project": project,
    }
    if estimate:
        return _estimate(parameters, bare=bare, as_json=json)
    return go_on_with_refresh(parameters, None, bare=bare, as_json=json)


def _estimate(parameters: dict[str, Any], *, bare: bool, as_json: bool) -> int:
    from flows.embedding_report import show_estimate
    from flows.running import settings_for
    from tasks.embedding.chunker import configured_chunker
    from tasks.embedding.estimating import estimate_refresh
    from tasks.embedding.work import RefreshRequest
    from tasks.ledger.session import open_ledger

    async def ask() -> Any:
        async with open_ledger(settings_for(bare)) as ledger:
            request = RefreshRequest.model_validate({**parameters, "courses": tuple(parameters["courses"])})
            return await estimate_refresh(request, configured_chunker(ledger.settings))

    return show_estimate(asyncio.run(ask()), as_json=as_json)


def go_on_with_refresh(parameters: dict[str, Any], run: UUID | None, *, bare: bool, as_json: bool) -> int:
    """The refresh with `parameters`, begun or gone on with, is done and shown."""
    from flows.embedding import refresh
    from flows.embedding_report import show_refresh
    from flows.running import run_flow

    report = asyncio.run(run_flow(refresh, parameters, resume=run, bare=bare))
    return show_refresh(report, as_json=as_json)


embeddings = App(name="embeddings", help="The generations of embeddings: one that search reads, others beside it.")


@embeddings.command(name="list")
def list_generations(*, json: Json = False) -> int:
    """List the generations: model, dimensions, how complete they are, and which one search reads."""
    from flows.embedding_report import show_generations
    from tasks.embedding import generations

    return show_generations(asyncio.run(generations.list_generations()), as_json=json)


@embeddings.command
def switch(generation: int, *, force: Force = False, json: Json = False) -> int:
    """Let search read another generation, in one transaction.

    Parameters
    ----------
    generation
        Its number, as `headrace embeddings list` shows it.
    force
        Even where it is not complete or its index finds too little of what is nearest.
    """
    from flows.embedding_report import show_change
    from tasks.embedding import generations

    changed = asyncio.run(generations.switch_generation(generation, force=force))
    return show_change(f"search reads generation {changed.id}", changed, as_json=json)


@embeddings.command
def restore(generation: int | None = None, *, json: Json = False) -> int:
    """Let search read a generation again that it read before.

    Parameters
    ----------
    generation
        Its number; the one read last when not given.
    """
    from flows.embedding_report import show_change
    from tasks.embedding import generations

    changed = asyncio.run(generations.restore_generation(generation))
    return show_change(f"search reads generation {changed.id} again", changed, as_json=json)


@embeddings.command
def drop(generation: int, *, json: Json = False) -> int:
    """Delete a generation that search does not read: its vectors, its index, and chunks that no other one has.

    Parameters
    ----------
    generation
        Its number.
    """
    from flows.embedding_report import show_change
    from tasks.embedding import generations

    gone = asyncio.run(generations.drop_generation(generation))
    return show_change(f"generation {gone.id} is dropped with {gone.vectors:,} vectors", gone, as_json=json)
