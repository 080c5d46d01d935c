"""The stack of `headrace up`: deployments, runs started in the UI, commands beside it, and its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, text

from blocks.database import create_database, normal_url
from blocks.embedded.stack import EmbeddedStack
from tests.flows.analyst import ScriptedAnalyst
from tests.flows.commands import PROJECT, CommandServer, Done
from tests.flows.conftest import BILL
from tests.scripted_provider import ScriptedProvider

PATIENCE_SECONDS = 120.0
HEADRACE = [sys.executable, "-c", "from flows.command_line import main; main()"]


def until(condition: Callable[[], Any]) -> Any:
    """What `condition` returns once that is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


@dataclass
class Up:
    """A running `headrace up`."""

    home: Path
    process: subprocess.Popen[str]
    left_behind: list[psutil.Process]
    """What an `up` before this one left behind when it was killed, as it was then."""
    said: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, home: Path, left_behind: list[psutil.Process]) -> Up:
        """It has come up and said so."""
        up = cls(home, begin(), left_behind)
        assert up.process.stdout is not None
        for line in up.process.stdout:
            up.said.append(line.strip())
            if "Ctrl-C" in line:
                return up
        assert up.process.stderr is not None
        raise AssertionError(f"it did not come up: {up.process.stderr.read()}")

    @property
    def ui(self) -> str:
        """Address of the UI, as it was printed."""
        (found,) = [match[1] for line in self.said if (match := re.fullmatch(r"Prefect UI +(\S+)", line))]
        return found

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of the Prefect API."""
        request = urllib.request.Request(
            f"{self.ui}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as reply:
            return json.loads(reply.read() or "null")

    def deployment(self, name: str) -> Any:
        """A deployment by its name."""
        found = self.ask("POST", "deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        (one,) = found
        return one

    def run_deployment(self, name: str, **parameters: Any) -> str:
        """Id of a flow run that the worker will take."""
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        made: str = self.ask("POST", f"deployments/{self.deployment(name)['id']}/create_flow_run", body)["id"]
        return made

    def set_state(self, flow_run: str, kind: str, name: str) -> None:
        """The flow run is put into a state, as by its buttons in the UI."""
        self.ask("POST", f"flow_runs/{flow_run}/set_state", {"state": {"type": kind, "name": name}, "force": True})

    def state(self, flow_run: str) -> str:
        """Name of the flow run's state."""
        name: str = self.ask("GET", f"flow_runs/{flow_run}")["state_name"]
        return name


