"""`headrace ask`, `chat`, `threads` and `conversations`, over real rows and a scripted model."""

from __future__ import annotations

import json
import os
import pty
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from flows import answering
from flows.answering import answer_question
from flows.answering_presentation import as_markdown
from flows.running import run_flow
from flows.spoken_lines import split_lines
from schemas.answering import AnswerReport
from schemas.errors import BadInput
from schemas.settings import Settings
from tests.flows.conftest import Look, Run
from tests.scripted_provider import ScriptedProvider
from tests.tasks.answering.conftest import Tutor, search_rows
from tests.tasks.answering.conftest import school as school

PROJECT = Path(__file__).parents[2]
CLAIM = (1, "limit of the difference quotient", "It is a limit.")


@pytest.fixture
def tutor() -> Tutor:
    """The model behind the provider."""
    return Tutor([CLAIM])


@pytest.fixture
def provider(tutor: Tutor) -> Iterator[ScriptedProvider]:
    """A provider of the tutor's answers."""
    with ScriptedProvider(tutor) as server:
        yield server


@pytest.fixture(autouse=True)
def searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are found by the words they share with the question."""
    monkeypatch.setattr(answering, "retrieval", lambda: search_rows)


def test_ask_shows_the_answer_with_what_it_cites(school: Engine, headrace: Run) -> None:
    done = headrace("ask", "difference quotient?", "--course", "MATH 221", "--bare")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "It is a limit. [1]"
    assert lines[2].startswith("[1] Derivatives (math, lecture, week 3; m-derivative, characters ")
    assert lines[3] == "    > limit of the difference quotient"
    assert lines[5] == "Confidence 75 (high): support 1.00, strength 1.00, agreement 0.50"
    assert "1 passages" not in done.err


def test_ask_as_json_is_a_run_with_its_answer(school: Engine, headrace: Run, look: Look) -> None:
    done = headrace("ask", "difference quotient?", "--user", "ada", "--json", "--bare")
    assert (done.code, done.json["status"]) == (0, "completed")
    answer = done.json["answer"]
    assert answer["citations"][0]["material_id"] == "m-derivative"
    assert look("SELECT id, user_id, answered FROM ai_answers") == [
        {"id": done.json["run_id"], "user_id": "ada", "answered": True}
    ]
    (run,) = look("SELECT flow, status, subject, result FROM runs")
    assert (run["flow"], run["status"], run["subject"]) == ("answer-question", "completed", "difference quotient?")
    assert [row["name"] for row in look("SELECT name FROM steps")] == ["answer"]


def test_ask_says_which_courses_it_looked_in_and_why(school: Engine, headrace: Run, tutor: Tutor) -> None:
    named = headrace("ask", "In MATH 221, what of the derivative office?", "--bare")
    assert "safe" not in tutor.last["user"]
    looked_in = "Looked in MATH 221 (the question names it, 1 of the 3 best passages); --everywhere looks in all"
    assert looked_in in named.out.splitlines()
    everywhere = headrace("ask", "In MATH 221, what of the derivative office?", "--everywhere", "--bare")
    assert "safe" in tutor.last["user"]
    assert "Looked" not in everywhere.out
    found = headrace("ask", "Where is the derivative office?", "--json", "--bare").json["answer"]
    assert found["narrowed"]
    assert {each["course_id"]: each["because"] for each in found["proposed"]} == {
        "physics": ["1 of the 4 best passages"],
        "math": ["2 of the 4 best passages"],
        "cs": ["1 of the 4 best passages"],
    }
    chosen = headrace("ask", "difference quotient?", "--course", "MATH 221", "--json", "--bare").json["answer"]
    assert (chosen["proposed"], chosen["narrowed"]) == ([], False)


def test_a_question_that_no_model_could_answer_is_resumed(
    school: Engine, headrace: Run, provider: ScriptedProvider, tutor: Tutor, look: Look
) -> None:
    tutor.claims = [CLAIM] * 9
    failed = headrace("ask", "difference quotient?", "--json", "--bare")
    assert (failed.code, failed.json["error"]["code"]) == (1, "answer_rejected")
    tutor.claims = [CLAIM]
    look("DELETE FROM answers")  # what did not fit would be replayed
    done = headrace("resume", failed.json["run_id"], "--json", "--bare")
    assert (done.code, done.json["run_id"]) == (0, failed.json["run_id"])
    again = headrace("resume", failed.json["run_id"], "--json", "--bare")
    assert again.json["answer"]["text"] == done.json["answer"]["text"]
    assert look("SELECT count(*) AS answers FROM ai_answers") == [{"answers": 1}]


def test_what_is_asked_of_nobody_and_nowhere_is_bad_input(school: Engine, headrace: Run) -> None:
    for arguments, reason in (
        (("ask", " "), "there is no question"),
        (("ask", "?? — 🙂"), "the question has neither a letter nor a digit"),
        (("ask", "Why?", "--tokens", "9"), "at least 1 material and 100 tokens"),
        (("ask", "Why?", "--course", "art"), "there is no course art"),
        (("threads", "answer", "nowhere"), "there is no thread nowhere"),
        (("threads", "answer", "nowhere", "Because."), "say with --user who answers"),
        (("chat", "--fact", "state"), "a fact is written NAME=VALUE"),
    ):
        done = headrace(*arguments)
        assert (done.code, done.out) == (2, "")
        assert reason in done.reason


def test_a_thread_is_asked_answered_and_resolved_from_the_shell(school: Engine, headrace: Run) -> None:
    asked = headrace("threads", "ask", "math", "difference quotient?", "--user", "ada", "--tag", "limits", "--json")
    thread = asked.json["thread"]["id"]
    answered = headrace("threads", "answer", thread, "--json", "--bare")
    assert answered.json["answer"]["thread_id"] == thread
    assert headrace("threads", "answer", thread, "Thanks", "--user", "ada").code == 0
    shown = headrace("threads", "show", thread, "--user", "tess")
    assert "difference quotient? (answered, tags limits)" in shown.out
    assert "confidence 75 (high):\nIt is a limit. [1]\n[1] Derivatives (m-derivative): limit of" in shown.out
    assert "Thanks" in shown.out
    updated = headrace("threads", "update", thread, "--status", "resolved", "--no-tags", "--json")
    assert (updated.json["thread"]["status"], updated.json["thread"]["tags"]) == ("resolved", [])
    listed = headrace("threads", "list", "--status", "resolved", "--json")
    assert [row["id"] for row in listed.json["rows"]] == [thread]
    assert thread in headrace("threads", "list").out
    assert headrace("threads", "list", "--user", "bob", "--json").json["rows"] == []


def test_chat_answers_each_line_of_a_pipe_and_goes_on_later(school: Engine, headrace: Run, tutor: Tutor) -> None:
    done = headrace("chat", "--user", "ada", "--course", "math", "--bare", "--json", stdin=b"Hello\nAnd so?")
    assert (done.code, done.json["status"], done.json["refused"]) == (0, "completed", [])
    assert [turn["question"] for turn in done.json["turns"]] == ["Hello", "And so?"]
    conversation = done.json["conversation_id"]
    assert f"`headrace chat --conversation {conversation}` goes on with it" in done.err
    more = headrace("chat", "--conversation", conversation, "--bare", stdin="Schön!\n".encode())
    assert (more.code, more.out) == (0, "reply 3\n")
    assert [message["content"] for message in tutor.requests[-1]["messages"]][1::2] == ["Hello", "And so?", "Schön!"]
    shown = headrace("conversations", "show", conversation, "--user", "ada")
    assert "assistant" in shown.out
    assert "Schön!" in shown.out
    assert headrace("conversations", "show", conversation, "--json").json["conversation"]["message_count"] == 6
    assert conversation in headrace("conversations", "list").out
    assert headrace("conversations", "list", "--user", "bob", "--json").json["rows"] == []
    converted = headrace("threads", "convert", conversation, "--tag", "hello", "--json")
    assert converted.json["thread"]["content"].startswith("**You:** Hello\n\n**Quokka:** reply 1")


BAD_LINES = {
    b"": "is empty",
    b" \t\xc2\xa0": "is empty",
    b"caf\xe9": "is not UTF-8",
    b"a\0b": "has a NUL in it",
    b"x" * 8_001: "has 8,001 characters; at most 8,000 can be said at once",
    "é".encode() * 1_000_000: "is too long; at most 8,000 characters can be said at once",
}


def test_a_bad_line_of_a_pipe_gets_its_sentence_and_the_others_are_answered(
    school: Engine, headrace: Run, tutor: Tutor
) -> None:
    lines = [b"Hello", *BAD_LINES, "é".encode() * 8_000, b"And so?"]
    done = headrace("chat", "--user", "ada", "--bare", stdin=b"\r\n".join(lines))
    said = [line for line in done.err.splitlines() if line.startswith("headrace: ")]
    assert said == [f"headrace: line {number} {reason}" for number, reason in enumerate(BAD_LINES.values(), start=2)]
    assert (done.code, done.out.splitlines()) == (1, ["reply 1", "reply 2", "reply 3"])
    assert tutor.last["user"] == "And so?"
    found = headrace("chat", "--user", "ada", "--bare", "--json", stdin=b"\n\nHello\n").json
    assert (found["status"], len(found["turns"])) == ("failed", 1)
    assert found["refused"] == [{"line": number, "reason": f"line {number} is empty"} for number in (1, 2)]


@given(st.lists(st.binary(max_size=40)), st.integers(1, 50))
def test_lines_are_the_same_however_they_arrive(lines: list[bytes], size: int) -> None:
    written = b"\n".join(lines)
    pieces = iter([written[start : start + size] for start in range(0, len(written), size)])
    expected = written.split(b"\n")
    assert list(split_lines(pieces)) == (expected if expected[-1] else expected[:-1])


def test_nothing_said_is_nothing_done(school: Engine, headrace: Run, look: Look) -> None:
    done = headrace("chat", "--bare", "--json")
    assert (done.code, done.json["conversation_id"], done.json["turns"]) == (0, None, [])
    assert look("SELECT * FROM ai_conversations") == []


def test_a_page_has_its_conversation_and_its_facts(school: Engine, headrace: Run, tutor: Tutor) -> None:
    page = ("chat", "--user", "ada", "--page", "tax_planning", "--bare", "--json")
    first = headrace(*page, "--fact", "state=NY", stdin=b"Hello\n")
    assert "state: NY" in tutor.last["user"]
    assert headrace(*page, stdin=b"Again\n").json["conversation_id"] == first.json["conversation_id"]
    assert headrace(*page, "--new", stdin=b"Anew\n").json["conversation_id"] != first.json["conversation_id"]
    refused = headrace(*page, "--fact", "salary=3", stdin=b"Hello\n")
    assert (refused.code, refused.json["error"]["code"]) == (2, "bad_input")


def test_old_messages_are_cleaned_up_from_the_shell(school: Engine, headrace: Run, look: Look) -> None:
    headrace("chat", "--user", "ada", "--bare", stdin=b"Hello\n")
    look("UPDATE ai_messages SET created_at = created_at - interval '91 days'")
    assert headrace("conversations", "clean", "--bare").out == "2 messages older than 90 days are gone\n"
    assert headrace("conversations", "clean", "--bare", "--json").json["messages"] == 0


async def test_a_question_of_signs_alone_begins_nothing(school: Engine, settings: Settings, look: Look) -> None:
    with pytest.raises(BadInput, match="neither a letter nor a digit"):
        await run_flow(answer_question, {"question": "¿?!"}, bare=True)
    assert look("SELECT 1 FROM runs") == look("SELECT 1 FROM llm_requests") == []


async def test_a_thread_names_its_question_and_its_course(school: Engine, settings: Settings) -> None:
    with pytest.raises(BadInput, match="name no others"):
        await run_flow(answer_question, {"thread": "t", "courses": ["math"]}, bare=True)


async def test_the_page_of_an_answer_quotes_without_letting_markup_through(school: Engine, settings: Settings) -> None:
    report: AnswerReport = await run_flow(
        answer_question, {"question": "<b>difference</b> quotient?", "courses": ["math"]}, bare=True
    )
    page = as_markdown(report.answer)
    assert page.startswith(
        "# &lt;b>difference&lt;/b> quotient?\n\nIt is a limit. \\[1\\]\n\n**[1]** Derivatives (math, lecture"
    )
    assert "\n> limit of the difference quotient\n" in page
    said = report.answer.model_copy(update={"text": "![x](http://a.b/c) <img src=x>", "question": "1. *Why*\n# so?"})
    page = as_markdown(said)
    assert page.startswith("# 1\\. \\*Why\\* # so?\n\n\\!\\[x\\](http://a.b/c) &lt;img src=x>\n\n")


async def test_the_page_of_an_answer_says_where_was_looked(school: Engine, settings: Settings) -> None:
    report = await run_flow(answer_question, {"question": "In MATH 221, what of the difference quotient?"}, bare=True)
    ((place, line),) = [each for each in enumerate(as_markdown(report.answer).split("\n")) if "Looked" in each[1]]
    where = "Looked in MATH 221 (the question names it, 1 of the 1 best passages)"
    assert line == f"{where}; the parameter everywhere looks in all"
    assert "---" in as_markdown(report.answer).split("\n")[:place]


def test_the_flows_are_deployments() -> None:
    deployed = {each["name"]: each for each in yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]}
    assert deployed["answer-question"]["entrypoint"] == "flows/answering.py:answer_question"
    assert deployed["clean-conversations"]["schedules"][0]["cron"]


CHAT = "from flows.command_line import main; main()"


class Terminal:
    """`headrace chat` on a terminal."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:  # pragma: no cover - another process
            os.chdir(PROJECT)
            os.execv(sys.executable, [sys.executable, "-c", CHAT, "chat", "--bare", *arguments])
        self.seen = ""

    def wait_for(self, wanted: str) -> None:
        """`wanted` has been shown since the last time."""
        while wanted not in self.seen:
            assert select.select([self.master], [], [], 60)[0], f"{wanted!r} was not shown: {self.seen}"
            self.seen += os.read(self.master, 65536).decode()
        self.seen = self.seen.partition(wanted)[2]

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        """Its exit code."""
        try:
            while piece := os.read(self.master, 65536):
                self.seen += piece.decode()
        except OSError:  # the other side is closed
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize(("keys", "code"), [(b"\x04", 0), (b"\x03", 130)])
def test_the_end_of_input_and_ctrl_c_end_a_conversation_in_order(
    school: Engine, settings: Settings, look: Look, keys: bytes, code: int
) -> None:
    terminal = Terminal("--user", "ada")
    terminal.wait_for("you> ")
    terminal.type(b"Hello\n")
    terminal.wait_for("reply 1")
    terminal.wait_for("you> ")
    terminal.type(keys)
    assert terminal.end() == code
    (conversation,) = look("SELECT id, message_count FROM ai_conversations")
    assert conversation["message_count"] == 2
    assert f"`headrace chat --conversation {conversation['id']}` goes on with it" in terminal.seen


def test_a_turn_that_fails_on_a_terminal_is_said_and_the_next_is_answered(
    school: Engine, settings: Settings, tutor: Tutor
) -> None:
    tutor.says = [""]
    terminal = Terminal("--user", "ada")
    terminal.wait_for("you> ")
    terminal.type(b"Hello\n")
    terminal.wait_for("replied with nothing")
    terminal.wait_for("you> ")
    terminal.type(b"Hello?\n")
    terminal.wait_for("reply 2")
    terminal.type(b"\x04")
    assert terminal.end() == 0
    assert json.dumps(tutor.last["user"]) == '"Hello?"'
