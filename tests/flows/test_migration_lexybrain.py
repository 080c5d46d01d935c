"""The keyword service's requests, responses and feedback become calls and ratings, and its views still answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Look, Run
from tests.flows.older import Records, as_csv, as_json, counts, dump, fill, rows_of

DDL = """
CREATE TABLE lexybrain_requests (id uuid PRIMARY KEY, user_id uuid, prompt text NOT NULL,
    context_json jsonb NOT NULL DEFAULT '{}', requested_at timestamptz NOT NULL DEFAULT now(), insight_type text,
    market text, niche_terms text[]);
CREATE TABLE lexybrain_responses (id uuid PRIMARY KEY, request_id uuid REFERENCES lexybrain_requests ON DELETE CASCADE,
    model_name text, output_json jsonb NOT NULL DEFAULT '{}', generated_at timestamptz NOT NULL DEFAULT now(),
    latency_ms int, success boolean NOT NULL DEFAULT true, tokens_in int, tokens_out int);
CREATE TABLE lexybrain_feedback (id uuid PRIMARY KEY, response_id uuid REFERENCES lexybrain_responses ON DELETE CASCADE,
    user_id uuid, feedback text CHECK (feedback IN ('positive', 'negative', 'neutral')), notes text,
    created_at timestamptz NOT NULL DEFAULT now())
