"""LangGraph: a node for each question, the state checkpointed in Postgres after every node.

The checkpointer is set up as its documentation asks (a pool of autocommitting connections without
server-side preparation, rows as dictionaries). By default LangGraph writes a checkpoint while the next
node runs already; with `durability="sync"` it waits for it, as Headrace always does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from benchmarks.contestants.bare_openai import ask, new_client, transport
from benchmarks.trial import Trial
from benchmarks.workload import QUESTIONS, Analyse, Document, Finding, each_at_once, question

if TYPE_CHECKING:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from langgraph.graph.state import CompiledStateGraph
    from openai import AsyncOpenAI

__all__ = ["open_contestant", "transport"]


class State(TypedDict, total=False):
    """What the nodes share; findings as plain values, which every serialiser takes."""

    document: str
    finding: dict[str, Any]


@asynccontextmanager
async def open_contestant(trial: Trial) -> AsyncIterator[Analyse]:
    """A thread of the graph for each document."""
    durability: Literal["sync", "async"] = "sync" if trial.contestant == "langgraph-sync" else "async"
    async with new_client(trial) as client, _checkpointer(trial) as checkpointer:
        graph = _graph(client, checkpointer)

        async def analyse_one(given: Document) -> Finding:
            thread: Any = {"configurable": {"thread_id": f"{trial.contestant}-{given.label}"}}
            last = await graph.ainvoke({"document": given.text}, thread, durability=durability)
            return Finding.model_validate(last["finding"])

        async def analyse(labels: Sequence[str]) -> list[Finding]:
            return await each_at_once(labels, trial.at_once, analyse_one)

        yield analyse


@asynccontextmanager
async def _checkpointer(trial: Trial) -> AsyncIterator[AsyncPostgresSaver]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        trial.checkpoint_database, kwargs=options, min_size=trial.at_once, max_size=trial.at_once, open=False
    )
    async with pool:
        checkpointer = AsyncPostgresSaver(pool)
        await checkpointer.setup()
        yield checkpointer


def _graph(client: AsyncOpenAI, checkpointer: AsyncPostgresSaver) -> CompiledStateGraph[Any]:
    from langgraph.graph import END, START, StateGraph

    builder = StateGraph(State)
    names = [name for name, _ in QUESTIONS]
    for number, name in enumerate(names):
        builder.add_node(name, _node(client, number))
    for before, after in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(before, after)
    return builder.compile(checkpointer=checkpointer)


def _node(client: AsyncOpenAI, number: int) -> Any:
    async def answer(state: State) -> State:
        before = Finding.model_validate(state["finding"]) if number else None
        finding = await ask(client, question(number, state["document"], before))
        return {"finding": finding.model_dump()}

    return answer
