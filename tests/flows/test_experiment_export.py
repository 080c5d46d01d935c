"""`headrace experiments export`: responses by filter, in files that other programs read."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from sqlalchemy import Engine

from schemas.errors import BadInput
from tasks.sweep.response_filter import Condition, parse_condition
from tests.flows.conftest import Look, Run
from tests.tasks.sweep.experiments import Planted, store_experiment

FORMATS = ("csv", "json", "jsonl", "xlsx", "parquet")


def ids(path: Path) -> list[str]:
    """Of the responses in a file of lines of JSON."""
    return [json.loads(line)["response_id"] for line in path.read_text().splitlines()]


CELL = re.compile(r'<c r="([A-Z]+)\d+"[^>]*>(?:<is><t[^>]*>|<v>)(.*?)(?:</t></is>|</v>)</c>', re.DOTALL)


def sheet(path: Path) -> list[dict[str, str]]:
    """Rows of a workbook's sheet by the letters of their columns, as they are written."""
    with ZipFile(path) as book:
        text = book.read("xl/worksheets/sheet1.xml").decode()
    return [dict(CELL.findall(row)) for row in re.findall(r"<row [^>]*>(.*?)</row>", text, re.DOTALL)]


def read(path: Path) -> list[dict[str, Any]]:
    """Responses of a file, with the numbers that a reader sees."""
    match path.suffix:
        case ".csv":
            with path.open(newline="") as file:
                return list(csv.DictReader(file))
        case ".json":
            return list(json.loads(path.read_bytes()))
        case ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
        case ".parquet":
            return list(parquet.read_table(path).to_pylist())
    head, *rows = sheet(path)
    return [{head[letters]: cell for letters, cell in row.items()} for row in rows]


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_has_the_stored_numbers_to_the_last_digit(
    headrace: Run, database: Engine, look: Look, tmp_path: Path, format_: str
) -> None:
    store_experiment(database, Planted())
    look("UPDATE responses SET cost_usd = 0.0000001234, system_prompt = 's', max_tokens = 5, replayed = false")
    out = tmp_path / f"out.{format_}"
    out.write_text("what was there before")
    done = headrace("experiments", "export", out, "--json")
    assert done.code == 0, done.err
    assert (done.json["rows"], done.json["experiments"], done.json["analysis_version"]) == (90, 1, "headrace-1")
    rows = {row["response_id"]: row for row in read(out)}
    truth = look("SELECT response_id, score FROM quality_metrics WHERE metric = 'overall'")
    assert len(rows) == len(truth) == 90
    for each in truth:
        found = float(rows[each["response_id"]]["overall"])
        assert found == pytest.approx(each["score"], rel=1e-15, abs=0)
        assert format_ == "xlsx" or found == each["score"]  # 16 digits: as many as a spreadsheet has
    some = rows["planted/00044"]
    assert (float(some["temperature"]), float(some["cost_usd"]), int(some["latency_ms"])) == (0.9, 1.234e-7, 102)
    assert some["content"] == "Because."
    assert [path.name for path in tmp_path.glob("out*")] == [out.name]


def test_a_workbook_and_a_csv_file_run_nothing_that_a_model_said(
    headrace: Run, database: Engine, look: Look, tmp_path: Path
) -> None:
    store_experiment(database, Planted(temperatures=(0.1,), top_ps=(1.0,), repeats=2))
    said = ["=1+1", "+1", "-cmd", "@SUM(A1)", "\t=1", "\r=1", "＝1", "1=1"]
    for text in said:
        look("UPDATE responses SET content = :text, model = :text", text=text)
        headrace("experiments", "export", tmp_path / "out.csv")
        rows = read(tmp_path / "out.csv")
        expected = text if text == "1=1" else f"'{text}"
        assert {row["content"] for row in rows} == {row["model"] for row in rows} == {expected}
    look("UPDATE responses SET content = '=1+1'")
    headrace("experiments", "export", tmp_path / "out.xlsx")
    with ZipFile(tmp_path / "out.xlsx") as book:
        text = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in text
    assert "<is><t>=1+1</t></is>" in text