"""
TARGETS = ("llm_requests", "llm_bodies", "feedback")
NOT_COMPARED = ("id", "request_id", "generated_at")
ANN, BEN = (f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "12")
BRIEF = {"niche": "seo", "summary": 'A "quoted" brief', "confidence": 0.75, "risks": []}


def number(kind: int, count: int) -> str:
    return f"{kind:08d}-0000-4000-8000-{count:012d}"


def request(count: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number(1, count),
        "user_id": ANN,
        "prompt": "Write a market brief.\nAs JSON.",
        "context_json": {"market": "us", "niche_terms": ["seo", "long tail"], "keywords": []},
        "requested_at": f"2025-11-08T10:0{count}:00+00:00",
        "insight_type": "market_brief",
        "market": "us",
        "niche_terms": ["seo", "long tail"],
        **more,
    }


def response(count: int, request_count: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number(2, count),
        "request_id": number(1, request_count),
        "model_name": "llama-3-8b",
        "output_json": BRIEF,
        "generated_at": f"2025-11-08T10:0{request_count}:07.5+00:00",
        "latency_ms": 7500,
        "success": True,
        "tokens_in": 300,
        "tokens_out": 120,
        **more,
    }


def feedback(count: int, response_count: int, user: str, said: str | None, minute: int, **more: Any) -> dict[str, Any]:
    given = {"id": number(3, count), "response_id": number(2, response_count), "user_id": user, "feedback": said}
    return {**given, "notes": None, "created_at": f"2025-11-09T10:{minute:02d}:00+00:00", **more}


RECORDS: Records = {
    "lexybrain_requests": [
        request(1),
        request(2, market="de", niche_terms=["a,b"], context_json={"market": "us"}, insight_type="radar"),
        request(3, user_id=None, market=None, niche_terms=None, context_json={}),
    ],
    "lexybrain_responses": [response(1, 1), response(2, 2, model_name="llama-3-8b", latency_ms=500)],
    "lexybrain_feedback": [
        feedback(1, 1, ANN, "negative", 5),
        feedback(2, 1, ANN, "positive", 9, notes="better"),
        feedback(3, 1, ANN, "neutral", 7),
        feedback(4, 1, BEN, None, 1, notes="only words"),
        feedback(5, 2, ANN, "negative", 1),
    ],
}


def source_in(form: str, folder: Path, url: str, records: Records) -> Path | str:
    """The records in one of the forms in which they may come."""
    if form in ("url", "dump"):
        filled = fill(url, DDL, records)
        return filled if form == "url" else dump(url, folder / "dump.sql")
    return as_csv(folder / "csv", records) if form == "csv" else as_json(folder / "json", records)


@pytest.mark.parametrize("form", ["csv", "json", "dump", "url"])
def test_the_views_show_what_was_migrated_under_the_ids_that_applications_know(
    headrace: Run, look: Look, tmp_path: Path, empty_database_url: str, form: str
) -> None:
    source = source_in(form, tmp_path, empty_database_url, RECORDS)
    before = rows_of(look, *TARGETS)
    done = headrace("migrate", "lexybrain", source, "--json", "--bare")
    assert done.code == 0, done.err
    assert counts(done.json, "read", "rejected", "inserted") == {
        "requests": (3, 0, 3),
        "responses": (0, 0, 0),  # each stands with its request
        "feedback": (5, 2, 3),
    }
    rows = {str(row["id"]): row for row in look("SELECT * FROM lexybrain_requests")}
    for given in RECORDS["lexybrain_requests"]:
        found = rows[given["id"]]
        assert {name: found[name] for name in ("user_id", "prompt", "context_json", "insight_type", "market")} == {
            name: given[name] for name in ("user_id", "prompt", "context_json", "insight_type", "market")
        }
        assert found["niche_terms"] == given["niche_terms"]
        assert found["requested_at"].isoformat() == given["requested_at"]
    answers = {str(row["id"]): row for row in look("SELECT * FROM lexybrain_responses")}
    assert set(answers) == {number(2, 1), number(2, 2)}
    assert str(answers[number(2, 1)]["request_id"]) == number(1, 1)
    assert {
        name: answers[number(2, 1)][name]
        for name in ("model_name", "output_json", "latency_ms", "success", "tokens_in", "tokens_out")
    } == {name: RECORDS["lexybrain_responses"][0][name] for name in response(1, 1) if name not in NOT_COMPARED}
    said = look("SELECT id, response_id, user_id, feedback, notes FROM lexybrain_feedback ORDER BY id")
    assert [tuple(map(str, row.values())) for row in said] == [
        (number(3, 2), number(2, 1), ANN, "positive", "better"),
        (number(3, 4), number(2, 1), BEN, "neutral", "only words"),
        (number(3, 5), number(2, 2), ANN, "negative", "None"),
    ]
    training = look("SELECT request_id, response_id, feedback FROM lexybrain_training_data ORDER BY 1, 3")
    assert [tuple(map(str, row.values())) for row in training] == [
        (number(1, 1), number(2, 1), "positive"),  # of who asked; others have other opinions
        (number(1, 2), number(2, 2), "negative"),
        (number(1, 3), "None", "None"),
    ]
    (told,) = look(
        "SELECT * FROM get_lexybrain_feedback_stats('2025-11-01', '2025-12-01') WHERE insight_type = 'market_brief'"
    )
    assert (told["total_requests"], told["total_responses"], told["avg_latency_ms"]) == (2, 1, 7500)
    assert (told["total_feedback"], told["positive_feedback"], told["neutral_feedback"]) == (2, 1, 1)

    loaded = rows_of(look, *TARGETS)
    again = headrace("migrate", "lexybrain", source, "--json", "--bare")
    assert again.code == 0, again.err
    assert set(counts(again.json, "inserted", "updated", "gone").values()) == {(0, 0, 0)}
    assert rows_of(look, *TARGETS) == loaded
    assert headrace("rollback", done.json["run_id"], "--bare").code == 0
    assert rows_of(look, *TARGETS) == before


def test_estimates_are_marked_and_what_was_spent_is_not_known(headrace: Run, look: Look, tmp_path: Path) -> None:
    done = headrace("migrate", "lexybrain", as_json(tmp_path / "json", RECORDS), "--json", "--bare")
    assert done.code == 0, done.err
    calls = look(
        "SELECT status, model_version, cost_usd, cost_source, attributes FROM llm_requests ORDER BY created_at"
    )
    assert [call["status"] for call in calls] == ["succeeded", "succeeded", "unknown"]
    assert calls[0]["attributes"] == {
        "lexybrain_request_id": number(1, 1),
        "lexybrain_response_id": number(2, 1),
        "tokens_estimated": "characters / 4",
    }
    assert calls[1]["attributes"]["niche_terms"] == ["a,b"]
    assert {(call["cost_usd"], call["cost_source"]) for call in calls} == {(None, "unpriced")}
    assert look("SELECT * FROM budget_usage") == []
    told = {each["table"]: " ".join(each["conversions"]) for each in done.json["tables"]}
    assert "characters / 4" in told["requests"]
    assert "it is neutral" in told["feedback"]


def test_what_does_not_fit_is_rejected_by_name(headrace: Run, look: Look, tmp_path: Path) -> None:
    records = {
        "lexybrain_requests": [request(1), request(2, prompt=None), request(3, id="seven")],
        "lexybrain_responses": [
            response(1, 1),
            response(2, 2),
            response(3, 9),
            response(4, 1),
        ],
        "lexybrain_feedback": [
            feedback(1, 1, ANN, "superb", 1),
            feedback(2, 2, ANN, "positive", 1),
            feedback(3, 4, ANN, "positive", 1),
            feedback(4, 1, BEN, "negative", 1),
            feedback(5, 1, BEN, "positive", 2),
        ],
    }
    done = headrace("migrate", "lexybrain", as_json(tmp_path / "json", records), "--json", "--bare")
    assert done.code == 0, done.err
    reasons = look("SELECT rule, reason FROM migration_rejects ORDER BY id")
    assert [(row["rule"], row["reason"]) for row in reasons[:-1]] == [
        ("requests.record", "record: Value error, prompt is no text"),
        ("requests.record", "record: Value error, id is no UUID"),
        ("responses.record", "record: Value error, request_id is in no requests"),
        ("responses.record", "record: Value error, its request has another response"),
        ("feedback.feedback", "feedback: Input should be 'positive', 'negative' or 'neutral'"),
        ("feedback.record", "record: Value error, response_id is in no responses that were loaded"),
        (
            "feedback.record",
            f"record: Value error, the same person's later feedback {number(3, 5)} replaces it",
        ),
    ]
    assert reasons[-1]["rule"] == "feedback.response_id"  # its request was rejected
    assert counts(done.json, "rejected", "inserted") == {"requests": (2, 1), "responses": (2, 0), "feedback": (4, 1)}


def test_later_feedback_replaces_what_was_loaded_and_a_rollback_brings_it_back(
    headrace: Run, look: Look, tmp_path: Path
) -> None:
    records = {**RECORDS, "lexybrain_feedback": RECORDS["lexybrain_feedback"][:1]}
    headrace("migrate", "lexybrain", as_json(tmp_path / "json", records), "--bare")
    loaded = rows_of(look, *TARGETS)
    changed = headrace("migrate", "lexybrain", as_json(tmp_path / "json", RECORDS), "--prune", "--json", "--bare")
    assert changed.code == 0, changed.err
    assert counts(changed.json, "inserted", "updated", "pruned")["feedback"] == (2, 1, 0)
    mine = "SELECT id, feedback FROM lexybrain_feedback WHERE user_id = :user AND response_id = :response"
    (said,) = look(mine, user=ANN, response=number(2, 1))
    assert (str(said["id"]), said["feedback"]) == (number(3, 2), "positive")
    assert headrace("rollback", changed.json["run_id"], "--bare").code == 0
    assert rows_of(look, *TARGETS) == loaded


def test_calls_are_not_gone_where_the_source_has_no_requests(headrace: Run, look: Look, tmp_path: Path) -> None:
    headrace("migrate", "lexybrain", as_json(tmp_path / "whole", RECORDS), "--bare")
    loaded = rows_of(look, *TARGETS)
    responses = as_json(tmp_path / "responses", {"lexybrain_responses": RECORDS["lexybrain_responses"]})
    done = headrace("migrate", "lexybrain", responses, "--prune", "--json", "--bare")
    assert done.code == 0, done.err
    assert counts(done.json, "read", "rejected", "gone", "pruned") == {"responses": (2, 2, 0, 0)}
    assert rows_of(look, *TARGETS) == loaded


def test_requests_without_their_responses_are_refused(headrace: Run, look: Look, tmp_path: Path) -> None:
    headrace("migrate", "lexybrain", as_json(tmp_path / "whole", RECORDS), "--bare")
    loaded = rows_of(look, *TARGETS)
    requests = as_json(tmp_path / "requests", {"lexybrain_requests": RECORDS["lexybrain_requests"]})
    refused = headrace("migrate", "lexybrain", requests, "--bare")
    assert (refused.code, "has requests and no responses" in refused.err) == (2, True)
    assert rows_of(look, *TARGETS) == loaded
    nobody = as_json(
        tmp_path / "nobody", {"lexybrain_requests": RECORDS["lexybrain_requests"], "lexybrain_responses": []}
    )
    assert headrace("migrate", "lexybrain", nobody, "--dry-run", "--bare").code == 0


def test_a_call_is_not_pruned_with_the_feedback_that_an_application_took_on_it(
    headrace: Run, look: Look, tmp_path: Path
) -> None:
    records = {**RECORDS, "lexybrain_feedback": RECORDS["lexybrain_feedback"][4:]}
    headrace("migrate", "lexybrain", as_json(tmp_path / "json", records), "--bare")
    (call,) = look(
        "SELECT id FROM llm_requests WHERE attributes ->> 'lexybrain_request_id' = :request", request=number(1, 3)
    )
    look(
        "INSERT INTO feedback (id, response_id, user_id, rating, created_at, updated_at) "
        "VALUES (:id, :call, 'cy', 'positive', now(), now())",
        id=number(4, 1),
        call=call["id"],
    )
    fewer = {**records, "lexybrain_requests": records["lexybrain_requests"][1:2]}
    done = headrace("migrate", "lexybrain", as_json(tmp_path / "fewer", fewer), "--prune", "--json", "--bare")
    assert done.code == 0, done.err
    assert counts(done.json, "gone", "pruned")["requests"] == (2, 1)
    (staying,) = next(each["staying"] for each in done.json["tables"] if each["table"] == "requests")
    assert (staying["samples"], staying["referred_by"], staying["referring"]) == (
        [str(call["id"])],
        "feedback",
        [number(4, 1)],
    )
    assert look("SELECT rating FROM feedback WHERE user_id = 'cy'") == [{"rating": "positive"}]
