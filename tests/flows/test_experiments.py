"""`headrace experiments …`: listed, shown, tagged, archived, renamed, deleted, compared, exported."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Engine

from flows.running import run_flow
from flows.sweep import sweep_parameters
from schemas.errors import NotFound
from schemas.settings import Settings
from tasks.sweep.experiments import ExperimentDeleted
from tasks.sweep.housekeeping_deletion import _delete, delete_experiment, plan_deletion
from tests.flows.conftest import Look, Run, Start
from tests.flows.test_sweep import Writer
from tests.flows.test_sweep import _until as until
from tests.scripted_provider import ScriptedProvider
from tests.tasks.sweep.experiments import Planted, store_experiment

SMALL: dict[str, Any] = {"temperatures": (0.1, 0.5), "top_ps": (1.0,), "repeats": 1}


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def provider(writer: Writer) -> Iterator[ScriptedProvider]:
    with ScriptedProvider(writer) as server:
        yield server


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str = "locks", **said: Any) -> Path:
        path = tmp_path / f"{name}.json"
        small = {"prompt": "How does a lock work?", "model": "gpt-4o-mini", "parameter_ranges": {"temperature": [0, 1]}}
        path.write_text(json.dumps({**small, **said}))
        return path

    return write


def names(done: Any) -> list[str]:
    """Of a listing, the ids."""
    assert done.code == 0, done.err
    return [each["id"] for each in done.json["experiments"]]


def test_experiments_are_listed_with_what_they_came_to(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(failed=2))
    done = headrace("experiments", "list", "--json")
    assert (done.json["run_id"], done.json["status"], done.json["next_after"]) == (None, "completed", None)
    (found,) = done.json["experiments"]
    assert (found["name"], found["responses"], found["failed"], found["models"]) == (
        "Experiment planted", 90, 2, ["house-model"],
    )  # fmt: skip
    assert found["cost_usd"] == "0.18"
    assert 0 < found["mean_score"] < found["best_score"] <= 1
    told = headrace("experiments", "list").out
    assert "Experiment planted" in told
    assert "$0.18" in told


def test_filters_restrict_what_is_listed(headrace: Run, database: Engine, look: Look) -> None:
    store_experiment(database, Planted(id="older", models=("old-model",), **SMALL))
    store_experiment(database, Planted(id="newer", models=("new-model", "old-model"), **SMALL))
    look("UPDATE experiments SET created_at = '2026-04-02T23:30:00Z', status = 'failed' WHERE id = 'newer'")
    headrace("experiments", "tag", "newer", "tutor", "spring")
    for arguments, expected in {
        (): ["newer", "older"],
        ("--tag", "tutor"): ["newer"],
        ("--tag", "tutor", "--tag", "autumn"): [],
        ("--status", "completed"): ["older"],
        ("--since", "2026-04-02"): ["newer"],
        ("--until", "2026-04-02"): ["newer", "older"],
        ("--until", "2026-04-01"): ["older"],
        ("--model", "new-model"): ["newer"],
        ("--model", "old-model"): ["newer", "older"],
        ("--name", "EXPERIMENT NEW"): ["newer"],
        ("--name", "%"): [],
        ("--favourite",): [],
    }.items():
        assert names(headrace("experiments", "list", *arguments, "--json")) == expected, arguments
    assert headrace("experiments", "list", "--name", "%").out == "There are no such experiments.\n"
    refused = headrace("experiments", "list", "--since", "2026-04-02", "--until", "2026-04-01")
    assert (refused.code, refused.reason) == (2, "headrace: --since 2026-04-02 is after --until 2026-04-01")


@pytest.mark.parametrize(
    ("order", "expected"),
    [("created", "edcba"), ("name", "abcde"), ("score", "abcde"), ("responses", "edcba"), ("cost", "edcba")],
)
def test_pages_follow_one_another_in_every_order(
    headrace: Run, database: Engine, look: Look, order: str, expected: str
) -> None:
    for place, letter in enumerate("abcde"):
        planted = Planted(id=letter, **{**SMALL, "repeats": place + 1}, shift=-0.05 * place, noise=0.001)
        store_experiment(database, planted)
    look("UPDATE experiments SET created_at = created_at + interval '1 second' * ascii(id)")
    seen, after = "", ""
    for _ in range(3):
        page = headrace("experiments", "list", "--order", order, "--limit", 2, "--after", after, "--json")
        seen += "".join(names(page))
        after = page.json["next_after"]
    assert seen == expected
    assert page.json["next_after"] is None
    assert "There are more: --after" in headrace("experiments", "list", "--limit", 2).out


def test_a_listing_can_be_csv_that_no_spreadsheet_runs(headrace: Run, database: Engine, tmp_path: Path) -> None:
    store_experiment(database, Planted(**SMALL))
    headrace("experiments", "rename", "planted", "=HYPERLINK(1)")
    done = headrace("experiments", "list", "--csv", "-")
    (row,) = csv.DictReader(done.out.splitlines())
    assert (row["name"], row["responses"], row["is_favourite"]) == ("'=HYPERLINK(1)", "4", "false")
    headrace("experiments", "list", "--csv", tmp_path / "list.csv")
    assert (tmp_path / "list.csv").read_text().splitlines()[1].startswith("planted,'=HYPERLINK(1),")
    assert headrace("experiments", "list", "--csv", "-", "--json").code == 2
    assert "cannot be written" in headrace("experiments", "list", "--csv", tmp_path / "no" / "list.csv").reason


def test_tags_marks_and_names_are_kept(headrace: Run, database: Engine, look: Look) -> None:
    store_experiment(database, Planted(**SMALL))
    headrace("sweep-analysis", "planted")
    tagged = headrace("experiments", "tag", "Experiment planted", "tutor", " spring ", "tutor", "--json")
    assert tagged.json["experiment"]["tags"] == ["spring", "tutor"]
    assert headrace("experiments", "tag", "planted", "autumn").out == (
        "Experiment planted has the tags autumn, spring, tutor\n"
    )
    assert headrace("experiments", "untag", "planted", "tutor", "never", "--json").json["experiment"]["tags"] == [
        "autumn", "spring",
    ]  # fmt: skip
    assert headrace("experiments", "untag", "planted", "autumn", "spring").out == "Experiment planted has no tags\n"
    assert headrace("experiments", "favourite", "planted", "--json").json["experiment"]["is_favourite"] is True
    assert names(headrace("experiments", "list", "--favourite", "--json")) == ["planted"]
    assert headrace("experiments", "unfavourite", "planted", "--json").json["experiment"]["is_favourite"] is False
    renamed = headrace("experiments", "rename", "planted", "Locks at dawn")
    assert renamed.out == "Locks at dawn is its name now\n"
    assert headrace("sweep-analysis", "Locks at dawn", "--stored", "--json").json["name"] == "Locks at dawn"
    for bad in (("tag", "planted"), ("tag", "planted", " "), ("tag", "planted", "x" * 101), ("tag", "planted", "a\0"),
                ("rename", "planted", " "), ("rename", "planted", "x" * 256), ("rename", "nothing", "x")):  # fmt: skip
        assert headrace("experiments", *bad).code == 2, bad
    assert look("SELECT name, tags FROM experiments") == [{"name": "Locks at dawn", "tags": []}]


def test_an_archived_experiment_is_hidden_until_it_is_asked_for(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(**SMALL))
    archived = headrace("experiments", "archive", "planted", "--json").json["experiment"]["archived_at"]
    assert headrace("experiments", "archive", "planted", "--json").json["experiment"]["archived_at"] == archived
    assert names(headrace("experiments", "list", "--json")) == []
    assert names(headrace("experiments", "list", "--archived", "--json")) == ["planted"]
    assert "(completed, archived)" in headrace("experiments", "show", "planted").out
    headrace("experiments", "unarchive", "planted")
    assert names(headrace("experiments", "list", "--json")) == ["planted"]


def test_a_name_that_several_have_is_refused_with_all_of_them(headrace: Run, database: Engine) -> None:
    for name in ("one-of-two", "two-of-two"):
        store_experiment(database, Planted(id=name, **SMALL))
        headrace("experiments", "rename", name, "twins")
    refused = headrace("experiments", "show", "twins", "--json")
    assert refused.code == 2
    assert sorted(refused.json["error"]["details"]["candidates"]) == ["one-of-two", "two-of-two"]
    assert "two-of-two (twins, completed, 2026-03-01 12:00)" in refused.json["error"]["message"]
    assert headrace("experiments", "show", "one-of-t", "--json").json["experiment"]["id"] == "one-of-two"
    assert headrace("experiments", "show", "one-of").reason == "headrace: there is no experiment one-of"
    headrace("experiments", "rename", "two-of-two", "one-of-two")
    assert headrace("experiments", "show", "one-of-two", "--json").json["experiment"]["name"] == "twins"


def test_other_commands_take_names_too(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(models=("old", "new"), better="new", noise=0.02))
    for experiment in ("Experiment planted", "planted"):
        assert headrace("sweep-status", experiment, "--json").json["experiment_id"] == "planted"
        assert headrace("sweep-analysis", experiment, "--json").json["experiment_id"] == "planted"
        assert headrace("compare-models", experiment, "--json").json["models"][0]["model"] == "new"
    refused = headrace("compare-models", "nothing")
    assert (refused.code, refused.reason) == (2, "headrace: there is no experiment nothing")


def test_an_experiment_is_shown_on_a_page(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(failed=2, noise=0.001))
    headrace("sweep-analysis", "planted")
    headrace("experiments", "tag", "planted", "tutor")
    told = headrace("experiments", "show", "planted").out
    assert told.startswith("Experiment planted (completed)\nid planted; created 2026-03-01 12:00 UTC\ntags: tutor\n")
    assert "90 responses, 2 failed; $0.18" in told
    assert "failed: 2 with RetriesExhausted" in told
    assert "• Of 15 combinations, temperature 0.5" in told
    found = headrace("experiments", "show", "planted", "--json").json
    assert [each["metric"] for each in found["metrics"]] == ["overall", "coherence"]
    assert found["best"][0]["parameters"]["temperature"] == 0.5
    assert found["best_response"]["parameters"]["temperature"] == 0.5
    assert abs(found["worst_response"]["parameters"]["temperature"] - 0.5) == pytest.approx(0.4)
    assert found["failures"] == {"RetriesExhausted": 2}
    assert found["latency_ms"] == pytest.approx(sum(100 + n % 7 for n in range(90)) / 90)


def test_an_experiment_of_the_older_laboratory_is_shown_by_its_columns(
    headrace: Run, database: Engine, look: Look
) -> None:
    store_experiment(database, Planted(ours=False, prompts=("Why?",), version="llm-lab-2", metrics=("coherence",)))
    look("UPDATE experiments SET temperature_min = 0.1, temperature_max = 0.9, description = 'Colours'")
    found = headrace("experiments", "show", "planted", "--json").json
    assert (found["analysis_version"], found["metrics"][0]["metric"], found["best"]) == ("llm-lab-2", "coherence", [])
    assert found["spec"] == {"prompt": "Why?", "temperature_min": 0.1, "temperature_max": 0.9}
    assert "Colours" in headrace("experiments", "show", "planted").out


def test_what_hangs_on_an_experiment_goes_with_it_and_what_was_paid_stays(
    headrace: Run, look: Look, spec: Callable[..., Path], provider: ScriptedProvider
) -> None:
    kept = headrace("sweep", spec("kept"), "--yes", "--bare", "--json").json["experiment_id"]
    swept = headrace("sweep", spec(response_count=3), "--yes", "--bare", "--json").json
    before = look("SELECT count(*) AS calls, sum(cost_usd) AS usd FROM llm_requests")
    asked = headrace("experiments", "delete", "locks")
    assert (asked.code, asked.reason) == (2, "headrace: nobody can be asked here whether to go on: give --yes")
    assert "goes, with 6 responses, 42 scores, 7 insights, 1 analysis and 7 sums by day." in asked.err
    assert "stay in the ledger" in asked.err
    assert look("SELECT count(*) AS n FROM responses") == [{"n": 8}]

    done = headrace("experiments", "delete", "locks", "--yes", "--json")
    assert (done.code, done.json["run_id"]) == (0, swept["run_id"])
    rows = done.json["deleted"]["rows"]
    assert (rows["experiments"], rows["responses"], rows["quality_metrics"], rows["sweep_analyses"]) == (1, 6, 42, 1)
    assert look("SELECT count(*) AS calls, sum(cost_usd) AS usd FROM llm_requests") == before
    for table in ("responses", "sweep_analyses", "parameter_insights", "quality_analytics"):
        assert {row["experiment_id"] for row in look(f"SELECT experiment_id FROM {table}")} == {kept}, table
    assert look("SELECT count(*) AS n FROM quality_metrics") == [{"n": 14}]
    assert headrace("sweep-status", "locks").reason == "headrace: there is no experiment locks"

    resumed = headrace("resume", swept["run_id"], "--bare")
    assert resumed.code == 2
    assert "headrace resume" not in resumed.reason
    assert f"the experiment of run {swept['run_id']} was deleted on " in resumed.reason
    assert look("SELECT status FROM runs WHERE id = :id", id=swept["run_id"]) == [{"status": "completed"}]
    paid = provider.paid
    again = headrace("sweep", spec(response_count=3), "--yes", "--bare", "--json").json
    assert (again["stored"], again["replayed"], provider.paid) == (6, 6, paid)


def test_an_experiment_that_is_being_asked_is_not_deleted_until_its_process_is_gone(
    headrace: Run, start: Start, look: Look, spec: Callable[..., Path], writer: Writer
) -> None:
    gate = Event()
    writer.fails = lambda request: not gate.wait(60)
    sweeping = start("sweep", spec(), "--yes", "--bare")
    until(lambda: look("SELECT id FROM experiments"))
    for yes in ((), ("--yes",)):
        refused = headrace("experiments", "delete", "locks", *yes)
        assert (refused.code, f"is being asked by process {sweeping.pid} of" in refused.reason) == (2, True)
    sweeping.kill()
    gate.set()
    done = headrace("experiments", "delete", "locks", "--yes")
    assert (done.code, done.out.splitlines()[0]) == (0, "locks is deleted, with nothing else.")
    (run,) = look("SELECT id, status, attempt_id, result FROM runs")
    assert (run["status"], run["attempt_id"], list(run["result"])) == ("crashed", None, ["experiment_deleted_at"])
    assert headrace("resume", run["id"], "--bare", "--json").json["error"]["code"] == "experiment_deleted"
    assert look("SELECT count(*) AS n FROM experiments") == [{"n": 0}]


def test_whoever_does_not_agree_keeps_the_experiment(
    headrace: Run, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_experiment(database, Planted(**SMALL))
    monkeypatch.setattr("flows.asking.agreed", lambda question: False)
    done = headrace("experiments", "delete", "planted")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("Experiment planted (planted) goes, with 4 responses and 8 scores.")
    assert names(headrace("experiments", "list", "--json")) == ["planted"]


async def test_a_flow_that_goes_on_with_a_deleted_experiment_makes_no_new_one(
    settings: Settings, look: Look, spec: Callable[..., Path]
) -> None:
    said = json.loads(spec().read_text()) | {"name": "locks"}
    report = await run_flow(sweep_parameters, {"spec": said}, bare=True)
    planned = await plan_deletion(report.experiment_id[:18])
    assert await delete_experiment("locks") == planned
    with pytest.raises(ExperimentDeleted, match="there is nothing to go on with"):
        await run_flow(sweep_parameters, {"spec": said}, resume=report.run_id, bare=True)
    assert look("SELECT count(*) AS n FROM experiments") == [{"n": 0}]
    with pytest.raises(NotFound):
        await delete_experiment("locks")


async def test_of_two_who_delete_an_experiment_one_is_told_that_it_is_gone(
    settings: Settings, database: Engine, look: Look
) -> None:
    store_experiment(database, Planted(**SMALL))
    with database.begin() as first:
        _delete(first, "planted")
        second = asyncio.create_task(delete_experiment("planted"))
        waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await asyncio.to_thread(until, lambda: look(waits))
    with pytest.raises(NotFound, match="experiment planted was deleted meanwhile"):
        await second
