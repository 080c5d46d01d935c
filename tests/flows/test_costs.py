"""`headrace costs` and `headrace budget`, as people and machines meet them."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import Engine

from flows import cost_commands
from schemas.settings import Settings
from tasks.ledger import costs
from tasks.ledger.runs import RunRequest, open_run
from tests.conftest import Environment
from tests.flows.conftest import Look, Run
from tests.tasks.ledger.cost_rows import call, store

NOW = datetime.now(UTC)


@pytest.fixture
def calls(database: Engine) -> None:
    """Calls of today: priced, unpriced, failed, lost, replayed."""
    store(
        database,
        [
            call(NOW, "1.5", model="gpt-4o", purpose="generate", project="housing", user_id="ada"),
            call(NOW, "0.25", model="gpt-4o-mini", purpose="review", project="housing"),
            call(NOW, model="house-model", purpose="draft"),
            call(NOW, model="house-model", purpose="draft"),
            call(NOW, "0", model="gpt-4o", purpose="generate", status="failed", reserved_usd="3"),
            call(NOW, model="gpt-4o", purpose="generate", status="unknown", reserved_usd="2"),
            call(NOW, "0", model="gpt-4o", purpose="generate", status="replayed", saved_usd="1.5"),
        ],
    )


def lines_of(out: str, first: str) -> list[list[str]]:
    """The lines whose first cell is `first`, as cells."""
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in out.splitlines()]
    return [row for row in rows if row and row[0] == first]


@pytest.mark.usefixtures("calls")
def test_costs_show_today_and_the_month_and_say_what_is_not_known(headrace: Run) -> None:
    headrace("budget", "set", "--project", "housing", "--day", "5", "--warn-day", "4")
    done = headrace("costs")
    assert done.code == 0
    cost = "$3.75 + unknown (2 calls)"  # 1.5 + 0.25, and 2 at worst
    for name in ("today", "this month"):
        assert lines_of(done.out, name) == [
            [name, "6", "1", "1, $2 at worst", cost, "1", "$1.5", "60 / 30"],
        ]
    assert lines_of(done.out, "house-model") == [["house-model", "2", "unknown (2 calls)", "20 / 10"]]
    assert lines_of(done.out, "failed") == [["failed", "1", "$0"]]
    assert lines_of(done.out, "outcome unknown, at worst") == [["outcome unknown, at worst", "1", "$2"]]
    assert lines_of(done.out, "replayed") == [["replayed", "1", "$0", "$1.5"]]
    assert lines_of(done.out, "answered") == [["answered", "4", "$1.75 + unknown (2 calls)"]]
    assert lines_of(done.out, "(no user)")[0][1] == "5"
    today, month = lines_of(done.out, "project housing")
    assert today == ["project housing", "day", f"{NOW:%F}", "$5", "$4", "$0", "$0"]
    assert month[3:5] == ["not set", "not set"]
    assert "Days begin at midnight in UTC." in done.out
    assert "at most $3.75 on one" in done.out
    assert "█" in done.out


def test_without_calls_costs_are_0_and_there_is_no_chart(headrace: Run) -> None:
    done = headrace("costs")
    assert lines_of(done.out, "today") == [["today", "0", "$0", "0 / 0"]]
    assert done.out.rstrip().splitlines()[-1] == f"No calls from {NOW:%Y-%m}-01 to {NOW:%F}."
    assert "on one" not in done.out


@pytest.mark.usefixtures("calls")
def test_on_a_narrow_terminal_no_sum_is_cut_off(headrace: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.presentation.PIPE_WIDTH", 80)
    out = headrace("costs", "--by", "model").out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert lines_of(out, "today")[0][:3] == ["today", "6", "$3.75 + unknown (2 calls)"]
    assert lines_of(out, "gpt-4o") == [["gpt-4o", "3", "$3.5", "1 failed, 1 unknown, 1 replayed"]]
    assert lines_of(out, "house-model") == [["house-model", "2", "unknown (2 calls)"]]


@pytest.mark.usefixtures("calls")
def test_a_project_without_a_limit_is_said_to_have_none(headrace: Run) -> None:
    assert "Limits: none is set\n" in headrace("costs", "--project", "housing").out


def test_a_day_of_25_hours_is_one_day_where_clocks_are_put_back(
    headrace: Run, database: Engine, environment: Environment
) -> None:
    moments = {"2026-10-24T21:59Z": "1", "2026-10-24T22:01Z": "2", "2026-10-25T22:59Z": "4", "2026-10-25T23:01Z": "8"}
    store(database, [call(datetime.fromisoformat(moment), cost) for moment, cost in moments.items()])
    environment(HEADRACE_BUDGET_TIMEZONE="Europe/Berlin")
    shown = headrace("costs", "--since", "2026-10-24", "--until", "2026-10-26", "--by", "day")
    assert [lines_of(shown.out, f"2026-10-{day}")[0][1:3] for day in (24, 25, 26)] == [
        ["1", "$1"], ["2", "$6"], ["1", "$8"],
    ]  # fmt: skip
    only = headrace("costs", "--since", "2026-10-25", "--until", "2026-10-25", "--by", "day", "--json").json
    assert (only["total"]["spent_usd"], only["total"]["calls"]) == ("6", 2)


@pytest.mark.usefixtures("calls")
def test_costs_are_one_object_for_machines(headrace: Run) -> None:
    shown = headrace("costs", "--by", "project", "--by", "day", "--json").json
    assert (shown["run_id"], shown["status"], shown["timezone"]) == (None, "completed", "UTC")
    assert shown["until"] == f"{NOW:%F}"
    assert (shown["total"]["spent_usd"], shown["total"]["unpriced_calls"]) == ("3.75", 2)
    by_project, by_day = shown["groups"]
    assert [(line["key"], line["spent_usd"]) for line in by_project["lines"]] == [("default", "2"), ("housing", "1.75")]
    assert [line["key"] for line in by_day["lines"]] == [f"{NOW:%F}"]
    assert shown["days"][-1] == {"day": f"{NOW:%F}", "spent_usd": "3.75"}
    alone = headrace("costs", "--project", "default", "--by", "model", "--json").json
    unpriced = {line["key"]: line["spent_usd"] for line in alone["groups"][0]["lines"]}
    assert unpriced == {"gpt-4o": "2", "house-model": None}


@pytest.mark.usefixtures("calls")
def test_costs_are_written_as_csv(tmp_path: Path, headrace: Run) -> None:
    out = headrace("costs", "--csv", "-").out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["by"] for row in rows} == {"model", "step", "project", "user"}
    by_model = {row["key"]: row for row in rows if row["by"] == "model"}
    assert (by_model["house-model"]["spent_usd"], by_model["house-model"]["unpriced_calls"]) == ("", "2")
    assert sum(Decimal(row["spent_usd"] or 0) for row in by_model.values()) == Decimal("3.75")
    done = headrace("costs", "--csv", tmp_path / "costs.csv")
    assert (tmp_path / "costs.csv").read_text() == out
    assert f"written to {tmp_path / 'costs.csv'}" in done.out
    both = headrace("costs", "--csv", tmp_path / "both.csv", "--by", "user", "--json")
    assert both.json["groups"][0]["by"] == "user"
    assert (tmp_path / "both.csv").read_text().splitlines()[1].startswith("user,,5,2.25,2,2,1,")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--since", "2026-13-01"), "2026-13-01"),
        (("--since", "yesterday"), "yesterday"),
        (("--since", "2026-02-02", "--until", "2026-02-01"), "--since 2026-02-02 is after --until 2026-02-01"),
        (("--by", "colour"), "colour"),
        (("--csv", "-", "--json"), "both want standard output"),
        (("--csv", "/nowhere/costs.csv"), "--csv /nowhere/costs.csv cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_shown_is_bad_usage(headrace: Run, options: tuple[str, ...], reason: str) -> None:
    done = headrace("costs", *options)
    assert (done.code, reason in done.err) == (2, True)


def test_the_ways_to_add_up_are_those_the_ledger_knows() -> None:
    assert get_args(cost_commands.Dimension) == costs.DIMENSIONS


def test_counters_are_rebuilt_and_what_was_wrong_is_said(headrace: Run, bill: Path, look: Look) -> None:
    headrace("analyze", bill, "--bare")
    right = headrace("costs", "--rebuild")
    assert (right.code, right.out) == (0, "all 3 counters are what the calls come to\n")  # day, month and run
    look("UPDATE budget_usage SET spent_usd = 9 WHERE period = 'day'")
    (cost,) = look("SELECT sum(cost_usd) AS cost_usd FROM llm_requests")
    done = headrace("costs", "--rebuild", "--json").json
    (difference,) = done["differences"]
    assert (done["status"], done["counters"]) == ("completed", 3)
    assert (difference["spent_before_usd"], Decimal(difference["spent_usd"])) == ("9", cost["cost_usd"])
    look("UPDATE budget_usage SET spent_usd = 9 WHERE period = 'day'")
    people = headrace("costs", "--rebuild").out
    assert "1 of 3 counters were put right" in people
    assert "$9 → $" in people
    assert headrace("costs", "--rebuild", "--json").json["differences"] == []


async def run_once() -> str:
    """A run without calls that fails, so that it can be resumed."""
    try:
        async with open_run(RunRequest(flow="f", subject="s", project="default", parameters={})) as run:
            raise RuntimeError
    except RuntimeError:
        return str(run.id)


def test_a_budget_that_is_not_set_is_said_not_to_be(headrace: Run, settings: Settings) -> None:
    nothing = headrace("budget", "show").out
    assert nothing.startswith("No budget is set: nothing limits what may be spent.")
    assert [row[3:5] for row in lines_of(nothing, "project default")] == [["not set", "not set"]] * 2
    headrace("budget", "set", "--day", "5")
    shown = headrace("budget", "show", "--json").json["rows"]
    assert [(row["period"], row["limit_usd"], row["warn_usd"]) for row in shown] == [
        ("day", "5", None), ("month", None, None),
    ]  # fmt: skip
    run = asyncio.run(run_once())
    assert headrace("budget", "set", "--run", run, "--total", "2", "--warn-total", "1.5").code == 0
    assert lines_of(headrace("budget", "show").out, f"run {run}") == [
        [f"run {run}", "total", "the beginning", "$2", "$1.5", "$0", "$0"]
    ]


def test_a_soft_limit_that_was_reached_is_on_standard_error_and_in_the_list(headrace: Run, bill: Path) -> None:
    headrace("budget", "set", "--warn-day", "0.00001")
    done = headrace("analyze", bill, "--bare")
    assert done.code == 0
    (warning,) = [line for line in done.err.splitlines() if "soft limit" in line]
    assert warning.startswith("soft limit reached: the project 'default' has spent 0.0")
    shown = headrace("budget", "show").out
    assert f"$0.00001 (reached {datetime.now(UTC):%F}" in shown
