"""What goes wrong is said in one sentence, with the exit code for it, and a failed run where one had begun."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.conftest import Environment
from tests.flows.analyst import ScriptedAnalyst
from tests.flows.commands import Done
from tests.flows.conftest import BILL, Look, Run, Start
from tests.scripted_provider import ScriptedProvider

BAD_INPUT, FAILED, BUDGET, INTERRUPTED = 2, 1, 3, 130


def check_reason(done: Done, code: int, *words: str) -> None:
    """The command ended with `code` and one sentence that has `words`."""
    assert done.code == code
    assert done.reason.startswith("headrace: ")
    assert [line for line in done.err.splitlines() if line.startswith("headrace: ")] == [done.reason]
    for word in words:
        assert word in done.reason
    assert "Traceback" not in done.err


def check_failed_run(look: Look, code: str) -> None:
    (run,) = look("SELECT status, error, completed_at IS NOT NULL AS ended FROM runs")
    assert (run["status"], run["error"]["code"], run["ended"]) == ("failed", code, True)


def pdf_without_text() -> bytes:
    """A page with nothing on it, as a scan without its picture."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
    ]
    written, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"xref\n0 4\n0000000000 65535 f \n" + b"".join(places)
    return written + table + b"trailer << /Size 4 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(written)


UNREADABLE = {
    "empty.txt": (b"", "is empty"),
    "blank.txt": (b" \n\n ", "is empty"),
    "scan.pdf": (pdf_without_text(), "has no text layer; run OCR first"),
    "noise.txt": (bytes(range(256)) * 40_000, "is binary"),
    "noise": (b"\x00\x01\x02\x03" * 2_500_000, "is binary"),
    "office.docx": (b"PK\x03\x04" + bytes(100), "a ZIP archive or an Office document"),
    "damaged.pdf": (b"%PDF-1.7\nnothing more", "is a damaged PDF"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_is_no_bill(name: str, tmp_path: Path, headrace: Run, look: Look) -> None:
    content, reason = UNREADABLE[name]
    path = tmp_path / name
    path.write_bytes(content)
    done = headrace("analyze", path, "--bare", "--json")
    check_reason(done, BAD_INPUT, str(path), reason)
    assert (done.json["status"], done.json["error"]["code"]) == ("failed", "bad_input")
    check_failed_run(look, "bad_input")
    assert [{"id": done.json["run_id"]}] == [{"id": str(row["id"])} for row in look("SELECT id FROM runs")]


def test_a_file_that_is_not_there(start: Start, look: Look) -> None:
    done = start("analyze", "nowhere/bill.txt", "--bare").wait()
    check_reason(done, BAD_INPUT, "nowhere/bill.txt does not exist")
    check_failed_run(look, "bad_input")


def test_a_stored_bill_that_is_not_there(headrace: Run, look: Look) -> None:
    check_reason(headrace("analyze", "US/HR 5/117", "--bare"), BAD_INPUT, "no stored bill is called US/HR 5/117")
    check_failed_run(look, "not_found")


def test_a_folder_without_bills(tmp_path: Path, headrace: Run, look: Look) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    check_reason(headrace("analyze", folder, "--bare"), BAD_INPUT, f"no bill in {folder}")
    assert look("SELECT id FROM runs") == []


def test_an_address_that_does_not_answer(headrace: Run, look: Look) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/bill.html"
        check_reason(headrace("analyze", url, "--bare"), BAD_INPUT, url, "cannot be reached")
    check_failed_run(look, "bad_input")


def test_a_model_that_the_provider_does_not_have(
    bill: Path, analyst: ScriptedAnalyst, environment: Environment, headrace: Run, look: Look
) -> None:
    with ScriptedProvider(analyst, models=["gpt-4o-mini"]) as provider:
        environment(OPENAI_BASE_URL=provider.url)
        done = headrace("analyze", bill, "--generate-model", "gpt-17", "--bare")
    check_reason(done, BAD_INPUT, "has no model gpt-17")
    check_failed_run(look, "model_not_found")


def test_a_key_that_the_provider_does_not_accept(
    bill: Path, analyst: ScriptedAnalyst, environment: Environment, headrace: Run, look: Look
) -> None:
    with ScriptedProvider(analyst, api_key="the right one") as provider:
        environment(OPENAI_BASE_URL=provider.url, OPENAI_API_KEY="sk-wrong-and-secret")
        done = headrace("analyze", bill, "--bare", "--json")
    check_reason(done, BAD_INPUT, "does not accept the key in OPENAI_API_KEY")
    assert "sk-wrong-and-secret" not in done.out + done.err + str(look("SELECT * FROM runs, llm_requests"))
    check_failed_run(look, "authentication")


def test_a_provider_that_only_fails(
    bill: Path, analyst: ScriptedAnalyst, environment: Environment, headrace: Run, look: Look
) -> None:
    with ScriptedProvider(analyst, faults={"429": 1.0}) as provider:
        environment(OPENAI_BASE_URL=provider.url, HEADRACE_RETRY_ATTEMPTS=2)
        done = headrace("analyze", bill, "--bare")
    (run,) = look("SELECT id FROM runs")
    check_reason(done, FAILED, "gpt-4o-mini failed 2 times", f"`headrace resume {run['id']}` goes on with it")
    check_failed_run(look, "retries_exhausted")


def test_answers_that_never_fit(bill: Path, analyst: ScriptedAnalyst, headrace: Run, look: Look) -> None:
    analyst.impacts = lambda prompt: [{"section": "nothing else"}]
    done = headrace("analyze", bill, "--bare")
    check_reason(done, FAILED, "gpt-4o-mini did not give a valid DraftAnalysis in 3 rounds")
    check_failed_run(look, "answer_rejected")


def test_a_budget_without_room(bill: Path, headrace: Run, look: Look, provider: ScriptedProvider) -> None:
    assert headrace("budget", "set", "--day", "0.000001").code == 0
    done = headrace("analyze", bill, "--bare", "--json")
    check_reason(done, BUDGET, "the day budget of project 'default' is $0.000001")
    assert done.json["error"]["code"] == "budget_exceeded"
    check_failed_run(look, "budget_exceeded")
    assert provider.log == []


def test_a_prefect_api_that_is_set_and_dead(bill: Path, environment: Environment, headrace: Run, look: Look) -> None:
    environment(PREFECT_API_URL="http://127.0.0.1:9/api")
    done = headrace("analyze", bill)
    check_reason(done, BAD_INPUT, "PREFECT_API_URL is http://127.0.0.1:9/api and no Prefect API answers there")
    assert look("SELECT id FROM runs") == []
    assert headrace("analyze", bill, "--bare").code == 0


def test_a_database_that_cannot_be_reached(bill: Path, environment: Environment, headrace: Run) -> None:
    environment(DATABASE_URL="postgresql://user:hidden-word@127.0.0.1:9/nothing")
    done = headrace("analyze", bill, "--bare", "--json")
    check_reason(done, FAILED, "Postgres is not available")
    assert done.json["error"]["code"] == "database_unavailable"
    assert "hidden-word" not in done.out + done.err


@pytest.mark.parametrize("command", [("analyze", "BILL"), ("runs",), ("budget", "show"), ("resume", "RUN")])
def test_a_database_without_the_schema(
    command: tuple[str, ...], bill: Path, environment: Environment, empty_database_url: str, headrace: Run
) -> None:
    environment(DATABASE_URL=empty_database_url)
    given = {"BILL": str(bill), "RUN": "0198c5a0-0000-7000-8000-000000000000"}
    done = headrace(*(given.get(word, word) for word in command), "--json")
    check_reason(done, BAD_INPUT, "run `headrace db upgrade`")
    assert done.json["error"]["code"] == "configuration"


WRONG_USE = {
    "a number that is none": (("analyze", "BILL", "--max-rounds", "many"), "--max-rounds"),
    "too many rounds": (
        ("analyze", "BILL", "--max-rounds", "6"),
        "max_rounds: Input should be less than",
    ),
    "no queries": (("analyze", "BILL", "--queries", "0"), "queries: Input should be greater than or equal to 1"),
    "an option that is none": (("analyze", "BILL", "--colour"), "there is no option --colour"),
    "no bill": (("analyze",), "analyze needs a bill"),
    "a key for two bills": (("analyze", "BILL", "other.txt", "--bill-id", "HR 5"), "--bill-id is for one bill"),
    "a command that is none": (("analyse", "BILL"), "analyse"),
    "one model to compare": (
        ("compare", "BILL", "--generate", "gpt-4o"),
        "generate: List should have at least 2",
    ),
    "the same model twice": (
        ("compare", "BILL", "--generate", "gpt-4o", "--generate", "gpt-4o"),
        "two different models",
    ),
    "nothing to compare": (("compare", "--generate", "gpt-4o", "--generate", "gpt-4o-mini"), "no bill in nothing"),
    "an amount that is none": (("budget", "set", "--day", "much"), "--day 'much' is no amount of US dollars"),
    "a negative amount": (("budget", "set", "--day=-1"), "is no amount of US dollars"),
    "no amount": (("budget", "set"), "give --day or --month"),
    "an id that is none": (("resume", "the-last-one"), "the-last-one"),
    "a run that is not there": (("resume", "0198c5a0-0000-7000-8000-000000000000"), "there is no run"),
    "no run to look at": (("runs", "0198c5a0-0000-7000-8000-000000000000"), "there is no run"),
}


@pytest.mark.parametrize("case", WRONG_USE)
def test_wrong_use(case: str, bill: Path, headrace: Run, look: Look) -> None:
    arguments, words = WRONG_USE[case]
    bare = [] if arguments[0] in ("budget", "runs", "analyse") else ["--bare"]
    done = headrace(*(str(bill) if word == "BILL" else word for word in arguments), *bare, "--json")
    check_reason(done, BAD_INPUT, words)
    assert done.json["status"] == "failed"
    assert done.json["error"]["message"]
    assert look("SELECT id FROM runs") == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HEADRACE_RETRY_ATTEMPTS", "often", "HEADRACE_RETRY_ATTEMPTS"),
        ("DATABASE_URL", "mysql://somewhere/else", "DATABASE_URL names mysql"),
        ("DATABASE_URL", "nonsense", "DATABASE_URL is not a URL"),
    ],
)
def test_a_setting_that_is_none(
    name: str, value: str, words: str, headrace: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    check_reason(headrace("runs"), BAD_INPUT, words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_cancelled_and_can_be_resumed(
    number: signal.Signals, bill: Path, start: Start, headrace: Run, look: Look, provider: ScriptedProvider
) -> None:
    provider.hold()
    command = start("analyze", bill, "--bare", "--json")
    provider.wait_held(1)
    command.send(number)
    done = command.wait()
    (run,) = look("SELECT id, status, error FROM runs")
    check_reason(done, INTERRUPTED, f"interrupted; `headrace resume {run['id']}` goes on with it")
    assert done.json == {
        "run_id": str(run["id"]),
        "status": "cancelled",
        "error": {"code": "interrupted", "message": "interrupted", "details": {"runs": [str(run["id"])]}},
    }
    assert (run["status"], run["error"]["code"]) == ("cancelled", "cancelled")
    assert [row["status"] for row in look("SELECT status FROM llm_requests")] == ["unknown"]
    provider.release()
    assert headrace("resume", run["id"], "--bare").code == 0
    assert look("SELECT status, error FROM runs") == [{"status": "completed", "error": None}]


def test_an_interrupted_flow_cancels_every_run_in_progress(
    tmp_path: Path, bill: Path, start: Start, look: Look, provider: ScriptedProvider
) -> None:
    other = tmp_path / "other.txt"
    other.write_text(BILL.replace("six", "five"))
    provider.hold()
    command = start("analyze", bill, other, "--bare", "--json")
    provider.wait_held(2)
    command.send(signal.SIGINT)
    done = command.wait()
    assert (done.code, done.json["run_id"]) == (INTERRUPTED, None)
    runs = look("SELECT id, status FROM runs")
    assert [run["status"] for run in runs] == ["cancelled", "cancelled"]
    assert {str(run["id"]) for run in runs} == set(done.json["error"]["details"]["runs"])
    assert all(f"headrace resume {run['id']}" in done.err for run in runs)


def test_a_run_that_is_being_worked_on_is_not_resumed(
    bill: Path, start: Start, headrace: Run, look: Look, provider: ScriptedProvider, tmp_path: Path
) -> None:
    provider.hold()
    command = start("analyze", bill, "--bare")
    provider.wait_held(1)
    (run,) = look("SELECT id FROM runs")
    busy = headrace("resume", run["id"], "--bare")
    provider.release()
    assert command.wait().code == 0
    check_reason(busy, BAD_INPUT, "is being worked on by process")
    assert look("SELECT count(*) AS n FROM run_attempts") == [{"n": 1}]


def test_a_defect_is_reported_as_one(bill: Path, headrace: Run, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.analysis.reading.split_sections", lambda text: 1 / 0)
    done = headrace("analyze", bill, "--bare", "--json")
    assert (done.code, done.json["error"]["code"]) == (FAILED, "internal")
    assert done.reason == "headrace: unexpected ZeroDivisionError; its traceback is above"
    assert "Traceback" in done.err
    check_failed_run(look, "internal")