def test_conditions_choose_what_is_written(headrace: Run, database: Engine, look: Look, tmp_path: Path) -> None:
    store_experiment(database, Planted(models=("old", "new"), noise=0.01, repeats=1, failed=1))
    store_experiment(database, Planted(id="archived", repeats=1))
    headrace("experiments", "archive", "archived")
    headrace("experiments", "tag", "planted", "tutor")
    look("UPDATE responses SET content = 'A Lock has 100% water' WHERE id = 'planted/00007'")
    out = tmp_path / "out.jsonl"
    counts = {
        (): 60,
        ("--archived",): 90,
        ("--experiment", "archived"): 30,
        ("--experiment", "Experiment planted", "--experiment", "archived"): 90,
        ("--tag", "tutor"): 60,
        ("--tag", "tutor", "--tag", "other"): 0,
        ("--model", "new"): 30,
        ("--model", "new", "--model", "old"): 60,
        ("--where", "temperature<=0.3"): 24,
        ("--where", "temperature>0.3", "--where", "temperature < 0.9", "--where", "model!=old"): 12,
        ("--where", "top_p=0.9"): 20,
        ("--where", "content~lock"): 1,
        ("--where", "content~100%"): 1,
        ("--where", "status=failed"): 1,
        ("--where", "error_class!=RetriesExhausted"): 59,
        ("--where", "overall>=0"): 59,
        ("--where", "prompt~headrace"): 30,
        ("--where", "experiment=Experiment planted"): 60,
        ("--where", "replayed=yes"): 0,
        ("--where", "created_at>=2026-03-01T12:00"): 60,
        ("--since", "2026-03-02"): 0,
        ("--until", "2026-03-01"): 60,
    }
    for arguments, count in counts.items():
        done = headrace("experiments", "export", out, *arguments, "--json")
        assert (done.code, done.json["rows"], len(ids(out))) == (0, count, count), (arguments, done.err)
    headrace("experiments", "export", out, "--where", "overall>=0.7")
    better = look("SELECT response_id FROM quality_metrics WHERE metric = 'overall' AND score >= 0.7 "
                  "AND response_id LIKE 'planted/%'")  # fmt: skip
    assert set(ids(out)) == {row["response_id"] for row in better}
    assert 0 < len(better) < 59


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("overall>=80", "scores are stored from 0 to 1, so that 80 of 100 is 0.8"),
        ("wit>=0.8", "there is nothing called wit to filter by; there are experiment, "),
        ("temperature", "--where 'temperature' is no condition: write them as temperature<=0.7"),
        ("temperature<", "is no condition"),
        ("temperature<warm", "--where temperature<warm: warm is no number"),
        ("temperature<nan", "nan is no number that is stored"),
        ("temperature<1e9999", "1e9999 is no number that is stored"),
        ("temperature~1", "~ looks for text, and temperature is none"),
        ("model<b", "model is text, for which there are = != and ~"),
        ("replayed=perhaps", "perhaps is neither true nor false"),
        ("created_at>=yesterday", "--where created_at>=yesterday: yesterday"),
        ("overall>=0.5; DROP TABLE responses", "is no number"),
    ],
)
def test_a_condition_that_cannot_be_met_by_anything_is_refused(
    headrace: Run, database: Engine, tmp_path: Path, where: str, reason: str
) -> None:
    store_experiment(database, Planted(repeats=1))
    refused = headrace("experiments", "export", tmp_path / "out.csv", "--where", where)
    assert (refused.code, reason in refused.reason) == (2, True), refused.err
    assert list(tmp_path.glob("out*")) == []


def test_a_file_that_cannot_be_written_is_refused_and_what_was_there_stays(
    headrace: Run, database: Engine, tmp_path: Path
) -> None:
    store_experiment(database, Planted(repeats=1))
    kept = tmp_path / "kept.csv"
    kept.write_text("kept")
    (tmp_path / "folder.csv").mkdir()
    for out, reason in {
        "out.ods": "out.ods ends with none of .csv, .json, .jsonl, .xlsx, .parquet",
        "out": "out ends with none of",
        "no/out.csv": "cannot be written: No such file or directory",
        "no/out.json": "cannot be written: No such file or directory",
        "no/out.xlsx": "cannot be written: No such file or directory",
        "no/out.parquet": "cannot be written: ",
        "folder.csv": "is a folder",
    }.items():
        refused = headrace("experiments", "export", tmp_path / out)
        assert (refused.code, reason in refused.reason) == (2, True), refused.err
    assert headrace("experiments", "export", kept, "--since", "2026-03-02", "--until", "2026-03-01").code == 2
    assert headrace("experiments", "export", kept, "--analysis-version", "v9").reason == (
        "headrace: these responses have no scores of v9; of these they have: headrace-1"
    )
    assert kept.read_text() == "kept"


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_of_nothing_is_a_file_without_rows(headrace: Run, tmp_path: Path, format_: str) -> None:
    out = tmp_path / f"out.{format_}"
    done = headrace("experiments", "export", out)
    assert done.out == f"0 responses of 0 experiments written to {out}\n"
    assert read(out) == []


@pytest.mark.parametrize("format_", FORMATS)
def test_rows_of_more_than_one_read_are_all_written(
    headrace: Run, database: Engine, tmp_path: Path, format_: str
) -> None:
    store_experiment(database, Planted(repeats=40, metrics=()))
    out = tmp_path / f"out.{format_}"
    headrace("experiments", "export", out)
    found = [row["response_id"] for row in read(out)]
    assert found == [f"planted/{number:05}" for number in range(1200)]
    if format_ == "parquet":  # what was read at a time is a group of rows
        assert parquet.ParquetFile(out).num_row_groups == 3


