"""Insights from keyword figures: written, validated, used again while fresh, under the daily cap."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from flows.insights import generate_insight, read_context
from flows.running import run_flow
from schemas.errors import AnswerRejected, BadInput, BudgetExceeded, ConfigurationError
from schemas.insights import SHAPES, TTL_MINUTES, InsightReport
from schemas.settings import Settings
from tests.conftest import Environment
from tests.flows.conftest import Look, Run
from tests.scripted_provider import Reply, ScriptedProvider

ANSWERS: dict[str, dict[str, Any]] = {
    "MarketBrief": {
        "niche": "wooden shelves",
        "summary": "Demand is rising.",
        "key_metrics": [{"label": "demand", "value": 0.8, "score": 0.8, "interpretation": None}],
        "top_opportunities": [{"term": "oak shelf", "why": "momentum 0.7"}],
        "risks": [{"term": "pine shelf", "why": "competition 0.9"}],
        "actions": ["List an oak shelf."],
        "confidence": 0.6,
    },
    "Radar": {
        "items": [
            {
                "term": "Oak Shelf",
                "scores": dict.fromkeys(("demand", "momentum", "competition", "novelty", "profit"), 0.5),
                "comment": "Steady.",
            }
        ]
    },
    "AdInsight": {
        "budget_split": [
            {"term": "oak shelf", "daily_cents": 400, "expected_cpc_cents": 40, "expected_clicks": 10},
            {"term": "elm shelf", "daily_cents": 100, "expected_cpc_cents": 50, "expected_clicks": 2},
        ],
        "notes": "By opportunity.",
    },
    "RiskReport": {
        "alerts": [
            {
                "term": "pine shelf",
                "issue": "crowded",
                "severity": "high",
                "evidence": "competition 0.9",
                "action": "Avoid it.",
            }
        ]
    },
}
CONTEXT = {
    "market": "US ",
    "niche_terms": ["Oak  shelf", "pine shelf"],
    "keywords": [
        {"term": "pine shelf", "competition_score": 0.9},
        {"term": "Oak shelf", "demand_index": 0.8, "trend_momentum": 0.7},
    ],
    "budget_cents": 500,
    "metadata": {"generated_at": "2025-11-08T10:00:00Z"},
}


def respond(request: dict[str, Any]) -> Reply:
    """The answer of the shape that is asked for, at a price."""
    answer = ANSWERS[request["response_format"]["json_schema"]["name"]]
    return Reply(json.dumps(answer), usage={"prompt_tokens": 400, "completion_tokens": 100, "cost": 0.002})


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """A model that writes insights."""
    with ScriptedProvider(respond) as server:
        yield server


@pytest.fixture(autouse=True)
def no_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's own cap is in the environment."""
    monkeypatch.delenv("LEXYBRAIN_DAILY_COST_CAP", raising=False)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A file with a context."""
    path = tmp_path / "context.json"
    path.write_text(json.dumps(CONTEXT))
    return path


async def make(insight_type: str, **changes: Any) -> InsightReport:
    """The insight of a type, of the context with some of its fields changed."""
    more = {name: changes.pop(name) for name in ("model", "user", "project", "fresh") if name in changes}
    parameters = {"insight_type": insight_type, "context": CONTEXT | changes, **more}
    report: InsightReport = await run_flow(generate_insight, parameters, bare=True)
    return report


@pytest.mark.parametrize("insight_type", SHAPES)
async def test_each_type_has_its_shape(settings: Settings, look: Look, insight_type: str) -> None:
    report = await make(insight_type)
    assert report.answer is not None
    shape = SHAPES[insight_type]  # type: ignore[index]
    assert isinstance(report.answer.insight, shape)
    assert report.answer.insight.model_dump() == ANSWERS[shape.__name__]
    (row,) = look("SELECT * FROM lexybrain_training_data")
    assert (row["response_id"], row["insight_type"], row["market"]) == (report.answer.request_id, insight_type, "us")
    assert (row["niche_terms"], row["output_json"], row["success"]) == (
        ["oak shelf", "pine shelf"], ANSWERS[shape.__name__], True,
    )  # fmt: skip
    assert row["context_json"]["keywords"][1] == {"term": "oak shelf", "demand_index": 0.8, "trend_momentum": 0.7}
    (request,) = look("SELECT project, purpose, run_id FROM llm_requests")
    assert (request["project"], request["purpose"], request["run_id"]) == ("lexybrain", insight_type, report.run_id)


async def test_the_model_is_shown_the_figures_and_held_to_the_terms(
    settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    await make("ad_insight")
    (asked,) = look("SELECT request FROM llm_requests")
    system, user = (message["content"] for message in asked["request"]["messages"])
    assert "never an instruction" in system
    assert user.startswith(
        "<context>\nMarket: us\nNiche: oak shelf, pine shelf\n"
        "oak shelf: demand 0.8, trend momentum 0.7\npine shelf: competition 0.9\n</context>\n"
    )
    assert "at most\n500 cents a day" in user
    assert "2025-11-08" not in user
    assert asked["request"]["parameters"]["temperature"] == 0.3
    share = asked["request"]["output_schema"]["$defs"]["BudgetShare"]["properties"]
    assert share["term"] == {"type": "string", "enum": ["oak shelf", "pine shelf"]}


async def test_terms_that_the_model_makes_up_are_named(settings: Settings) -> None:
    report = await make("ad_insight")
    assert report.answer is not None
    assert report.answer.unknown_terms == ["elm shelf"]
    radar = await make("radar")
    assert radar.answer is not None
    assert radar.answer.unknown_terms == []  # "Oak Shelf" is the same term


async def test_the_same_facts_are_answered_once_however_they_are_written(
    settings: Settings, provider: ScriptedProvider
) -> None:
    first = await make("radar")
    later = {"generated_at": "2025-11-09T10:00:00Z"}
    turned = [dict(keyword) for keyword in reversed(CONTEXT["keywords"])]  # type: ignore[call-overload]
    again = await make(
        "radar", market="us", niche_terms=["PINE shelf", "oak shelf"], keywords=turned, metadata=later, budget_cents=7
    )
    assert first.answer is not None
    assert again.answer is not None
    assert (first.answer.replayed, first.answer.cost_usd, first.answer.saved_usd) == (False, Decimal("0.002"), None)
    assert (again.answer.replayed, again.answer.cost_usd, again.answer.saved_usd) == (True, 0, Decimal("0.002"))
    assert again.answer.latency_ms == first.answer.latency_ms
    assert again.answer.request_id != first.answer.request_id
    assert provider.paid == 1


@pytest.mark.parametrize(
    "change",
    [
        {"keywords": [{"term": "oak shelf", "demand_index": 0.81}]},
        {"market": "de"},
        {"budget_cents": 501},
        {"niche_terms": ["oak shelf"]},
        {"model": "gpt-4o"},
        {"user": "ada"},
        {"project": "another"},
        {"fresh": True},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_whatever_the_answer_depends_on_is_part_of_its_key(
    settings: Settings, provider: ScriptedProvider, change: dict[str, Any]
) -> None:
    await make("ad_insight")
    changed = await make("ad_insight", **change)
    assert changed.answer is not None
    assert not changed.answer.replayed
    assert provider.paid == 2


@pytest.mark.parametrize("insight_type", SHAPES)
async def test_an_insight_is_used_again_as_long_as_its_type_says(
    settings: Settings, provider: ScriptedProvider, look: Look, insight_type: str
) -> None:
    minutes = {"market_brief": 24 * 60, "radar": 24 * 60, "risk": 12 * 60, "ad_insight": 6 * 60}[insight_type]
    assert minutes == TTL_MINUTES[insight_type]  # type: ignore[index]
    await make(insight_type)
    age = "UPDATE answers SET answered_at = clock_timestamp() - make_interval(mins => :minutes)"
    look(age, minutes=minutes - 1)
    fresh = await make(insight_type)
    look(age, minutes=minutes + 1)
    stale = await make(insight_type)
    assert fresh.answer is not None
    assert stale.answer is not None
    assert (fresh.answer.replayed, stale.answer.replayed, provider.paid) == (True, False, 2)


async def test_how_long_can_be_set(environment: Environment, settings: Settings, provider: ScriptedProvider) -> None:
    environment(HEADRACE_ANSWER_TTL_MINUTES="radar=0, risk=60")
    await make("radar")
    await make("radar")
    assert provider.paid == 2


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ([], "no reliable data: the context has no keywords"),
        ([{"term": "oak shelf"}], "no reliable data: none of the keywords has a figure"),
    ],
)
async def test_a_context_that_is_too_thin_is_told_so_without_asking_a_model(
    settings: Settings, provider: ScriptedProvider, look: Look, keywords: list[Any], reason: str
) -> None:
    report = await make("risk", keywords=keywords)
    assert (report.reliable, report.answer, report.message, report.status) == (False, None, reason, "completed")
    assert provider.log == []
    assert look("SELECT status, result FROM runs") == [
        {"status": "completed", "result": {"reliable": False, "request_id": None}}
    ]


async def test_an_answer_outside_its_bounds_is_repaired_or_rejected(
    settings: Settings, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = ANSWERS["RiskReport"]["alerts"][0]
    monkeypatch.setitem(ANSWERS, "RiskReport", {"alerts": [alert] * 21})
    with pytest.raises(AnswerRejected, match="valid RiskReport in 3 rounds: alerts: List should have at most 20"):
        await make("risk")
    monkeypatch.setitem(ANSWERS, "RiskReport", CONTEXT)  # an echo of the prompt is no answer
    with pytest.raises(AnswerRejected, match="alerts: Field required"):
        await make("risk", market="fr")
    assert provider.paid == 6


@pytest.mark.parametrize(
    ("insight_type", "change"),
    [
        ("market_brief", {"confidence": 1.01}),
        ("market_brief", {"key_metrics": [{"label": "a", "value": "b"}] * 9}),
        ("market_brief", {"top_opportunities": [{"term": "a", "why": "b"}] * 11}),
        ("market_brief", {"risks": [{"term": "a"}]}),
        ("market_brief", {"actions": ["a"] * 11}),
        ("market_brief", {"key_metrics": [{"label": "a", "value": "b", "score": -0.1}]}),
        ("radar", {"items": ANSWERS["Radar"]["items"] * 21}),
        ("radar", {"items": [{"term": "a", "scores": {"demand": 1}, "comment": ""}]}),
        ("ad_insight", {"budget_split": ANSWERS["AdInsight"]["budget_split"] * 11}),
        ("ad_insight", {"budget_split": [ANSWERS["AdInsight"]["budget_split"][0] | {"daily_cents": 1.5}]}),
        ("ad_insight", {"budget_split": [ANSWERS["AdInsight"]["budget_split"][0] | {"expected_clicks": -1}]}),
        ("risk", {"alerts": [ANSWERS["RiskReport"]["alerts"][0] | {"severity": "grave"}]}),
    ],
)
def test_the_shapes_have_bounds(insight_type: str, change: dict[str, Any]) -> None:
    shape = SHAPES[insight_type]  # type: ignore[index]
    shape.model_validate(ANSWERS[shape.__name__])
    with pytest.raises(ValidationError):
        shape.model_validate(ANSWERS[shape.__name__] | change)


def test_a_brief_needs_no_metrics() -> None:
    brief = {name: value for name, value in ANSWERS["MarketBrief"].items() if name != "key_metrics"}
    assert SHAPES["market_brief"].model_validate(brief).model_dump()["key_metrics"] == []


async def test_the_daily_cap_is_a_wall(
    environment: Environment, settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    environment(LEXYBRAIN_DAILY_COST_CAP="0.25")  # of a cent: 0.0025 USD, where a radar costs 0.002
    report = await make("radar")
    assert report.daily_cap_usd == Decimal("0.0025")
    with pytest.raises(BudgetExceeded, match=r"day budget of project 'lexybrain' is \$0\.0025"):
        await make("radar", market="de")
    assert provider.paid == 1
    assert (await make("radar")).answer is not None  # what is stored costs nothing
    environment(LEXYBRAIN_DAILY_COST_CAP="100")
    assert (await make("radar", market="de")).daily_cap_usd == 1
    assert look("SELECT scope_id, period, limit_usd FROM budgets") == [
        {"scope_id": "lexybrain", "period": "day", "limit_usd": 1}
    ]


async def test_the_cap_is_of_the_service_s_own_project(
    environment: Environment, settings: Settings, look: Look
) -> None:
    environment(LEXYBRAIN_DAILY_COST_CAP="0")
    assert (await make("radar", project="another")).daily_cap_usd is None
    assert look("SELECT * FROM budgets") == []


def test_a_cap_that_is_not_set_is_said_to_be_not_set(headrace: Run, context: Path, environment: Environment) -> None:
    environment(LEXYBRAIN_DAILY_COST_CAP="")
    done = headrace("generate-insight", "radar", context, "--bare")
    assert "project lexybrain has no daily cap (LEXYBRAIN_DAILY_COST_CAP, or `headrace budget set" in done.err
    assert done.out.splitlines()[-1].endswith("daily cap not set")
    assert headrace("generate-insight", "radar", context, "--bare", "--json").json["daily_cap_usd"] is None
    headrace("budget", "set", "--project", "lexybrain", "--day", "5")
    assert headrace("generate-insight", "radar", context, "--bare").out.splitlines()[-1].endswith("daily cap $5")
    with pytest.raises(ConfigurationError, match=r"^LEXYBRAIN_DAILY_COST_CAP: Input should be greater than or equal"):
        environment(LEXYBRAIN_DAILY_COST_CAP="-1")


def test_the_command_carries_the_id_that_feedback_needs(headrace: Run, context: Path, look: Look) -> None:
    made = headrace("generate-insight", "market_brief", context, "--user", "ada", "--bare", "--json").json
    assert (made["status"], made["reliable"], made["insight_type"], made["market"]) == (
        "completed", True, "market_brief", "us",
    )  # fmt: skip
    assert made["answer"]["insight"] == ANSWERS["MarketBrief"]
    assert (made["answer"]["cost_usd"], made["answer"]["replayed"]) == ("0.002", False)
    response = made["answer"]["request_id"]
    given = headrace("feedback", response, "negative", "--notes", "too vague", "--json").json
    assert (given["status"], given["response_id"], given["user_id"], given["rating"], given["notes"]) == (
        "completed", response, "ada", "negative", "too vague",
    )  # fmt: skip
    assert headrace("feedback", response, "positive").out == f"feedback of ada on {response}: positive\n"
    assert look("SELECT response_id, feedback, notes FROM lexybrain_feedback") == [
        {"response_id": UUID(response), "feedback": "positive", "notes": None}
    ]
    assert look("SELECT total_feedback, positive_feedback FROM get_lexybrain_feedback_stats()") == [
        {"total_feedback": 1, "positive_feedback": 1}
    ]
    assert headrace("feedback", response, "great").code == 2


@pytest.mark.parametrize(
    ("insight_type", "shown"),
    [
        ("market_brief", ["summary: Demand is rising.", "actions: List an oak shelf.", "momentum 0.7"]),
        ("radar", ["novelty", "Oak Shelf", "Steady."]),
        ("ad_insight", ["notes: By opportunity.", "Not in the context: elm shelf", "400"]),
        ("risk", ["crowded", "high"]),
    ],
)
def test_people_see_the_insight_its_cost_and_how_to_rate_it(
    headrace: Run, context: Path, insight_type: str, shown: list[str]
) -> None:
    first = headrace("generate-insight", insight_type, context, "--bare").out
    assert first.startswith(f"{insight_type} of us\n")
    assert all(part in first for part in [*shown, "cost $0.002, ", "headrace feedback "])
    assert "cost $0, replayed, $0.002 saved, " in headrace("generate-insight", insight_type, context, "--bare").out


def test_people_are_told_that_there_is_no_reliable_data(headrace: Run, tmp_path: Path) -> None:
    stdin = json.dumps({"market": "us"}).encode()
    done = headrace("generate-insight", "risk", "-", "--bare", stdin=b"\xef\xbb\xbf" + stdin)
    assert (done.code, done.out.splitlines()[1]) == (0, "no reliable data: the context has no keywords")


def test_a_failed_insight_is_gone_on_with(
    headrace: Run, context: Path, environment: Environment, provider: ScriptedProvider
) -> None:
    environment(LEXYBRAIN_DAILY_COST_CAP="0")
    failed = headrace("generate-insight", "radar", context, "--user", "ada", "--bare", "--json")
    assert (failed.code, failed.json["error"]["code"]) == (3, "budget_exceeded")
    environment(LEXYBRAIN_DAILY_COST_CAP="100")
    resumed = headrace("resume", failed.json["run_id"], "--bare", "--json").json
    assert (resumed["run_id"], resumed["answer"]["insight"]) == (failed.json["run_id"], ANSWERS["Radar"])
    assert headrace("resume", failed.json["run_id"], "--bare", "--json").json["answer"] == resumed["answer"]
    assert provider.paid == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "is no context of an insight: JSON: Invalid JSON"),
        (b'{"market": " "}', "market: String should have at least 1 character"),
        (b'{"market": "us", "keywords": [{"term": "a", "demand_index": "high"}]}', "keywords.0.demand_index: "),
        (b'{"market": "us", "keywords": [{"term": "a", "demand_index": NaN}]}', "keywords.0.demand_index: "),
        (
            json.dumps({"market": "us", "keywords": [{"term": "a"}] * 51}).encode(),
            "keywords: Tuple should have at most 50",
        ),
        (b"\xff\xfe{}", "JSON: Invalid JSON"),
    ],
)
def test_what_is_no_context_is_bad_input(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "context.json"
    path.write_bytes(content)
    with pytest.raises(BadInput) as failure:
        read_context(str(path))
    assert reason in str(failure.value)
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_context(str(tmp_path / "none.json"))


def test_roles_are_granted_by_a_command(headrace: Run, look: Look) -> None:
    look("DROP POLICY readers ON llm_requests")
    done = headrace("db", "roles", "--json").json
    assert (done["status"], done["message"]) == (
        "completed", "headrace_worker, headrace_app and headrace_read are there and may do what they are for",
    )  # fmt: skip
    assert look("SELECT policyname FROM pg_policies WHERE tablename = 'llm_requests' ORDER BY 1") == [
        {"policyname": "own_rows"}, {"policyname": "readers"}, {"policyname": "writers"},
    ]  # fmt: skip


def test_insights_that_are_switched_off_are_refused(
    headrace: Run, context: Path, environment: Environment, provider: ScriptedProvider, look: Look
) -> None:
    environment(LEXYBRAIN_ENABLE="false")
    done = headrace("generate-insight", "risk", context, "--bare")
    assert done.code == 2
    assert done.err.splitlines()[-1] == (
        "headrace: LEXYBRAIN_ENABLE is false, so no insights are made; set it to true, or unset it"
    )
    assert (provider.paid, look("SELECT * FROM runs")) == (0, [])
    environment(LEXYBRAIN_ENABLE="")
    assert headrace("generate-insight", "risk", context, "--bare").code == 0


async def test_grave_risks_are_said_once_where_that_is_wanted(
    environment: Environment, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await make("risk", market="fr")
    assert "high severity" not in caplog.text
    environment(LEXYBRAIN_NOTIFICATIONS_ENABLED="true")
    report = await make("risk")
    assert report.answer is not None
    said = f"1 of 1 risks of market us are of high severity (insight {report.answer.request_id})"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [said]
    await make("risk")  # the same again
    await make("radar")
    assert caplog.text.count("high severity") == 1


def test_the_model_of_insights_may_be_the_version_in_charge_of_them(
    headrace: Run, context: Path, monkeypatch: pytest.MonkeyPatch, look: Look
) -> None:
    monkeypatch.setenv("HEADRACE_CHAT_MODEL", "version:radar")
    assert headrace("generate-insight", "radar", context).code == 2, "none is in charge"
    headrace("versions", "register", "radar", "gpt-4o")
    headrace("versions", "promote", "radar", 1)
    made = headrace("generate-insight", "radar", context, "--user", "ada", "--json")
    assert made.code == 0, made.err
    assert made.json["answer"]["model"] == "gpt-4o"
    rows = look("SELECT model, model_version FROM llm_requests")
    assert rows == [{"model": "gpt-4o", "model_version": "radar/1"}]
    rated = headrace("feedback", made.json["answer"]["request_id"], "positive")
    assert rated.code == 0
    (line,) = headrace("feedback-stats", "--json").json["lines"]
    assert (line["version"], line["insight_type"], line["positive"], line["ratings"]) == ("radar/1", "radar", 1, 1)
