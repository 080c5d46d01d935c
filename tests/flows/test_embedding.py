"""Embeddings brought up to date: exactly what changed, once, through crashes and changes of the model."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from sqlalchemy import Engine, event, text

from flows import embedding
from schemas.embedding import Changes, RefreshReport
from schemas.errors import BadInput, DatabaseUnavailable
from schemas.search import SearchMode, SearchOutcome
from schemas.settings import Settings
from tasks.embedding import filling
from tasks.embedding.templates import text_hash
from tasks.ledger.isolation import as_user
from tasks.ledger.session import Ledger
from tasks.retrieval.searching import search
from tests.conftest import Environment, shared_data
from tests.flows.conftest import Look, Run, Start
from tests.flows.course import HEADINGS, add_materials, lecture, material, real_materials
from tests.scripted_provider import ScriptedProvider

PROJECT = Path(__file__).parents[2]
SMALL = {"HEADRACE_CHUNK_TOKENS": 200, "HEADRACE_EMBEDDING_BATCH_ITEMS": 5, "HEADRACE_EMBEDDING_PARALLEL": 2}


def asked(provider: ScriptedProvider, after: int = 0) -> list[str]:
    """The texts that the provider was asked for, from its request number `after` on."""
    return [each for served in provider.log[after:] for each in served.body["input"]]


def texts_asked(provider: ScriptedProvider, after: int) -> list[str]:
    """The hashes of the texts that it was asked for, each as often as it was."""
    return sorted(map(text_hash, asked(provider, after)))


Shown = list[tuple[UUID | None, float]]


def shown(found: SearchOutcome) -> tuple[int | None, Shown]:
    """The generation that was searched, and what was found with its scores."""
    return found.generation, [(hit.chunk_id, round(hit.score, 6)) for hit in found.hits]


async def refresh(**parameters: Any) -> RefreshReport:
    report: RefreshReport = await embedding.refresh.fn(**parameters)
    return report


def lectures(count: int, **more: Any) -> list[dict[str, Any]]:
    return [material(f"m{number:03}", lecture(f"topic{number}"), **more) for number in range(count)]


def change(database: Engine, statement: str, **values: Any) -> None:
    with database.begin() as connection:
        connection.execute(text(statement), values)


REMARK = "\n\nOne more remark."
SEARCHABLE = """
    SELECT count(*) AS chunks, array_agg(DISTINCT v.generation_id) AS generations,
           array_agg(DISTINCT vector_dims(v.embedding)) AS dimensions
    FROM embedding_generations AS g JOIN chunks AS c ON c.chunker = g.chunker
    JOIN material_embeddings AS v ON v.generation_id = g.id AND v.content_hash = c.content_hash
    WHERE g.status = 'active'