def begin() -> subprocess.Popen[str]:
    """`headrace up` is starting."""
    program = [*HEADRACE, "up", "--port", "4400"]
    return subprocess.Popen(program, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def recorded(home: Path) -> dict[str, int]:
    """Process ids of Prefect's server and worker in `home`, by name."""
    path = home / "run" / "prefect-processes.json"
    entries = json.loads(path.read_text()) if path.exists() else []
    return {entry["name"]: entry["pid"] for entry in entries}


def prefect_processes(home: Path) -> list[psutil.Process]:
    """Prefect's server and worker in `home` with all that they started."""
    parents = [psutil.Process(pid) for pid in recorded(home).values()]
    return [process for parent in parents for process in (parent, *parent.children(recursive=True))]


def begun_and_killed(home: Path) -> list[psutil.Process]:
    """What an `up` leaves behind that is killed as soon as Prefect's server has been started."""
    killed = begin()
    left = until(lambda: prefect_processes(home))
    killed.kill()
    killed.wait()
    return list(left)


@pytest.fixture(scope="module")
def analyst() -> ScriptedAnalyst:
    return ScriptedAnalyst()


@pytest.fixture(scope="module")
def provider(analyst: ScriptedAnalyst) -> Iterator[ScriptedProvider]:
    with ScriptedProvider(analyst) as server:
        yield server


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bills")


@pytest.fixture
def bill(bills: Path, request: pytest.FixtureRequest) -> Path:
    """A bill of the test's own, so that its answers are too."""
    path = bills / f"{request.node.name}.txt"
    path.write_text(BILL.replace("rents", request.node.name, 1))
    return path


@pytest.fixture(scope="module")
def up(postgres_stack: EmbeddedStack, provider: ScriptedProvider) -> Iterator[Up]:
    """`headrace up` on the session's Postgres."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("DATABASE_URL", "PREFECT_API_URL"):
            environment.delenv(name, raising=False)
        environment.setenv("HEADRACE_HOME", str(postgres_stack.home))
        environment.setenv("HEADRACE_IDLE_MINUTES", "0")
        environment.setenv("HEADRACE_RETRY_ATTEMPTS", "1")
        environment.setenv("OPENAI_API_KEY", "test-key")
        environment.setenv("OPENAI_BASE_URL", provider.url)
        stack = Up.start(postgres_stack.home, begun_and_killed(postgres_stack.home))
        yield stack
        provider.release()
        if stack.process.poll() is None:
            stack.process.send_signal(signal.SIGINT)
            stack.process.wait(60)


@pytest.fixture(scope="module")
def database(up: Up, postgres_stack: EmbeddedStack) -> Iterator[Engine]:
    """The ledger beside the stack's Prefect server."""
    engine = create_database(normal_url(postgres_stack.database_url("headrace")))
    yield engine
    engine.dispose()


Look = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def look(database: Engine) -> Look:
    def run(sql: str, **values: Any) -> list[dict[str, Any]]:
        with database.begin() as connection:
            return [dict(row) for row in connection.execute(text(sql), values).mappings()]

    return run


@pytest.fixture
def headrace(up: Up, command_server: CommandServer, tmp_path: Path) -> Callable[..., Done]:
    """A command beside the stack."""
    return lambda *arguments: command_server.start(tmp_path / "command", *map(str, arguments)).wait()


def run_of(look: Look, flow_run: str) -> dict[str, Any]:
    """The ledger's run of a Prefect flow run."""
    (run,) = look(
        """
        SELECT runs.id, runs.status, runs.subject, count(*) AS attempts FROM runs JOIN run_attempts ON run_id = runs.id
        WHERE prefect_flow_run_id = :flow_run GROUP BY runs.id
        """,
        flow_run=flow_run,
    )
    return run


def test_up_serves_the_ui_and_says_where(up: Up) -> None:
    with urllib.request.urlopen(up.ui) as page:
        assert b"<title>Prefect" in page.read()
    assert f"Deployments  {up.ui}/deployments" in up.said
    assert any(line.startswith("Database     postgresql://") for line in up.said)


def test_up_ends_what_a_killed_one_left_behind(up: Up) -> None:
    assert up.left_behind
    assert not any(process.is_running() for process in up.left_behind)


def test_the_forms_are_made_from_the_flows_types(up: Up) -> None:
    form = up.deployment("analyze-bill")["parameter_openapi_schema"]
    assert form["required"] == ["source"]
    fields = form["properties"]
    assert all(field["description"] for field in fields.values())
    assert fields["source"]["description"].startswith("Path, URL, or a stored bill's id")
    assert (fields["max_rounds"]["minimum"], fields["max_rounds"]["maximum"]) == (0, 5)
    models = form["definitions"]["AnalysisModels"]["properties"]
    assert {name: (field["title"], field["position"]) for name, field in models.items()} == {
        "research": ("Research model", 0), "generate": ("Generate model", 1), "review": ("Review model", 2),
    }  # fmt: skip
    for name in ("analyze-bills", "compare-models", "generate-insight"):
        fields = up.deployment(name)["parameter_openapi_schema"]["properties"]
        assert all(field["description"] for field in fields.values())


def test_runs_that_fall_silent_are_declared_crashed_by_one_automation(up: Up) -> None:
    automations = up.ask("POST", "automations/filter", {})
    (silent,) = [automation for automation in automations if automation["name"] == "Silent flow runs are crashed"]
    assert silent["enabled"]
    assert silent["trigger"]["within"] == 70


def test_a_finished_migration_starts_a_refresh_of_the_embeddings(up: Up) -> None:
    refresh = up.deployment("refresh-embeddings")
    started = [
        automation
        for automation in up.ask("POST", "automations/filter", {})
        if refresh["id"] in {action.get("deployment_id") for action in automation["actions"]}
    ]
    assert [automation["trigger"]["expect"] for automation in started] == [["prefect.flow-run.Completed"]]
    assert [schedule["schedule"]["cron"] for schedule in refresh["schedules"]] == ["0 3 1 * *"]


def test_what_is_saved_in_the_settings_block_holds_for_commands_beside_it(
    up: Up, headrace: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADRACE_PROJECT", raising=False)
    kind = up.ask("GET", "block_types/slug/headrace-settings")
    sought = {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}}
    (schema,) = up.ask("POST", "block_schemas/filter", sought)
    assert {"openai_api_key", "database_url", "provider_keys.*"} <= set(schema["fields"]["secret_fields"])
    block = {"name": "headrace", "block_type_id": kind["id"], "block_schema_id": schema["id"]}
    saved = up.ask("POST", "block_documents/", {**block, "data": {"project": "saved in the block"}})
    done = headrace("budget", "set", "--day", "7", "--json")
    up.ask("DELETE", f"block_documents/{saved['id']}")
    assert done.code == 0, done.err
    assert "saved in the block" in {row["scope_id"] for row in done.json["rows"]}


def test_a_run_started_cancelled_and_retried_in_the_ui_is_one_run_in_the_ledger(
    up: Up, bill: Path, look: Look, provider: ScriptedProvider
) -> None:
    asked = provider.paid
    provider.hold()
    flow_run = up.run_deployment("analyze-bill", source=str(bill))
    provider.wait_held(1, timeout=PATIENCE_SECONDS)
    up.set_state(flow_run, "CANCELLING", "Cancelling")
    until(lambda: up.state(flow_run) == "Cancelled")
    run = until(lambda: (found := run_of(look, flow_run))["status"] != "running" and found)
    assert (run["status"], run["subject"], run["attempts"]) == ("cancelled", str(bill), 1)
    provider.release()
    up.set_state(flow_run, "SCHEDULED", "AwaitingRetry")
    until(lambda: up.state(flow_run) == "Completed")
    assert run_of(look, flow_run) == {**run, "status": "completed", "attempts": 2}
    steps = look("SELECT name, attempts FROM steps WHERE run_id = :run ORDER BY ordinal", run=run["id"])
    assert [(step["name"], step["attempts"]) for step in steps] == [
        ("read", 1), ("research", 2), ("generate", 1), ("check", 1), ("review", 1),
    ]  # fmt: skip
    assert provider.paid == asked + 1 + 3  # the one that was cancelled was asked in vain
    (stored,) = look("SELECT report FROM bill_analyses WHERE run_id = :run", run=run["id"])
    (artifact,) = up.ask("POST", "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow_run]}}})
    assert (artifact["type"], artifact["data"], artifact["description"]) == (
        "markdown", stored["report"], f"Run {run['id']}",
    )  # fmt: skip
    sought = {"logs": {"flow_run_id": {"any_": [flow_run]}}}
    until(lambda: any(str(run["id"]) in log["message"] for log in up.ask("POST", "logs/filter", sought)))


def test_a_command_beside_it_is_a_flow_run_with_its_steps_as_tasks(
    up: Up, bill: Path, headrace: Callable[..., Done], look: Look
) -> None:
    done = headrace("analyze", bill, "--json")
    assert (done.code, done.json["status"]) == (0, "completed")
    (attempt,) = look("SELECT * FROM run_attempts WHERE run_id = :run", run=done.json["run_id"])
    flow_run = str(attempt["prefect_flow_run_id"])
    shown = up.ask("GET", f"flow_runs/{flow_run}")
    assert (shown["state_name"], shown["name"]) == ("Completed", f"analyze {bill}")
    assert f"{up.ui}/runs/flow-run/{flow_run}" in done.err
    sought = {"flow_runs": {"id": {"any_": [flow_run]}}}
    tasks = until(lambda: len(found := up.ask("POST", "task_runs/filter", sought)) == 5 and found)
    assert {task["state_name"] for task in tasks} == {"Completed"}
    assert {task["name"].rpartition("-")[0] for task in tasks} == {"read", "research", "generate", "check", "review"}
    assert len(up.ask("POST", "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow_run]}}})) == 1


def test_many_bills_are_one_flow_run(
    up: Up, bills: Path, bill: Path, headrace: Callable[..., Done], look: Look
) -> None:
    folder = bills / "many"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(BILL.replace("rents", f"rents of many {number}", 1))
    done = headrace("analyze", folder, bill, "--json")
    assert (done.code, len(done.json["outcomes"])) == (0, 4)
    runs = [outcome["run_id"] for outcome in done.json["outcomes"]]
    attempts = look("SELECT DISTINCT prefect_flow_run_id AS id FROM run_attempts WHERE run_id = ANY(:runs)", runs=runs)
    (flow_run,) = attempts
    assert up.ask("GET", f"flow_runs/{flow_run['id']}")["name"] == "analyze 2 sources"


def test_a_migration_from_the_form_leaves_its_report_and_progress_as_artifacts(
    up: Up, tmp_path: Path, look: Look
) -> None:
    fields = up.deployment("migrate-data")["parameter_openapi_schema"]["properties"]
    assert "quokkaq" in fields["kind"]["enum"]
    export = tmp_path / "export.json"
    users = json.dumps([{"id": "ada", "name": "Ada", "password": "hunter2"}])
    export.write_text(json.dumps({"quokkaq.users": users, "quokkaq.threads": None}))
    flow_run = up.run_deployment(
        "migrate-data", kind="quokkaq", source=str(export), source_name="from the form", policies={}, dry_run=False,
        prune=False, max_rejects=None, project="",
    )  # fmt: skip
    until(lambda: up.state(flow_run) in {"Completed", "Failed", "Crashed"})
    assert up.state(flow_run) == "Completed"
    found = up.ask("POST", "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow_run]}}})
    (report,) = [artifact for artifact in found if artifact["type"] == "markdown"]
    assert report["key"] == "migration-from-the-form"
    assert "| users | 1 | 0 | 1 |" in report["data"]
    assert "users.password: 1 value refused as secret" in report["data"]
    progress = [artifact for artifact in found if artifact["type"] == "progress"]
    assert all((artifact["data"], artifact["description"]) == (100.0, "done") for artifact in progress)
    logs = up.ask("POST", "logs/filter", {"logs": {"flow_run_id": {"any_": [flow_run]}}})
    assert "hunter2" not in json.dumps([found, logs])
    run = run_of(look, flow_run)["id"]
    taken_back = up.run_deployment("rollback-migration", run=str(run), project="")
    until(lambda: up.state(taken_back) in {"Completed", "Failed", "Crashed"})
    assert up.state(taken_back) == "Completed"
    assert look("SELECT FROM users WHERE source = 'from the form'") == []


def test_an_export_from_the_form_tells_what_it_wrote(up: Up, tmp_path: Path) -> None:
    out = tmp_path / "radar"
    nobody = {"format": "openai-sft", "project": "that nobody has"}
    flow_run = up.run_deployment("export-training-data", out=str(out), options=nobody)
    until(lambda: up.state(flow_run) in {"Completed", "Failed", "Crashed"})
    assert up.state(flow_run) == "Completed"
    found = up.ask("POST", "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow_run]}}})
    (page,) = [artifact for artifact in found if artifact["type"] == "markdown"]
    assert page["key"] == "export-training-data"
    assert f"In `{out}`:" in page["data"]
    assert f"- train.jsonl: 0 rows, 0 tokens, SHA-256 {sha256(b'').hexdigest()}" in page["data"]
    assert "of 0 calls; set aside: 0" in page["data"]
    assert (out / "manifest.json").is_file()


def test_a_migration_that_fails_leaves_why_and_what_it_rejected_as_an_artifact(up: Up, tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_text(json.dumps({"quokkaq.users": json.dumps([{"id": "ada", "name": "Ada", "role": "dean"}])}))
    flow_run = up.run_deployment(
        "migrate-data", kind="quokkaq", source=str(export), source_name="refused", policies={}, dry_run=False,
        prune=False, max_rejects=0, project="",
    )  # fmt: skip
    until(lambda: up.state(flow_run) in {"Completed", "Failed", "Crashed"})
    assert up.state(flow_run) == "Failed"
    found = up.ask("POST", "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow_run]}}})
    (report,) = [artifact for artifact in found if artifact["key"] == "migration-refused"]
    assert "**failed**: 1 record was rejected, more than the 0 that may be" in report["data"]
    assert "| users.role | 1 |" in report["data"]


def test_a_test_between_variants_is_read_from_the_form_and_its_report_is_an_artifact(
    up: Up, headrace: Callable[..., Done], look: Look
) -> None:
    assert headrace("ab-test", "create", "from-the-form", "--variant", "a", "--variant", "b").code == 0
    flow_run = up.run_deployment("ab-report", test="from-the-form", project="")
    until(lambda: up.state(flow_run) in {"Completed", "Failed", "Crashed"})
    assert up.state(flow_run) == "Completed"
    (report,) = up.ask("POST", "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow_run]}}})
    assert (report["key"], report["type"]) == ("ab-report-from-the-form", "markdown")
    assert "b against a: too few users have rated to say anything." in report["data"]
    assert run_of(look, flow_run)["status"] == "completed"


def test_a_report_of_a_sweep_from_the_form_leaves_a_page_a_table_and_a_picture(
    up: Up, look: Look, tmp_path: Path
) -> None:
    look("""
        INSERT INTO experiments (id, name, prompt, status, created_at, attributes)
        VALUES ('reported', 'From the form', 'Why?', 'completed', now(), '{}') RETURNING id
    """)
    look("""
        INSERT INTO responses (id, experiment_id, content, model, temperature, top_p, created_at, attributes)
        SELECT 'reported/' || n, 'reported', 'Because.', 'm', n % 2, 0.5 + 0.5 * (n / 2 % 2), now(), '{}'
        FROM generate_series(1, 8) AS n RETURNING id
    """)
    look("""
        INSERT INTO quality_metrics (id, response_id, metric, score, analysis_version, attributes)
        SELECT id, id, 'overall', 0.5 + temperature / 4, 'headrace-1', '{}' FROM responses
        WHERE experiment_id = 'reported' RETURNING id
    """)
    flow_run = up.run_deployment("sweep-report", experiment="reported", formats=["html", "csv"], out=str(tmp_path))
    until(lambda: up.state(flow_run) in {"Completed", "Failed", "Crashed"})
    assert up.state(flow_run) == "Completed"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".html"]
    found = up.ask("POST", "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow_run]}}})
    of_type = {artifact["type"]: artifact for artifact in found}
    assert set(of_type) == {"markdown", "table", "image"}
    assert of_type["image"]["data"].startswith("data:image/png;base64,iVBOR")
    assert of_type["image"]["key"] == "sweep-report-from-the-form-heat-map"
    means = of_type["table"]["data"]
    means = json.loads(means) if isinstance(means, str) else means
    assert [(row["parameter"], row["value"]) for row in means][:2] == [("temperature", "0.0"), ("temperature", "1.0")]
    assert "From the form" in of_type["markdown"]["data"]


def test_the_form_of_a_fine_tuning_shows_its_fields_in_order(up: Up) -> None:
    form = up.deployment("fine-tune")["parameter_openapi_schema"]
    assert form["required"] == ["request"]
    assert all(field["description"] for field in form["properties"].values())
    fields = form["definitions"]["FineTuneRequest"]["properties"]
    assert all(field["description"] for field in fields.values())
    ordered = sorted(fields, key=lambda name: fields[name]["position"])
    assert ordered[:3] == ["training_file", "purpose", "base_model"]
    assert fields["n_epochs"]["anyOf"][0]["minimum"] == 1


def test_an_interrupted_command_beside_it_is_cancelled(
    up: Up, bill: Path, look: Look, provider: ScriptedProvider, command_server: CommandServer, tmp_path: Path
) -> None:
    provider.hold()
    command = command_server.start(tmp_path / "interrupted", "analyze", str(bill), "--json")
    provider.wait_held(1, timeout=PATIENCE_SECONDS)
    command.send(signal.SIGINT)
    done = command.wait()
    provider.release()
    assert (done.code, done.json["status"]) == (130, "cancelled")
    assert "Traceback" not in done.err
    (run,) = look("SELECT status FROM runs WHERE id = :run", run=done.json["run_id"])
    assert run["status"] == "cancelled"


def test_a_worker_that_ends_by_itself_is_started_anew(up: Up) -> None:
    ended = recorded(up.home)["prefect-worker"]
    os.kill(ended, signal.SIGKILL)
    until(lambda: recorded(up.home)["prefect-worker"] != ended)
    assert psutil.pid_exists(recorded(up.home)["prefect-worker"])
    assert up.process.poll() is None


def test_an_interrupt_ends_everything(up: Up) -> None:
    started = prefect_processes(up.home)
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0
    assert len(started) >= 2
    assert not any(process.is_running() for process in started)
    assert json.loads((up.home / "run" / "prefect-processes.json").read_text()) == []
    assert not (up.home / "run" / "prefect-api.json").exists()
