"""Feedback by command, in bulk, and read back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from flows.feedback_recording import record_feedback
from flows.running import run_flow
from schemas.errors import BadInput
from schemas.settings import Settings
from tasks.ledger import complete
from tasks.ledger.feedback_files import give_feedback_of
from tests.flows.conftest import Look, Run
from tests.flows.ledger_calls import Calls
from tests.scripted_provider import ScriptedProvider


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """A provider of answers that do not matter."""
    with ScriptedProvider() as server:
        yield server


@pytest.fixture
def response(settings: Settings) -> UUID:
    """The id that came with an answer given to ada."""
    return asyncio.run(complete("Why?", model="gpt-4o-mini", user="ada")).request_id


def test_feedback_is_given_replaced_and_read_back(headrace: Run, look: Look, response: UUID) -> None:
    said = ("--note", "too long", "--category", "tone", "--category", "length", "--correction", "Because.")
    first = headrace("feedback", response, "negative", *said, "--bare")
    assert first.out == f"feedback of ada on {response}: negative (length, tone), with a correction\n"
    shown = headrace("feedback", "show", response, "--json").json["feedback"]
    assert [(row["rating"], row["categories"], row["notes"], row["correction"]) for row in shown] == [
        ("negative", ["length", "tone"], "too long", "Because.")
    ]
    given = headrace("feedback", response, "neutral", "--bare", "--json").json
    assert (given["status"], given["rating"], given["correction"]) == ("completed", "neutral", None)
    assert "neutral" in headrace("feedback", "show", "--user", "ada").out
    assert len(look("SELECT * FROM feedback")) == 1


def test_feedback_on_no_response_is_an_error_and_none_on_a_response_is_not(headrace: Run, response: UUID) -> None:
    missing = uuid4()
    unknown = headrace("feedback", "show", missing)
    assert (unknown.code, unknown.reason) == (2, f"headrace: there is no response {missing}")
    assert headrace("feedback", "show", missing, "--user", "ada", "--json").json["error"]["code"] == "not_found"
    assert headrace("feedback", "show", response, "--json").json["feedback"] == []
    assert headrace("feedback", "show", response, "--user", "bob").code == 0


def test_what_was_said_is_shown_as_it_is_and_no_terminal_obeys_it(headrace: Run, response: UUID) -> None:
    said = "[/b] [red]not\x1b[2J clear"
    assert headrace("feedback", response, "negative", "--note", said, "--bare").code == 0
    shown = headrace("feedback", "show", response)
    assert (shown.code, "[/b] [red]not\\x1b[2J clear" in " ".join(shown.out.split())) == (0, True)


def test_another_s_response_is_refused(headrace: Run, look: Look, response: UUID) -> None:
    refused = headrace("feedback", response, "positive", "--user", "bob", "--bare")
    assert (refused.code, refused.reason) == (2, f"headrace: response {response} is not bob's to rate")
    assert (
        headrace("feedback", response).reason == "headrace: feedback needs a RESPONSE and a RATING, or --from FILE.csv"
    )
    assert look("SELECT * FROM feedback") == []


def test_a_file_s_good_rows_are_recorded_and_its_bad_ones_named(
    headrace: Run, look: Look, response: UUID, tmp_path: Path
) -> None:
    missing = uuid4()
    file = tmp_path / "said.csv"
    file.write_text(
        "\ufeffresponse,rating,user,categories,notes,correction\n"
        f'{response},negative,ada,tone;length,"two\nlines",Because.\n'
        f"{missing},positive,,,,\n{response},great,,,,\n{response},positive,bob,,,\nno id,positive,,,,\n"
        f"{response},positive,ada,,,,more\n"
    )
    done = headrace("feedback", "--from", file, "--bare", "--json")
    assert (done.code, done.json["status"], done.json["recorded"]) == (1, "failed", 1)
    rejected = {row["row"]: row["reason"] for row in done.json["rejected"]}
    assert list(rejected) == [4, 5, 6, 7, 8]
    assert rejected[4] == f"there is no response {missing}"
    assert rejected[5].startswith("rating: Input should be 'positive', 'negative' or 'neutral'")
    assert rejected[6] == f"response {response} is not bob's to rate"
    assert rejected[7].startswith("response: Input should be a valid UUID")
    assert rejected[8].startswith("fields without a column: ")
    assert look("SELECT rating, categories, notes, correction FROM feedback") == [
        {"rating": "negative", "categories": ["length", "tone"], "notes": "two\nlines", "correction": "Because."}
    ]
    file.write_text(f"response,rating\n{response},positive\n")
    assert headrace("feedback", "--from", file, "--bare").out == "1 recorded, 0 rejected\n"
    assert [row["rating"] for row in look("SELECT rating FROM feedback")] == ["positive"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"rating\npositive\n", "has no column response: it needs response and rating"),
        (b"response,rating,mood\n", "has an unknown column mood"),
        (b"", "has no column response, rating"),
        (b"response,rating\n\xff,positive\n", "is no CSV file in UTF-8"),
        (b'response,rating\n"a"b,positive\n', "is no CSV file in UTF-8"),
        (b"response,rating,rating\n", "has a column twice: rating"),
    ],
)
def test_what_is_no_such_file_is_bad_input(headrace: Run, tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "said.csv"
    file.write_bytes(content)
    done = headrace("feedback", "--from", file, "--bare")
    assert done.code == 2
    assert reason in done.reason
    assert "cannot be read" in headrace("feedback", "--from", tmp_path / "none.csv", "--bare").reason


def test_nothing_is_recorded_of_a_file_that_breaks_off_and_empty_lines_are_none(
    headrace: Run, look: Look, response: UUID, tmp_path: Path
) -> None:
    file = tmp_path / "said.csv"
    file.write_text(f'response,rating,notes\n{response},positive,\n{response},negative,"never clo')
    refused = headrace("feedback", "--from", file, "--bare")
    assert (refused.code, "is no CSV file in UTF-8" in refused.reason) == (2, True)
    assert look("SELECT * FROM feedback") == []
    file.write_text(f"response,rating,notes\n,,\n{response},positive,\n\n,,\n")
    assert headrace("feedback", "--from", file, "--bare").out == "1 recorded, 0 rejected\n"
    mixed = headrace("feedback", "--from", file, "--note", "why", "--bare")
    assert (mixed.code, "beside it, only a user can be given" in mixed.reason) == (2, True)


def test_a_name_that_cannot_be_stored_is_bad_input(headrace: Run, settings: Settings) -> None:
    nobody_s = asyncio.run(complete("Why?", model="gpt-4o-mini")).request_id
    refused = headrace("feedback", nobody_s, "positive", "--user", "ada\0", "--bare")
    assert (refused.code, "has a NUL" in refused.reason) == (2, True)


async def test_the_flow_takes_a_response_or_a_file(settings: Settings) -> None:
    with pytest.raises(BadInput, match="give a response and its rating, or a file with many"):
        await run_flow(record_feedback, {"user": "ada"}, bare=True)


def calls_of(database: Engine, count: int, user: str | None = "ada") -> list[UUID]:
    """Ids of answered calls."""
    calls = Calls(database)
    made = [calls.add(f"Question {number}?", "Answer.") for number in range(count)]
    with database.begin() as connection:
        connection.execute(text("UPDATE llm_requests SET user_id = :user"), {"user": user})
    return made


def test_bad_lines_of_a_long_file_are_named_and_the_file_can_be_given_again(
    headrace: Run, database: Engine, look: Look, tmp_path: Path
) -> None:
    made = calls_of(database, 1201)
    said = ["positive", "negative", "neutral"]
    lines = [f"{call},{said[number % 3]},ada" for number, call in enumerate(made)]
    missing = uuid4()
    for place, bad in ((0, f"{missing},positive,ada"), (499, f"{made[499]},positive,bob"), (500, "none,positive,ada")):
        lines[place] = bad
    lines.append(f"{made[1]},positive,ada")  # said a second time, in another transaction
    lines.append(f"{made[1200]},negative,ada")  # and in the same one
    file = tmp_path / "said.csv"
    file.write_text("response,rating,user\n" + "\n".join(lines) + "\n")
    counts = []
    for _ in range(2):
        done = headrace("feedback", "--from", file, "--bare", "--json")
        assert (done.code, done.json["recorded"]) == (1, 1200)
        assert [(row["row"], row["reason"].split(":")[0]) for row in done.json["rejected"]] == [
            (2, f"there is no response {missing}"),
            (501, f"response {made[499]} is not bob's to rate"),
            (502, "response"),
        ]
        rows = {row["response_id"]: row["rating"] for row in look("SELECT response_id, rating FROM feedback")}
        counts.append(len(rows))
        assert (rows[made[1]], rows[made[1200]], rows[made[2]]) == ("positive", "negative", "neutral")
    assert counts == [1198, 1198]


def test_what_postgres_refuses_of_a_line_keeps_back_no_line_before_it(
    settings: Settings, database: Engine, look: Look, tmp_path: Path
) -> None:
    made = calls_of(database, 3, user=None)
    endless = "".join(chr(0x4E00 + place * 37 % 20_000) for place in range(9_000))  # longer than an index may have it
    file = tmp_path / "said.csv"
    file.write_text(
        f"response,rating,user\n{made[0]},positive,ada\n{made[1]},positive,{endless}\n{made[2]},positive,\n"
    )
    with pytest.raises(DBAPIError, match="index row"):
        asyncio.run(give_feedback_of(file))
    assert [row["response_id"] for row in look("SELECT response_id FROM feedback")] == [made[0]]


def test_lines_of_a_pipe_before_it_breaks_off_are_recorded(
    settings: Settings, database: Engine, look: Look, tmp_path: Path
) -> None:
    (made,) = calls_of(database, 1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = Thread(target=pipe.write_text, args=(f'response,rating\n{made},positive\n{made},negative,"never clo',))
    writing.start()
    with pytest.raises(BadInput, match="is no CSV file"):
        asyncio.run(give_feedback_of(pipe))
    writing.join()
    assert look("SELECT rating FROM feedback") == [{"rating": "positive"}]
