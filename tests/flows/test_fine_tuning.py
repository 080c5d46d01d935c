"""`headrace fine-tune` against a service that speaks OpenAI's API: to the end, killed, refused, cancelled."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from flows.version_presentation import fine_tuning_as_markdown
from schemas.fine_tuning import FineTuneReport
from schemas.settings import Settings
from tests.conftest import Environment
from tests.flows.commands import PROJECT
from tests.flows.conftest import Look, Run, Start
from tests.scripted_fine_tuning import API_KEY, ScriptedFineTuning

BASE = "gpt-4o-mini-2024-07-18"
ROW = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because. 🦜"}]}

Serve = Callable[..., ScriptedFineTuning]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A training file of twelve rows."""
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(ROW, ensure_ascii=False) + "\n" for _ in range(12)), encoding="utf-8")
    return path


@pytest.fixture
def serve(environment: Environment, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a service that the commands then use, without long pauses between retries."""
    monkeypatch.setattr("tasks.ledger.retries.FIRST_PAUSE_SECONDS", 0.0)
    started: list[AbstractContextManager[Any]] = []

    def begin(*arguments: Any, **more: Any) -> ScriptedFineTuning:
        service = ScriptedFineTuning(*arguments, **more)
        started.append(service)
        service.__enter__()
        environment(DATABASE_URL=database_url, OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=service.url)
        return service

    yield begin
    for service in started:
        service.__exit__(None, None, None)


def options(rows: Path, *more: object) -> list[object]:
    """The command for the file."""
    return ["fine-tune", rows, "--purpose", "radar", "--base", BASE, "--poll-seconds", "0.01", *more]


def test_a_model_is_made_and_registered_with_what_it_was_made_of(
    headrace: Run, serve: Serve, rows: Path, look: Look
) -> None:
    service = serve()
    done = headrace(*options(rows, "--suffix", "brief", "--epochs", 3, "--seed", 5, "--export", "export-7", "--json"))
    assert done.code == 0, done.err
    report = done.json
    model = f"ft:{BASE}:acme:brief:ftjob-1"
    assert (report["model"], report["version"], report["purpose"]) == (model, 1, "radar")
    assert (report["trained_tokens"], report["cost_usd"], report["training_rows"]) == (12_345, None, 12)
    (job,) = service.jobs.values()
    assert job.given["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}
    assert (job.given["seed"], job.given["metadata"]) == (5, {"headrace_run": report["run_id"]})
    assert service.files == {"file-1": rows.read_bytes()}
    (version,) = look("SELECT * FROM model_versions")
    assert version["training_sha256"] == report["training_sha256"]
    assert (version["job_id"], version["export_id"], version["base_model"]) == ("ftjob-1", "export-7", BASE)
    assert (str(version["run_id"]), version["training_path"]) == (report["run_id"], str(rows))
    assert "provider: Step 4 of 4" in done.err
    assert look("SELECT count(*) AS n FROM model_promotions")[0]["n"] == 0
    (stored,) = look("SELECT * FROM fine_tuning_jobs")
    assert (stored["status"], stored["fine_tuned_model"], stored["error"]) == ("succeeded", model, None)


def test_the_command_shows_how_the_model_is_put_in_charge_and_calls_then_go_to_it(
    headrace: Run, serve: Serve, rows: Path
) -> None:
    serve(more={"cost_usd": "1.25"})
    done = headrace(*options(rows))
    assert f"ft:{BASE}:acme::ftjob-1 is version 1 of radar" in done.out
    assert f"made of {BASE} and 12 rows, 12,345 tokens; cost $1.25" in done.out
    assert done.out.splitlines()[-1] == "Put it in charge: headrace versions promote radar 1"
    assert headrace("versions", "promote", "radar", 1).code == 0
    listed = headrace("versions", "list", "--json").json["versions"]
    assert [(each["in_charge"], each["cost_usd"]) for each in listed] == [(True, "1.25")]
    shown = headrace("estimate", "Why?", "--model", "version:radar")
    assert shown.code == 0
    assert f"ft:{BASE}" in shown.out


def test_the_page_of_a_run_says_what_the_command_does(headrace: Run, serve: Serve, rows: Path) -> None:
    serve()
    report = FineTuneReport.model_validate(headrace(*options(rows, "--json")).json)
    page = fine_tuning_as_markdown(report)
    assert page.startswith("# Fine-tuned for radar\n\n- ft:")
    assert f"- job ftjob-1, file {rows} (SHA-256 {sha256(rows.read_bytes()).hexdigest()})\n" in page
    assert page.endswith("- Put it in charge: headrace versions promote radar 1\n")


def test_the_cost_is_worked_out_of_a_price_where_the_provider_does_not_say_it(
    headrace: Run, serve: Serve, rows: Path
) -> None:
    serve()
    done = headrace(*options(rows, "--usd-per-million-tokens", "3", "--json"))
    assert done.json["cost_usd"] == "0.037035"  # 12,345 · 3 / 1,000,000
    assert headrace(*options(rows, "--usd-per-million-tokens", "three")).code == 2


def test_pairs_are_learned_by_dpo_with_a_file_to_measure_on(headrace: Run, serve: Serve, rows: Path) -> None:
    service = serve()
    assert headrace(*options(rows, "--method", "dpo", "--beta", 0.1, "--validation-file", rows)).code == 0
    (job,) = service.jobs.values()
    assert job.given["method"] == {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}
    assert (job.given["training_file"], job.given["validation_file"]) == ("file-1", "file-2")


@pytest.mark.parametrize("operation", ["create", "look"])
def test_a_run_that_was_killed_follows_its_job_and_never_creates_another(
    headrace: Run, serve: Serve, start: Start, rows: Path, look: Look, operation: str
) -> None:
    service = serve(("running",))
    command = start(*options(rows, "--bare"))
    service.wait_served(operation)
    assert command.kill().code == -signal.SIGKILL
    (run,) = look("SELECT id, status FROM runs")
    service.states = ("succeeded",)
    for job in service.jobs.values():
        job.states = ("succeeded",)
    resumed = headrace("resume", run["id"], "--json")
    assert resumed.code == 0, resumed.err
    assert (resumed.json["job_id"], resumed.json["run_id"]) == ("ftjob-1", str(run["id"]))
    assert (service.count("create"), len(service.files)) == (1, 1)
    again = headrace("resume", run["id"], "--json")
    assert (again.json["version"], service.count("create")) == (1, 1)
    assert look("SELECT count(*) AS n FROM model_versions")[0]["n"] == 1


def test_a_job_whose_id_was_lost_is_found_by_the_run_it_names(headrace: Run, serve: Serve, rows: Path) -> None:
    service = serve(faults={("create", 1): "cut"})
    done = headrace(*options(rows, "--json"))
    assert done.code == 0, done.err
    assert (service.count("create"), service.count("find"), len(service.jobs)) == (1, 1, 1)


def test_trouble_that_passes_is_waited_out_and_what_does_not_can_be_resumed(
    headrace: Run, serve: Serve, rows: Path, environment: Environment, look: Look
) -> None:
    faults = {("upload", 1): 503, ("create", 1): 500, ("look", 2): 503, ("events", 1): 429}
    service = serve(faults=faults | {("look", number): 502 for number in (5, 6, 7)})
    environment(HEADRACE_RETRY_ATTEMPTS=3)
    service.states = ("running", "running", "running", "succeeded")
    failed = headrace(*options(rows, "--json"))
    assert (failed.code, failed.json["error"]["code"]) == (1, "retries_exhausted")
    assert "failed 3 times, last: " in failed.reason
    assert "headrace resume" in failed.reason
    resumed = headrace("resume", failed.json["run_id"], "--json")
    assert (resumed.code, resumed.json["job_id"], len(service.jobs)) == (0, "ftjob-1", 1)
    assert len(service.files) == 1


def test_why_a_job_failed_is_said_in_a_sentence_and_resuming_asks_no_other(
    headrace: Run, serve: Serve, rows: Path, look: Look
) -> None:
    service = serve(("running", "failed"), failure=("bad_file", f"Row 3 has\nno messages; key {API_KEY}."))
    failed = headrace(*options(rows, "--json"))
    assert (failed.code, failed.json["error"]["code"]) == (1, "training_failed")
    sentence = "fine-tuning job ftjob-1 failed: Row 3 has no messages; key [key]."
    assert failed.reason == f"headrace: {sentence}"
    assert failed.json["error"]["details"]["reason_code"] == "bad_file"
    (stored,) = look("SELECT status, error FROM fine_tuning_jobs")
    assert stored == {"status": "failed", "error": {"code": "bad_file", "message": "Row 3 has no messages; key [key]."}}
    again = headrace("resume", failed.json["run_id"])
    assert (again.reason, service.count("create")) == (f"headrace: {sentence}", 1)
    assert look("SELECT status, error ->> 'message' AS why FROM runs") == [{"status": "failed", "why": sentence}]
    assert look("SELECT * FROM model_versions") == []


def test_a_job_is_cancelled_by_a_command_and_its_run_ends_with_that(
    headrace: Run, serve: Serve, start: Start, rows: Path, look: Look
) -> None:
    service = serve(("running",))
    command = start(*options(rows, "--bare"))
    service.wait_served("events")
    (run,) = look("SELECT id FROM runs")
    cancelled = headrace("cancel-fine-tuning", run["id"])
    assert cancelled.out == f"fine-tuning job ftjob-1 of run {run['id']}: cancelled\n"
    done = command.wait()
    assert (done.code, done.reason) == (1, "headrace: fine-tuning job ftjob-1 was cancelled")
    assert headrace("cancel-fine-tuning", uuid4()).code == 2


def test_what_cannot_be_trained_on_is_refused_before_anything_is_sent(
    headrace: Run, serve: Serve, rows: Path, tmp_path: Path
) -> None:
    service = serve()
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n \n")
    for file, why in ((empty, "has no row to learn from"), (tmp_path / "none", "cannot be read: No such file")):
        refused = headrace(*options(file))
        assert (refused.code, why in refused.reason) == (2, True)
    elsewhere = headrace("fine-tune", rows, "--purpose", "radar", "--base", "anthropic/claude-3-haiku-20240307")
    assert (elsewhere.code, "cannot be fine-tuned from here" in elsewhere.reason) == (2, True)
    assert headrace("fine-tune", rows, "--purpose", "a b", "--base", BASE).code == 2
    assert service.log == []


def test_a_file_that_changed_before_its_job_was_created_is_no_longer_the_run_s(
    headrace: Run, serve: Serve, rows: Path
) -> None:
    service = serve(faults={("upload", number): 503 for number in range(1, 9)})
    failed = headrace(*options(rows, "--json"))
    assert failed.json["error"]["code"] == "retries_exhausted"
    rows.write_text(rows.read_text() * 2)
    again = headrace("resume", failed.json["run_id"])
    assert (again.code, "has changed since run" in again.reason) == (2, True)
    assert service.jobs == {}


def test_a_wrong_key_names_the_variable_and_not_the_key(
    headrace: Run, serve: Serve, rows: Path, environment: Environment, settings: Settings
) -> None:
    service = serve()
    environment(OPENAI_API_KEY="sk-of-somebody", OPENAI_BASE_URL=service.url)
    refused = headrace(*options(rows))
    assert (refused.code, "OPENAI_API_KEY" in refused.reason) == (2, True)
    assert "sk-of-somebody" not in refused.err


def test_the_flows_are_deployments() -> None:
    deployed = {each["name"]: each for each in yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]}
    assert deployed["fine-tune"]["entrypoint"] == "flows/fine_tuning.py:fine_tune_model"
    assert deployed["ab-report"]["entrypoint"] == "flows/ab_testing.py:report_ab_test"


def test_the_form_has_a_field_for_everything_that_can_be_chosen() -> None:
    from flows.fine_tuning import fine_tune_model

    schema = fine_tune_model.parameters.model_dump()
    assert list(schema["properties"]) == ["request", "project"]
    fields = schema["definitions"]["FineTuneRequest"]["properties"]
    assert {"training_file", "purpose", "base_model", "n_epochs", "usd_per_million_tokens"} <= set(fields)
    assert all("description" in each for each in fields.values())