"""


async def test_of_real_documents_exactly_what_changed_is_asked_for(
    ledger: Ledger, database: Engine, provider: ScriptedProvider, look: Look
) -> None:
    add_materials(database, real_materials(shared_data("course")))
    first = await refresh()
    texts = {row["content_hash"] for row in look("SELECT content_hash FROM chunks")}
    assert (first.materials, first.chunks.added) == (Changes(added=149), len(look("SELECT id FROM chunks")))
    assert (first.embedded, first.activated) == (len(texts), True)
    assert max(Counter(asked(provider)).values()) == 1
    assert first.cost_usd == sum(row["cost_usd"] for row in look("SELECT cost_usd FROM llm_requests"))

    edited, deleted, renamed = [row["id"] for row in look("SELECT id FROM course_materials ORDER BY id LIMIT 3")]
    before, count = look("SELECT * FROM chunks"), len(provider.log)
    change(
        database, "UPDATE course_materials SET content = content || E'\\n\\nOne more remark.' WHERE id = :id", id=edited
    )
    change(database, "DELETE FROM course_materials WHERE id = :id", id=deleted)
    change(database, "UPDATE course_materials SET title = 'A new name' WHERE id = :id", id=renamed)
    change(database, "UPDATE course_materials SET week = 9, keywords = '{other}'")
    second = await refresh()
    known = {row["content_hash"] for row in before}
    new = [row for row in look("SELECT * FROM chunks") if row["content_hash"] not in known]
    assert {row["material_id"] for row in new} == {edited, renamed}
    assert texts_asked(provider, count) == sorted(row["content_hash"] for row in new)
    assert second.embedded == len(new)
    assert sum(row["material_id"] == edited for row in new) == 1  # the chunk at whose end the remark stands
    assert sum(row["material_id"] == renamed for row in new) == len(
        [row for row in before if row["material_id"] == renamed]
    )
    assert (second.materials.updated, second.materials.deleted, second.materials.skipped) == (2, 1, 146)
    assert all("A new name" in each or "One more remark." in each for each in asked(provider, count))
    assert look("SELECT 1 FROM chunks WHERE material_id = :id", id=deleted) == []
    live = {row["content_hash"] for row in look("SELECT content_hash FROM chunks")}
    assert {row["content_hash"] for row in look("SELECT content_hash FROM material_embeddings")} == live

    count = len(provider.log)
    third = await refresh(dimensions=64)
    assert texts_asked(provider, count) == sorted(live)
    assert (third.activated, third.generation) == (True, 2)
    assert look("SELECT id, status, dimensions FROM embedding_generations ORDER BY id") == [
        {"id": 1, "status": "retired", "dimensions": 384},
        {"id": 2, "status": "active", "dimensions": 64},
    ]


async def test_with_nothing_to_do_nobody_is_asked(ledger: Ledger, database: Engine, provider: ScriptedProvider) -> None:
    assert (await refresh()).generation is None
    add_materials(database, lectures(2))
    await refresh()
    count = len(provider.log)
    change(database, "UPDATE course_materials SET week = 4, type = 'note', keywords = '{a,b}'")
    report = await refresh()
    assert (len(provider.log), report.calls, report.embedded) == (count, 0, 0)
    assert (report.materials, report.active) == (Changes(skipped=2), True)


async def test_equal_texts_are_embedded_once(
    ledger: Ledger, database: Engine, provider: ScriptedProvider, look: Look
) -> None:
    add_materials(database, [material(each, lecture("same"), title="T") for each in ("a", "b", "c")])
    report = await refresh()
    assert (report.chunks.added, report.embedded, len(asked(provider)) - 1) == (3 * HEADINGS, HEADINGS, HEADINGS - 1)
    change(database, "DELETE FROM course_materials WHERE id <> 'b'")
    again = await refresh()
    assert (again.chunks.deleted, again.vectors_deleted, again.calls) == (2 * HEADINGS, 0, 0)
    assert look(SEARCHABLE)[0]["chunks"] == HEADINGS


async def test_chunks_whose_text_stays_keep_their_ids_wherever_they_move(
    ledger: Ledger, database: Engine, look: Look
) -> None:
    add_materials(database, [material("a", lecture("old"))])
    await refresh()
    before = {row["content"]: row["id"] for row in look("SELECT * FROM chunks")}
    change(
        database, "UPDATE course_materials SET content = :content", content=f"{lecture('new', 1)}\n\n{lecture('old')}"
    )
    report = await refresh()
    after = look(
        "SELECT c.*, m.content AS material FROM chunks AS c JOIN course_materials AS m ON true ORDER BY ordinal"
    )
    assert report.chunks == Changes(added=1, skipped=HEADINGS)
    assert [before.get(row["content"]) for row in after][1:] == [row["id"] for row in after][1:]
    assert [row["ordinal"] for row in after] == list(range(HEADINGS + 1))
    assert all(row["material"][row["start_char"] : row["end_char"]] == row["content"] for row in after)


async def test_the_index_of_words_is_told_of_chunks_with_another_text_in_their_transaction(
    ledger: Ledger, database: Engine, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[set[Any]] = []

    def note(connection: Any, ids: Any) -> None:
        there = connection.execute(text("SELECT id FROM chunks WHERE id = ANY(:ids)"), {"ids": list(ids)}).scalars()
        told.append(set(there))

    monkeypatch.setattr(embedding, "index_terms", note)
    add_materials(database, lectures(2))
    await refresh()
    assert told == [{row["id"] for row in look("SELECT id FROM chunks")}]
    change(database, "UPDATE course_materials SET title = 'new' WHERE id = 'm001'")
    await refresh()
    assert told[1:] == [{row["id"] for row in look("SELECT id FROM chunks WHERE material_id = 'm001'")}]


async def test_a_text_that_cannot_be_embedded_is_set_aside_with_its_reason(
    environment: Environment, database_url: str, database: Engine, look: Look
) -> None:
    with ScriptedProvider(context_window=150) as provider:
        environment(DATABASE_URL=database_url, OPENAI_API_KEY="k", OPENAI_BASE_URL=provider.url)
        long = "word " * 180
        add_materials(database, [*lectures(4), material("long", long)])
        report = await refresh()
        assert (report.embedded, report.failed_count) == (4 * HEADINGS, 1)
        assert report.failed[0].error_class == "context_length_exceeded"
        (failure,) = look("SELECT * FROM embedding_failures")
        assert "context window" in failure["reason"]
        assert report.activated  # there is no other
        assert "1 text of generation 1 could not be embedded" in report.remarks[0]
        count = len(provider.log)
        assert (await refresh()).calls == len(provider.log) - count == 0
        again = await refresh(retry_failed=True)
        assert (again.failed_count, len(provider.log) - count) == (1, again.calls)
        other = await refresh(dimensions=16)
        assert (other.activated, "search stays as it is" in other.remarks[0]) == (False, True)


async def test_what_ends_the_cutting_of_materials_is_raised_as_it_is(
    settings: Settings, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_materials(database, lectures(12))
    monkeypatch.setattr("tasks.embedding.refresh.PAGE", 4)

    def gone(*_: Any) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr("tasks.embedding.refresh.store_cuts", gone)
    with pytest.raises(DatabaseUnavailable, match="gone"):
        await refresh()


@pytest.mark.parametrize("items_then", [5, 2, 50])
async def test_what_was_paid_for_and_not_stored_is_not_asked_for_again(
    environment: Environment,
    settings: Settings,
    database: Engine,
    provider: ScriptedProvider,
    monkeypatch: pytest.MonkeyPatch,
    look: Look,
    items_then: int,
) -> None:
    environment(**SMALL)
    add_materials(database, lectures(12))
    store, calls = filling.store_vectors, iter(range(100))

    def break_off(*arguments: Any, **more: Any) -> None:
        if next(calls) >= 3:
            raise DatabaseUnavailable("gone")
        store(*arguments, **more)

    monkeypatch.setattr(filling, "store_vectors", break_off)
    with pytest.raises(DatabaseUnavailable):
        await refresh()
    stored = len(look("SELECT 1 FROM material_embeddings"))
    assert 0 < stored < len(asked(provider))
    monkeypatch.setattr(filling, "store_vectors", store)
    add_materials(database, [material("new", lecture("new"))])  # so that batches would be cut otherwise
    environment(HEADRACE_EMBEDDING_BATCH_ITEMS=items_then)
    report = await refresh()
    assert max(Counter(asked(provider)).values()) == 1
    assert report.activated
    payers = look(
        "SELECT DISTINCT r.status FROM material_embeddings AS v JOIN llm_requests AS r ON r.id = v.request_id"
    )
    assert payers == [{"status": "succeeded"}]


MOMENTS = random.Random(20261122).sample(range(2, 12), 3)
"""Answers after which a refresh is killed; it takes 36."""


def test_a_refresh_that_is_killed_three_times_pays_twice_for_nothing_but_what_was_in_flight(
    environment: Environment,
    settings: Settings,
    start: Start,
    database: Engine,
    provider: ScriptedProvider,
    headrace: Run,
    look: Look,
) -> None:
    environment(**SMALL)
    add_materials(database, lectures(60))
    answered: set[str] = set()
    in_flight: set[str] = set()
    for moment in MOMENTS:
        count = len(provider.log)
        provider.hold()
        command = start("embed")
        for _ in range(moment):
            provider.wait_held(1)
            provider.release_one()
        provider.wait_held(2)  # both workers: whatever was answered before is stored
        assert len(provider.log) == count + moment
        answered |= set(asked(provider, count))
        command.kill()
        provider.release()  # what was in flight is paid for, and nobody gets it
        ends = time.monotonic() + 30
        while len(provider.log) < count + moment + 2:
            assert time.monotonic() < ends
        in_flight |= set(asked(provider, count + moment))
    stored = len(look("SELECT 1 FROM material_embeddings"))
    assert 0 < stored < 60 * HEADINGS
    assert 0 < len(in_flight) <= len(MOMENTS) * 2 * 5
    done = headrace("embed", "--json")
    assert (done.code, done.json["embedded"], done.json["activated"]) == (0, 60 * HEADINGS - stored, True)
    times = Counter(asked(provider))
    assert {each for each in times if times[each] > 1} <= in_flight
    assert {each for each in times if times[each] == 1} >= answered - in_flight
    assert len(times) == 60 * HEADINGS


async def test_search_finds_everything_in_one_generation_all_through_a_swap(
    ledger: Ledger, database: Engine, look: Look
) -> None:
    add_materials(database, lectures(40))
    await refresh()
    over, seen = threading.Event(), []

    def watch() -> None:
        with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not over.is_set():
                seen.append(connection.execute(text(SEARCHABLE)).one())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        report = await refresh(dimensions=32)
    finally:
        over.set()
        watcher.join()
    found = {(row.chunks, tuple(row.generations), tuple(row.dimensions)) for row in seen}
    assert report.activated
    assert found <= {(40 * HEADINGS, (1,), (384,)), (40 * HEADINGS, (2,), (32,))}
    assert (40 * HEADINGS, (1,), (384,)) in found
    assert look(SEARCHABLE) == [{"chunks": 40 * HEADINGS, "generations": [2], "dimensions": [32]}]


async def test_a_search_every_50_ms_gives_all_through_a_swap_what_its_one_generation_gives(
    ledger: Ledger, database: Engine, start: Start, provider: ScriptedProvider
) -> None:
    add_materials(database, real_materials(shared_data("course")))
    await refresh()
    queries = ("When is a function differentiable?", "binary search tree rotation", "office hours and grading policy")
    modes: tuple[SearchMode, ...] = ("vectors", "hybrid", "words")
    every = [(query, mode) for query in queries for mode in modes]

    async def ask(query: str, mode: SearchMode) -> tuple[int | None, Shown]:
        return shown(await search(query, mode=mode))

    before = {each: await ask(*each) for each in every}
    provider.hold()
    swap = asyncio.create_task(asyncio.to_thread(start("embed", "--dimensions", 32).wait))
    await asyncio.to_thread(provider.wait_held, 1)  # the new generation is begun
    asked = [(each, asyncio.create_task(ask(*each))) for each in every if each[1] == "words"]
    provider.release()
    for each in cycle(every):
        asked.append((each, asyncio.create_task(ask(*each))))
        await asyncio.sleep(0.05)
        if swap.done():
            break
    assert (await swap).code == 0
    seen = [(each, await search) for each, search in asked]
    after = {each: await ask(*each) for each in every}
    assert [{generation for generation, _ in found.values()} for found in (before, after)] == [{1}, {2}]
    assert all(hits for found in (before, after) for _, hits in found.values())
    assert all(before[each][1] != after[each][1] for each in every if each[1] != "words")  # a mixture would be seen
    assert [each for each, result in seen if result not in (before[each], after[each])] == []
    assert {generation for _, (generation, _) in seen} >= {1}
    assert len(seen) > len(every)


async def test_wide_vectors_are_indexed_in_half_precision(ledger: Ledger, database: Engine, look: Look) -> None:
    add_materials(database, lectures(8))
    report = await refresh(dimensions=2100)
    (index,) = look("SELECT indexdef FROM pg_indexes WHERE indexname = 'headrace_hnsw_1'")
    assert "halfvec(2100)" in index["indexdef"]
    assert "halfvec_cosine_ops" in index["indexdef"]
    assert report.agreement is not None
    assert report.agreement.recall == pytest.approx(1.0, abs=0.05)


async def test_the_comparison_asks_the_index_itself(ledger: Ledger, database: Engine, look: Look) -> None:
    add_materials(database, lectures(30))
    await refresh()
    scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'headrace_hnsw_1'"
    change(database, "SELECT pg_stat_force_next_flush()")
    assert look(scans)[0]["idx_scan"] >= 50


def test_a_second_refresh_is_refused_while_one_is_under_way(
    settings: Settings, start: Start, database: Engine, provider: ScriptedProvider, headrace: Run
) -> None:
    add_materials(database, lectures(3))
    provider.hold()
    command = start("embed", "--json")
    provider.wait_held(1)
    for arguments in (["embed"], ["embeddings", "restore"]):
        refused = headrace(*arguments)
        assert (refused.code, "another refresh or change of embeddings is under way" in refused.reason) == (2, True)
    provider.release()
    assert command.wait().code == 0


def test_generations_are_listed_switched_restored_and_dropped(
    settings: Settings, database: Engine, headrace: Run, look: Look
) -> None:
    assert "no generation yet" in headrace("embeddings", "list").out
    assert (headrace("embeddings", "restore").code, headrace("embeddings", "switch", 7).code) == (2, 2)
    add_materials(database, lectures(3))
    assert "3,528" not in headrace("embed", "--estimate").out
    assert headrace("embed").code == headrace("embed", "--dimensions", 16).code == 0
    listed = headrace("embeddings", "list", "--json").json["generations"]
    assert [(each["id"], each["status"], each["vectors"], each["missing"]) for each in listed] == [
        (1, "retired", 9, 0),
        (2, "active", 9, 0),
    ]
    assert "active" in headrace("embeddings", "list").out
    assert headrace("embeddings", "restore").out == "search reads generation 1 again\n"
    assert headrace("embeddings", "switch", 2, "--json").json["generation"]["status"] == "active"
    refused = headrace("embeddings", "drop", 2)
    assert (refused.code, "search reads generation 2" in refused.reason) == (2, True)
    assert "not one that search read before" in headrace("embeddings", "restore", 2).reason
    assert headrace("embeddings", "drop", 1).out == "generation 1 is dropped with 9 vectors\n"
    assert look("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'headrace_hnsw%'") == [
        {"indexname": "headrace_hnsw_2"}
    ]
    assert look("SELECT count(*) FROM chunks") == [{"count": 9}]


def test_chunks_go_with_the_last_generation_that_has_them(
    environment: Environment, settings: Settings, database: Engine, headrace: Run, look: Look
) -> None:
    add_materials(database, lectures(2))
    assert headrace("embed").code == 0
    environment(HEADRACE_EMBEDDING_TEMPLATE="text-1")
    assert headrace("embed").code == 0
    chunkers = "SELECT DISTINCT chunker FROM chunks ORDER BY 1"
    assert [row["chunker"].rpartition("/")[2] for row in look(chunkers)] == ["heading-1", "text-1"]
    change(database, "UPDATE course_materials SET title = 'without effect'")
    assert headrace("embed", "--json").json["calls"] == 0
    assert headrace("embeddings", "drop", 1).code == 0
    assert [row["chunker"].rpartition("/")[2] for row in look(chunkers)] == ["text-1"]
    assert {row["chunker"].rpartition("/")[2] for row in look("SELECT chunker FROM embedded_materials")} == {"text-1"}


def test_a_generation_that_lacks_materials_is_switched_to_by_force_only(
    settings: Settings, database: Engine, headrace: Run
) -> None:
    add_materials(database, [*lectures(2), material("other", lecture("other"), course="C2")])
    part = headrace("embed", "--course", "C2", "--json").json
    assert (part["embedded"], part["materials"]["added"]) == (HEADINGS, 1)
    assert (part["activated"], "as there is no other" in part["remarks"][0]) == (True, True)
    assert headrace("embed", "--course", "C9").reason.startswith("headrace: there is no course C9")
    whole = headrace("embed", "--json").json
    assert (whole["embedded"], whole["materials"]["added"], whole["remarks"]) == (2 * HEADINGS, 2, [])
    other = headrace("embed", "--course", "C1", "--dimensions", 8, "--json").json
    assert (other["activated"], "refresh without --course" in other["remarks"][0]) == (False, True)
    refused = headrace("embeddings", "switch", 2)
    assert (refused.code, f"{HEADINGS} texts have no vector yet" in refused.reason) == (2, True)
    forced = headrace("embeddings", "switch", 2, "--force")
    assert f"{HEADINGS} texts have no vector in it" in forced.out


def test_an_estimate_says_what_would_be_embedded_and_spends_nothing(
    settings: Settings, database: Engine, provider: ScriptedProvider, headrace: Run, look: Look
) -> None:
    add_materials(database, lectures(4))
    said = headrace("embed", "--estimate", "--json").json
    assert (said["chunks"], said["materials"], len(provider.log)) == (4 * HEADINGS, 4, 0)
    assert look("SELECT 1 FROM chunks") == look("SELECT 1 FROM runs") == []
    assert headrace("embed").code == 0
    tokens = look("SELECT sum(tokens) AS tokens FROM chunks")[0]["tokens"]
    assert said["tokens"] == tokens
    assert float(said["cost_usd"]) == pytest.approx(tokens * 0.02e-6)  # what a million tokens cost: $0.02
    change(database, "UPDATE course_materials SET title = 'other' WHERE id = 'm001'")
    again = headrace("embed", "--estimate")
    assert f"{HEADINGS} chunks of" in again.out
    assert "1 material new or changed" in again.out


def test_a_refresh_that_meets_its_budget_keeps_what_it_has_and_is_resumed(
    environment: Environment,
    settings: Settings,
    database: Engine,
    provider: ScriptedProvider,
    headrace: Run,
    look: Look,
) -> None:
    environment(**{**SMALL, "HEADRACE_EMBEDDING_PARALLEL": 1})
    add_materials(database, lectures(20))
    assert headrace("budget", "set", "--day", "0.00005").code == 0
    stopped = headrace("embed", "--json")
    assert (stopped.code, stopped.json["error"]["code"]) == (3, "budget_exceeded")
    stored = len(look("SELECT 1 FROM material_embeddings"))
    assert 0 < stored < 60
    assert headrace("budget", "set", "--day", "none").code == 0
    done = headrace("resume", stopped.json["run_id"], "--json")
    assert (done.json["embedded"], done.json["activated"]) == (60 - stored, True)
    assert max(Counter(asked(provider)).values()) == 1


async def test_statements_do_not_grow_with_the_materials(ledger: Ledger, database: Engine) -> None:
    counts = []
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for number in (4, 30):
            change(database, "DELETE FROM course_materials")
            await refresh()
            add_materials(database, lectures(number))
            statements.clear()
            await refresh()
            counts.append(len([each for each in statements if "chunks" in each or "embed" in each]))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert counts[1] <= counts[0] + 2


async def test_a_student_reads_chunks_and_vectors_of_own_courses_only(ledger: Ledger, database: Engine) -> None:
    add_materials(database, [material("a", lecture("a")), material("b", lecture("b"), course="C2")])
    change(database, "INSERT INTO users (id, name) VALUES ('ada', 'Ada'), ('bob', 'Bob')")
    change(database, "INSERT INTO enrollments (id, user_id, course_id, role) VALUES ('e', 'ada', 'C1', 'student')")
    await refresh()
    async with ledger.engine.connect() as connection:
        seen: dict[str, tuple[int, ...]] = {}
        for user in ("ada", "bob"):
            async with as_user(connection, user) as own:
                counts = [
                    (await own.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
                    for table in ("chunks", "material_embeddings", "embedding_generations")
                ]
                seen[user] = tuple(counts)
    assert seen == {"ada": (HEADINGS, HEADINGS, 1), "bob": (0, 0, 1)}


async def test_a_model_that_changes_its_vectors_behind_its_name_is_noticed(
    ledger: Ledger, database: Engine, look: Look
) -> None:
    add_materials(database, lectures(1))
    await refresh()
    change(database, "UPDATE embedding_generations SET dimensions = 12")
    add_materials(database, [material("new", lecture("new"))])
    with pytest.raises(Exception, match="the model behind the name has changed"):
        await refresh()


async def test_a_refused_parameter_ends_it_without_setting_texts_aside(
    environment: Environment, database_url: str, database: Engine, look: Look
) -> None:
    with ScriptedProvider(context_window=1) as provider:
        environment(DATABASE_URL=database_url, OPENAI_API_KEY="k", OPENAI_BASE_URL=provider.url)
        add_materials(database, lectures(5))
        for parameters in ({}, {"dimensions": 16}):
            with pytest.raises(BadInput):
                await refresh(**parameters)
    assert look("SELECT 1 FROM embedding_failures") == []


def deployment() -> dict[str, Any]:
    listed = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    (found,) = [each for each in listed if each["name"] == "refresh-embeddings"]
    return dict(found)


def test_the_deployment_follows_a_finished_migration_and_no_other_flow() -> None:
    from prefect.cli.deploy._triggers import _initialize_deployment_triggers
    from prefect.server.events.schemas.automations import EventTrigger
    from prefect.server.events.schemas.events import ReceivedEvent
    from prefect.types._datetime import now

    (trigger,) = _initialize_deployment_triggers("refresh-embeddings", deployment()["triggers"])
    trigger.set_deployment_id(UUID(int=3))
    automation = trigger.as_automation().model_dump(mode="json")["trigger"]
    expects = EventTrigger.model_validate(automation)

    def ended(flow: str, state: str) -> ReceivedEvent:
        of_flow = {"prefect.resource.id": "prefect.flow.1", "prefect.resource.role": "flow"}
        event = {
            "occurred": now("UTC"),
            "event": f"prefect.flow-run.{state}",
            "resource": {"prefect.resource.id": "prefect.flow-run.1", "prefect.resource.name": "x"},
            "related": [{**of_flow, "prefect.resource.name": flow}],
            "id": UUID(int=2),
        }
        return ReceivedEvent.model_validate(event)

    assert expects.covers(ended("migrate-data", "Completed"))
    assert expects.expects(ended("migrate-data", "Completed").event)
    assert not expects.covers(ended("analyze-bill", "Completed"))
    assert not expects.expects(ended("migrate-data", "Failed").event)
