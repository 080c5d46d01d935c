"""`headrace sweep-report` as people and machines meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from sqlalchemy import Engine

from flows.running import run_flow
from flows.sweep_report import sweep_report
from flows.sweep_report_presentation import as_markdown, heat_map_png, means_table
from schemas.settings import Settings
from schemas.sweep_reports import SweepReportFiles
from tasks.sweep.reports.reading import read_report
from tests.flows.commands import PROJECT
from tests.flows.conftest import Look, Run
from tests.scripted_provider import ScriptedProvider
from tests.tasks.sweep.experiments import Planted, store_experiment

FEW = Planted(temperatures=(0.1, 0.5), top_ps=(0.8, 1.0), repeats=2, prompts=("Why is the sky blue?",))


def test_a_report_is_written_in_all_formats_and_shown(
    headrace: Run, database: Engine, tmp_path: Path, look: Look
) -> None:
    store_experiment(database, FEW)
    done = headrace("sweep-report", "planted", "--out", tmp_path / "out", "--bare")
    assert done.code == 0, done.err
    assert "Experiment planted: 8 responses" in done.out
    assert "• Of 4 combinations, temperature 0.5" in done.out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"experiment-planted-planted.{end}" for end in ("csv", "html", "json", "pdf", "xlsx")]
    assert all(name in done.out for name in names)
    (run,) = look("SELECT flow, subject, status, result FROM runs")
    assert (run["flow"], run["subject"], run["status"]) == ("sweep-report", "planted", "completed")
    assert len(run["result"]["files"]) == 5


def test_formats_are_chosen_and_json_names_the_files(headrace: Run, database: Engine, tmp_path: Path) -> None:
    store_experiment(database, FEW)
    done = headrace("sweep-report", "planted", "--out", tmp_path, "--format", "json,csv", "--bare", "--json").json
    assert (done["status"], done["experiment_id"], done["responses"]) == ("completed", "planted", 8)
    assert [file["format"] for file in done["files"]] == ["csv", "json"]
    assert json.loads(Path(done["files"][1]["path"]).read_text())["experiment_id"] == "planted"


def test_a_sweep_that_was_just_asked_has_its_report(
    headrace: Run, tmp_path: Path, provider: ScriptedProvider, settings: Settings
) -> None:
    spec = {"name": "locks", "prompt": "How?", "model": "gpt-4o-mini", "parameter_ranges": {"temperature": [0, 1]}}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    assert headrace("sweep", tmp_path / "spec.json", "--yes", "--bare").code == 0
    done = headrace("sweep-report", "locks", "--format", "html", "--bare", "--json").json
    (file,) = done["files"]
    assert Path(file["path"]).parents[1] == settings.home / "reports"
    page = Path(file["path"]).read_text()
    assert "gpt-4o-mini" in page
    assert "locks" in page


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("nothing",), 2, "headrace: there is no experiment nothing"),
        (("planted", "--format", "docx"), 2, "headrace: there is no format docx; there are html, pdf, xlsx, csv, json"),
        (("planted", "--analysis-version", "x"), 2, "has no scores of x; of these it has: headrace-1"),
        (("planted", "--out", "/proc/nowhere"), 2, "/proc/nowhere cannot be written"),
    ],
)
def test_what_cannot_be_reported_is_said_in_a_sentence(
    headrace: Run, database: Engine, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    store_experiment(database, FEW)
    done = headrace("sweep-report", *arguments, "--bare")
    assert done.code == code
    assert reason in done.reason


async def test_python_gets_the_files(database: Engine, settings: Settings, tmp_path: Path) -> None:
    store_experiment(database, FEW)
    report = await run_flow(
        sweep_report, {"experiment": "planted", "formats": ["csv"], "out": str(tmp_path)}, bare=True
    )
    assert isinstance(report, SweepReportFiles)
    assert [file.path for file in report.files] == [str(tmp_path / "experiment-planted-planted.csv")]
    assert f"- csv: `{report.files[0].path}` (" in as_markdown(report)


async def test_the_artifacts_are_the_means_and_a_picture(database: Engine, settings: Settings) -> None:
    store_experiment(database, FEW)
    contents = await read_report("planted")
    rows = means_table(contents)
    assert [(row["parameter"], row["value"]) for row in rows] == [
        ("temperature", "0.1"), ("temperature", "0.5"), ("top_p", "0.8"), ("top_p", "1.0"),
    ]  # fmt: skip
    assert (heat_map_png(contents) or b"").startswith(b"\x89PNG")
    one = contents.model_copy(update={"heat_maps": ()})
    assert (heat_map_png(one) or b"").startswith(b"\x89PNG")
    none = one.model_copy(update={"analysis": contents.analysis.model_copy(update={"insights": ()})})
    assert heat_map_png(none) is None


def test_the_flow_is_a_deployment_with_a_form() -> None:
    deployed = {each["name"]: each for each in yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]}
    assert deployed["sweep-report"]["entrypoint"] == "flows/sweep_report.py:sweep_report"
    assert sweep_report.parameters.properties["experiment"]["description"] == "Id or name of the experiment"
    assert sweep_report.parameters.required == ["experiment"]