def test_a_text_too_long_for_a_cell_is_shortened_and_told(
    headrace: Run, database: Engine, look: Look, tmp_path: Path
) -> None:
    store_experiment(database, Planted(temperatures=(0.1,), top_ps=(1.0,), repeats=1))
    look("UPDATE responses SET content = repeat('é', 40000) WHERE id = 'planted/00000'")
    done = headrace("experiments", "export", tmp_path / "out.xlsx")
    assert "1 texts are longer than a cell of a workbook may be and end in …" in done.out
    (content,) = [cell for row in sheet(tmp_path / "out.xlsx") for cell in row.values() if cell.startswith("é")]
    assert (len(content), content[-1]) == (32_767, "…")
    headrace("experiments", "export", tmp_path / "out.parquet")
    assert max(len(row["content"]) for row in read(tmp_path / "out.parquet")) == 40_000


def test_scores_of_the_older_laboratory_are_exported_by_their_version(
    headrace: Run, database: Engine, tmp_path: Path
) -> None:
    store_experiment(database, Planted(id="older", version="llm-lab-2", ours=False, metrics=("coherence", "status")))
    out = tmp_path / "out.jsonl"
    done = headrace("experiments", "export", out, "--json")
    assert done.json["analysis_version"] == "llm-lab-2"
    first = read(out)[0]
    assert (first["status"], first["cost_usd"], first["tags"]) == ("succeeded", None, [])
    assert 0 < first["coherence"] <= 1
    assert 0 < first["score_status"] <= 1


def add_scores(look: Look, version: str, metric: str, where: str) -> None:
    """The responses that meet `where` have scores of a pass."""
    look(
        "INSERT INTO quality_metrics (id, response_id, metric, score, analysis_version)"
        f" SELECT id || :version || :metric, id, :metric, 0.25, :version FROM responses WHERE {where}",
        version=version,
        metric=metric,
    )


def test_what_was_judged_and_measured_has_columns(headrace: Run, database: Engine, look: Look, tmp_path: Path) -> None:
    store_experiment(database, Planted(temperatures=(0.1,), top_ps=(1.0,), repeats=2))
    store_experiment(database, Planted(id="other", temperatures=(0.1,), top_ps=(1.0,), repeats=2))
    out = tmp_path / "out.jsonl"
    plain = headrace("experiments", "export", out, "--json").json
    assert (plain["passes"], set(plain["columns"]) & {"judge", "topic_coherence"}) == ([], set())
    add_scores(look, "judge-1+small", "judge", "id = 'planted/00000'")
    add_scores(look, "headrace-1+e5", "topic_coherence", "true")
    done = headrace("experiments", "export", out, "--json").json
    assert (done["analysis_version"], done["passes"]) == ("headrace-1", ["headrace-1+e5", "judge-1+small"])
    assert done["columns"] == [
        *plain["columns"][: plain["columns"].index("input_tokens")],
        *("judge", "topic_coherence"),
        *plain["columns"][plain["columns"].index("input_tokens") :],
    ]
    rows = {row["response_id"]: row for row in read(out)}
    assert (rows["planted/00000"]["judge"], rows["planted/00001"]["judge"]) == (0.25, None)
    assert {row["topic_coherence"] for row in rows.values()} == {0.25}
    headrace("experiments", "export", out, "--where", "judge<0.5")
    assert ids(out) == ["planted/00000"]
    add_scores(look, "judge-1+large/two", "judge", "id = 'other/00000'")
    headrace("experiments", "export", out)
    rows = {row["response_id"]: row for row in read(out)}
    assert (rows["planted/00000"]["judge/small"], rows["planted/00000"]["judge/large/two"]) == (0.25, None)
    assert (rows["other/00000"]["judge/small"], rows["other/00000"]["judge/large/two"]) == (None, 0.25)
    unclear = headrace("experiments", "export", out, "--where", "judge<0.5")
    assert (unclear.code, "there is nothing called judge" in unclear.reason) == (2, True)
    headrace("experiments", "export", out, "--where", "judge/large/two >= 0.25")
    assert ids(out) == ["other/00000"]
    headrace("experiments", "export", out, "--where", "judge<0.5", "--experiment", "other")
    assert ids(out) == ["other/00000"]
    one = headrace("experiments", "export", out, "--analysis-version", "headrace-1", "--json").json
    assert one["columns"] == plain["columns"]


@given(st.text())
def test_whatever_is_written_as_a_condition_is_read_or_refused(said: str) -> None:
    try:
        found = parse_condition(said)
    except BadInput:
        return
    assert found.operator in said
    assert found.field in said


@given(
    st.from_regex(r"[A-Za-z_][\w]{0,20}", fullmatch=True),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~"]),
    st.from_regex(r"[^\s=<>~!].{0,20}[^\s]", fullmatch=True),
)
def test_a_condition_is_read_as_it_was_meant(field: str, operator: str, value: str) -> None:
    assert parse_condition(f" {field} {operator} {value} ") == Condition(field, operator, value)
