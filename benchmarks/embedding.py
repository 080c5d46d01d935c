"""Documents embedded by Headrace, by the bare minimum and by LangChain's `index()`; then nothing changed, then 1 %.

The provider is scripted: 384 dimensions, a fixed time for each request. The bare minimum posts batches with aiohttp and
copies text and vector into one table. LangChain (left out where it is not installed) indexes into its in-memory vector
store with `SQLRecordManager` on the same Postgres and `OpenAIEmbeddings`. A document is one chunk for everybody. Each
turn has a database of its own and is a process of its own; all three parts of a turn are one process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

DIMENSIONS = 384
BATCH = 100
AT_ONCE = 8
WORDS = """river turbine channel gate weir pump storage level energy grid demand flow measure spillway penstock valve
reservoir rainfall season forecast governor frequency voltage transformer inspection sediment gradient friction"""


def documents(count: int, seed: int = 7) -> list[tuple[str, str]]:
    """Id and text of about 1 kB of each document."""
    drawn = random.Random(seed)
    made = []
    for number in range(count):
        words = f"Document {number}: " + " ".join(drawn.choices(WORDS.split(), k=160))
        made.append((f"d{number:07}", words[:1000].rstrip()))
    return made


def changed(texts: Sequence[tuple[str, str]], share: float = 0.01) -> list[tuple[str, str]]:
    """The documents with another text in every hundredth."""
    step = round(1 / share)
    return [(key, f"{text} more") if place % step == 0 else (key, text) for place, (key, text) in enumerate(texts)]


class Parts:
    """Seconds of the parts of a turn, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def note(self, name: str, began: float) -> None:
        """The part has ended."""
        self.seconds[name] = time.perf_counter() - began


async def bare(url: str, provider: str, texts: Sequence[tuple[str, str]]) -> Parts:
    """Posted and copied; it knows of no change, so that there are no other parts."""
    import aiohttp
    import orjson
    import psycopg

    parts = Parts()
    async with await psycopg.AsyncConnection.connect(url.replace("+psycopg", "")) as connection:
        table = f"CREATE TABLE bare (id text PRIMARY KEY, content text, embedding vector({DIMENSIONS}))"
        await connection.execute(table)
        await connection.commit()
        async with aiohttp.ClientSession() as session:
            began = time.perf_counter()
            turn, write = asyncio.Semaphore(AT_ONCE), asyncio.Lock()

            async def one(batch: Sequence[tuple[str, str]]) -> None:
                body = {"model": "text-embedding-3-small", "input": [text for _, text in batch]}
                request = session.post(f"{provider}/embeddings", data=orjson.dumps(body), headers=JSON)
                async with turn, request as reply:
                    rows = orjson.loads(await reply.read())["data"]
                async with write, connection.cursor() as cursor:
                    async with cursor.copy("COPY bare FROM STDIN") as copy:
                        for (key, text), row in zip(batch, rows, strict=True):
                            await copy.write_row((key, text, str(row["embedding"])))
                    await connection.commit()

            async with asyncio.TaskGroup() as group:
                for start in range(0, len(texts), BATCH):
                    group.create_task(one(texts[start : start + BATCH]))
            parts.note("first", began)
    return parts


JSON = {"Content-Type": "application/json"}


async def headrace(url: str, provider: str, texts: Sequence[tuple[str, str]]) -> Parts:
    """Refreshed three times; the index is built and compared in the first, and told apart."""
    import os
    from importlib import import_module

    import_module("numpy")  # which the first vectors would import: what is measured comes after the imports
    os.environ |= {"DATABASE_URL": url, "OPENAI_BASE_URL": provider, "OPENAI_API_KEY": "benchmark"}
    os.environ |= {"HEADRACE_EMBEDDING_BATCH_ITEMS": str(BATCH), "HEADRACE_EMBEDDING_PARALLEL": str(AT_ONCE)}
    from schemas.retrieval import ChunkPiece
    from tasks.embedding.pieces import Chunker
    from tasks.embedding.refresh import refresh_embeddings
    from tasks.embedding.work import REFRESH, RefreshRequest
    from tasks.ledger.runs import RunRequest, open_run
    from tasks.ledger.session import open_ledger

    whole = Chunker("whole-1", lambda content, _: [ChunkPiece(content, 0, len(content), (), len(content) // 4)])
    parts = Parts()

    async def refresh(name: str) -> None:
        began = time.perf_counter()
        request = RunRequest(flow=REFRESH, subject="text-embedding-3-small", project="benchmark", parameters={})
        async with open_run(request) as run:
            report = await refresh_embeddings(run, RefreshRequest(), chunker=whole)
        parts.note(name, began)
        if name == "first":
            async with ledger.engine.connect() as connection:
                found = await connection.exec_driver_sql(
                    "SELECT extract(epoch FROM completed_at - started_at) FROM steps WHERE name = 'switch'"
                )
                parts.seconds["index"] = float(found.scalar_one())
                parts.seconds["first"] -= parts.seconds["index"]
        assert report.active

    async with open_ledger() as ledger:
        await ledger.providers.describe("text-embedding-3-small")
        await _store_materials(ledger, texts)
        await refresh("first")
        await refresh("nothing")
        await _store_materials(ledger, changed(texts))
        await refresh("changed")
    return parts


async def _store_materials(ledger: Any, texts: Sequence[tuple[str, str]]) -> None:
    """The documents are materials; who is measured does not count this."""
    async with ledger.engine.begin() as connection:
        await connection.exec_driver_sql("INSERT INTO courses (id, name) VALUES ('c', 'c') ON CONFLICT DO NOTHING")
        await connection.exec_driver_sql(
            "INSERT INTO course_materials (id, course_id, type, title, content) "
            "SELECT id, 'c', 'note', '', content FROM unnest(%s::text[], %s::text[]) AS new (id, content) "
            "ON CONFLICT (id) DO UPDATE SET content = excluded.content "
            "WHERE course_materials.content <> excluded.content",
            ([key for key, _ in texts], [text for _, text in texts]),
        )


async def langchain(url: str, provider: str, texts: Sequence[tuple[str, str]]) -> Parts:
    """`index()` with cleanup="incremental", three times: vectors in memory, records of what was indexed on Postgres."""
    return await asyncio.to_thread(_langchain, url, provider, texts)


def _langchain(url: str, provider: str, texts: Sequence[tuple[str, str]]) -> Parts:
    from langchain_classic.indexes import SQLRecordManager
    from langchain_core.documents import Document
    from langchain_core.indexing import index
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_openai import OpenAIEmbeddings

    embeddings = OpenAIEmbeddings(
        model="text-embedding-3-small", base_url=provider, api_key="benchmark", check_embedding_ctx_length=False,
        chunk_size=BATCH,
    )  # fmt: skip
    store = InMemoryVectorStore(embeddings)
    records = SQLRecordManager("benchmark", db_url=url)
    records.create_schema()
    parts = Parts()
    for name, these in (("first", texts), ("nothing", texts), ("changed", changed(texts))):
        made = [Document(page_content=text, metadata={"source": key}) for key, text in these]
        began = time.perf_counter()
        index(
            made, records, store, cleanup="incremental", source_id_key="source", batch_size=BATCH, key_encoder="sha256"
        )
        parts.note(name, began)
    return parts


CONTESTANTS = {"bare": bare, "headrace": headrace, "langchain": langchain}


def contestants() -> list[str]:
    """Those that can be had here."""
    needed = ("langchain_openai", "langchain_classic")
    there = [name for name in CONTESTANTS if name != "langchain" or all(map(find_spec, needed))]
    if len(there) < len(CONTESTANTS):
        print(
            "LangChain is not installed and left out: pip install langchain-openai langchain-classic", file=sys.stderr
        )
    return there


def one_turn(contestant: str, url: str, provider: str, count: int) -> None:
    """One turn of one contestant; its result goes to standard output as JSON."""
    parts = asyncio.run(CONTESTANTS[contestant](url, provider, documents(count)))
    print(json.dumps(parts.seconds))


def ask_once(provider: str, texts: Sequence[tuple[str, str]]) -> None:
    """The provider has made every vector once, so that it takes whoever comes first no longer than the others."""
    for start in range(0, len(texts), BATCH):
        body = {"model": "text-embedding-3-small", "input": [text for _, text in texts[start : start + BATCH]]}
        request = urllib.request.Request(f"{provider}/embeddings", json.dumps(body).encode(), JSON)
        with urllib.request.urlopen(request) as answer:
            answer.read()


def run(count: int, latency_ms: float, repeats: int) -> list[dict[str, Any]]:
    """Turns of all contestants, one after the other, `repeats` times."""
    from benchmarks.servers import running_provider
    from blocks.database import create_database, migrate, normal_url
    from blocks.embedded.stack import EmbeddedStack

    results = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        with (
            EmbeddedStack(home, home / "cache", idle_minutes=0) as stack,
            running_provider(home, latency_ms) as provider,
        ):
            ask_once(provider.url, documents(count))
            for repeat in range(repeats):
                for name in contestants():
                    url = stack.database_url(f"{name}_{repeat}")
                    engine = create_database(normal_url(url))
                    migrate(engine)
                    engine.dispose()
                    paid = provider.paid()
                    turn = ["--turn", name, url, provider.url, "--documents", str(count)]
                    command = [sys.executable, "-m", "benchmarks.embedding", *turn]
                    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                    result = {"contestant": name, **json.loads(done.stdout.splitlines()[-1])}
                    result["calls"] = provider.paid() - paid
                    results.append(result)
                    print(_told(result), file=sys.stderr)
    return results


def _told(result: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in result.items() if isinstance(seconds, float))
    return f"{result['contestant']:>10}: {parts}; {result['calls']:,} calls"


def compared(results: Sequence[dict[str, Any]], count: int) -> list[str]:
    """What the issue asks: medians over the turns, and of the ratios of turns that came one after the other."""
    turns: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        turns.setdefault(result["contestant"], []).append(result)
    own, least = turns["headrace"], -(-count // BATCH) + 1 + -(-count // 100 // BATCH)
    calls = max(turn["calls"] for turn in own)
    lines = [
        f"headrace / bare: {_ratio(own, turns['bare'], 'first'):.2f} (at most 1.5), "
        f"index apart: {_median(own, 'index'):.1f} s",
        f"nothing to do: {_median(own, 'nothing'):.2f} s (below 0.3)",
        f"1 % changed: {_median(own, 'changed'):.2f} s",
        f"calls in all: {calls} ({least} are needed: one tells the dimensions, the last are for the 1 %)",
    ]
    if other := turns.get("langchain"):
        told = ", ".join(f"{name} {_ratio(other, own, name):.1f}" for name in ("first", "nothing", "changed"))
        lines.append(f"langchain / headrace: {told}; {max(turn['calls'] for turn in other)} calls")
    return lines


def _median(turns: Sequence[dict[str, Any]], name: str) -> float:
    return median(turn[name] for turn in turns)


def _ratio(turns: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]], name: str) -> float:
    return median(turn[name] / other[name] for turn, other in zip(turns, others, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, or one turn of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--turn", nargs=3, metavar=("CONTESTANT", "URL", "PROVIDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.turn:
        one_turn(*chosen.turn, chosen.documents)
        return
    results = run(chosen.documents, chosen.latency_ms, chosen.repeats)
    for line in compared(results, chosen.documents):
        print(line, file=sys.stderr)
    if chosen.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
