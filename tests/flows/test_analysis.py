"""An analysis from its source to its rows."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flows.analysis import analyze_bill, analyze_bills
from flows.running import run_flow
from schemas.analysis import BillReport
from schemas.bills import Section
from schemas.errors import BadInput, BudgetExceeded, ConfigurationError, LeaseLost
from schemas.identifiers import new_id
from tasks.analysis.sections import split_sections
from tasks.ledger.limits import set_budgets
from tests.conftest import Environment
from tests.flows.analyst import Prompt, ScriptedAnalyst, cite, impact, review
from tests.flows.conftest import BILL, Look
from tests.scripted_provider import ScriptedProvider

pytestmark = pytest.mark.usefixtures("settings")


async def analyze(source: object, **parameters: Any) -> BillReport:
    report: BillReport = await run_flow(analyze_bill, {"source": str(source), **parameters}, bare=True)
    return report


async def test_an_analysis_leaves_its_run_its_steps_its_calls_and_its_outcome(
    bill: Path, look: Look, provider: ScriptedProvider
) -> None:
    report = await analyze(bill)
    (run,) = look("SELECT * FROM runs")
    assert (run["id"], run["flow"], run["subject"], run["status"]) == (
        report.run_id, "analyze-bill", str(bill), "completed",
    )  # fmt: skip
    assert run["parameters"]["models"] == dict.fromkeys(("research", "generate", "review"), "gpt-4o-mini")
    assert run["result"] == {"bill": str(report.bill.key), "passed": True, "quality_score": report.quality_score}
    steps = look(
        "SELECT name, status, attempts, model, prompt_hash IS NOT NULL AS prompted FROM steps ORDER BY ordinal"
    )
    assert [step["name"] for step in steps] == ["read", "research", "generate", "check", "review"]
    assert {(step["status"], step["attempts"]) for step in steps} == {("completed", 1)}
    assert [step["model"] for step in steps] == [None, "gpt-4o-mini", "gpt-4o-mini", None, "gpt-4o-mini"]
    assert [step["prompted"] for step in steps] == [False, True, True, False, True]
    calls = look("SELECT * FROM llm_requests WHERE run_id = :run ORDER BY id", run=report.run_id)
    assert [(call["purpose"], call["status"]) for call in calls] == [
        ("research", "succeeded"), ("generate", "succeeded"), ("review", "succeeded"),
    ]  # fmt: skip
    assert all(call["step_id"] for call in calls)
    assert provider.paid == 3
    (stored,) = look("SELECT * FROM bill_analyses")
    assert (stored["run_id"], stored["passed"], stored["report"]) == (report.run_id, True, report.report)
    assert stored["analysis"] == report.analysis.model_dump(mode="json")
    assert float(stored["quality_score"]) == report.quality_score


async def test_a_run_costs_what_its_calls_cost(bill: Path, look: Look, provider: ScriptedProvider) -> None:
    report = await analyze(bill)
    # gpt-4o-mini: 0.15 USD for a million tokens read, 0.60 for a million written.
    tokens = [(served.input_tokens, served.output_tokens) for served in provider.log]
    expected = sum(Decimal("0.15") * read + Decimal("0.60") * written for read, written in tokens) / 1_000_000
    assert report.cost_usd == expected
    assert look("SELECT cost_usd FROM runs") == [{"cost_usd": expected}]


async def test_the_old_names_show_the_run(bill: Path, look: Look) -> None:
    report = await analyze(bill, jurisdiction="NY", bill_id="A 12", session="2023")
    (run,) = look("SELECT * FROM pipeline_runs")
    assert (run["id"], run["bill_id"], run["jurisdiction"], run["status"]) == (report.run_id, "A12", "NY", "completed")
    assert (run["research_model"], run["review_passed"]) == ("gpt-4o-mini", True)
    assert run["analysis_json"]["summary"] == report.analysis.summary
    steps = look('SELECT step, model, output FROM pipeline_steps ORDER BY "timestamp"')
    assert [step["step"] for step in steps] == ["research", "generate", "review"]
    costs = look("SELECT step, tokens_used, cost_usd FROM cost_tracking")
    assert {cost["step"] for cost in costs} == {"research", "generate", "review"}
    assert sum(cost["cost_usd"] for cost in costs) == pytest.approx(report.cost_usd, abs=Decimal("0.000002"))


async def test_each_quote_stands_where_the_report_says(bill: Path) -> None:
    report = await analyze(bill)
    evidence = report.analysis.evidence
    assert len(evidence) == 3
    for item in evidence:
        assert item.located
        assert " ".join(BILL[item.start : item.end].split()) == item.quote
    assert [item.clause for item in report.analysis.impacts] == [
        "SECTION 1. LIMIT ON RENTS", "SECTION 2. RELOCATION", "SECTION 3. FUND",
    ]  # fmt: skip
    assert all(item.quote in report.report for item in evidence)


async def test_an_invented_quote_supports_nothing_and_cannot_pass(
    bill: Path, analyst: ScriptedAnalyst, look: Look
) -> None:
    invented = "every tenant receives a free house from the board each spring"
    analyst.impacts = lambda prompt: [impact(prompt.sections[0][0], cite("S1", invented))]
    report = await analyze(bill, max_rounds=0)
    (claim,) = report.analysis.impacts
    assert [(item.status, item.located, item.quote) for item in claim.evidence] == [("missing", False, invented)]
    assert not claim.supported
    assert report.review.reviewer_passed
    assert not report.passed
    assert "impact 1 has no located evidence" in report.review.overruled_because
    assert look("SELECT passed FROM bill_analyses") == [{"passed": False}]


async def test_shall_is_near_shall_not_and_does_not_count(bill: Path, analyst: ScriptedAnalyst) -> None:
    wrong = "The owner of a dwelling shall raise the rent by more than six percent in a year."
    analyst.impacts = lambda prompt: [impact(prompt.sections[0][0], cite("S2", wrong))]
    report = await analyze(bill, max_rounds=0)
    (item,) = report.analysis.evidence
    assert (item.status, item.located, item.quote) == ("approximate", False, wrong)
    assert item.nearest is not None
    assert "shall not raise the rent" in item.nearest
    assert not report.passed
    assert wrong in report.report
    assert item.nearest in report.report


def rewrite(bill: Path, old: str, new: str) -> None:
    bill.write_text(bill.read_text().replace(old, new))


def amounts(basis: str, *percentiles: float) -> dict[str, Any]:
    return dict(zip(("p10", "p25", "p50", "p75", "p90"), percentiles, strict=True)) | {"basis": basis}


async def test_amounts_stand_only_on_a_quoted_number(bill: Path, analyst: ScriptedAnalyst) -> None:
    rising = (1e6, 2e6, 3e6, 4e6, 5e6)

    def impacts(prompt: Prompt) -> list[dict[str, Any]]:
        fund = next((title, cite(number)) for title, number, said in prompt.sections if "5,000,000" in said)
        return [
            impact(*fund, amounts=amounts("$5,000,000", *rising)),
            impact(*fund, amounts=amounts("$7,000,000", *rising)),
            impact(*fund, amounts=amounts("$5,000,000", *reversed(rising))),
        ]

    analyst.impacts = impacts
    report = await analyze(bill)
    kept, unfounded, falling = report.analysis.impacts
    assert kept.amounts is not None
    assert kept.amounts.p50 == 3e6
    assert (unfounded.amounts, falling.amounts) == (None, None)
    assert unfounded.amounts_removed == "no located quote states '$7,000,000'"
    assert falling.amounts_removed == "the percentiles do not ascend"


async def test_a_reviewer_who_lists_errors_cannot_let_pass(bill: Path, analyst: ScriptedAnalyst) -> None:
    analyst.review = lambda prompt: review(passed=True, errors=("Impact 1 says the opposite of S1.",))
    report = await analyze(bill, max_rounds=0)
    assert (report.passed, report.review.reviewer_passed) == (False, True)
    assert report.review.overruled_because == ["the reviewer lists 1 factual error"]


async def test_a_draft_is_refined_until_it_passes(
    bill: Path, analyst: ScriptedAnalyst, look: Look, provider: ScriptedProvider
) -> None:
    analyst.passes_at = 3
    report = await analyze(bill, max_rounds=5)
    assert (report.passed, report.best_round, len(report.rounds)) == (True, 3, 3)
    assert report.analysis.summary.startswith("Draft 3.")
    names = [row["name"] for row in look("SELECT name FROM steps ORDER BY ordinal")]
    assert names == ["read", "research", "generate", "check", "review"] + 2 * ["refine", "check", "review"]
    assert provider.paid == 7


async def test_refinement_ends_after_max_rounds_and_the_best_round_stands(bill: Path, analyst: ScriptedAnalyst) -> None:
    scores = {1: 2, 2: 5, 3: 1}
    analyst.review = lambda prompt: review(passed=False, score=scores[prompt.draft])
    report = await analyze(bill, max_rounds=2)
    assert [item.review.rubric.accuracy for item in report.rounds] == [2, 5, 1]
    assert (report.passed, report.best_round) == (False, 2)
    assert report.analysis.summary.startswith("Draft 2.")
    assert "did not pass review (round 2 of 3)" in report.report


async def test_research_that_finds_nothing_says_so(bill: Path, analyst: ScriptedAnalyst) -> None:
    report = await analyze(bill)
    assert report.research.results == []
    assert report.research.queries_without_results == analyst.queries
    assert "No result" in report.report


async def test_research_finds_passages_of_other_stored_bills_with_their_source(
    bill: Path, tmp_path: Path, analyst: ScriptedAnalyst
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("SECTION 1. RENT LIMITS.\n\n    Rent limits for tenants are set each year by the county board.\n")
    await analyze(other, jurisdiction="CA", bill_id="AB 7", session="2024")
    analyst.queries = ["rent limits for tenants", "submarine cables under the arctic"]
    report = await analyze(bill)
    (found,) = report.research.results
    assert (found.number, found.source, found.query) == (1, "CA/AB7/2024", "rent limits for tenants")
    assert "set each year by the county board" in found.text
    assert report.research.queries_without_results == ["submarine cables under the arctic"]


async def test_a_result_may_be_cited_but_does_not_replace_the_bill(
    bill: Path, tmp_path: Path, analyst: ScriptedAnalyst
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("SECTION 1. RENT LIMITS.\n\n    Rent limits for tenants are set each year by the county board.\n")
    await analyze(other, jurisdiction="CA", bill_id="AB 7", session="2024")
    said = "Rent limits for tenants are set each year by the county board."
    analyst.impacts = lambda prompt: [impact(prompt.sections[0][0], cite("R1", said))]
    report = await analyze(bill, max_rounds=0)
    (claim,) = report.analysis.impacts
    assert [(item.source, item.located, item.start) for item in claim.evidence] == [("CA/AB7/2024", True, None)]
    assert not claim.supported
    assert not report.passed


def long_bill(sections: int) -> str:
    said = "The board of district {n} shall keep a register of every dwelling and shall publish it each year. " * 12
    return "\n\n".join(f"SECTION {n}. REGISTER {n}.\n\n    {said.format(n=n)}" for n in range(1, sections + 1))


async def test_a_bill_longer_than_the_context_is_read_in_groups_and_wholly(
    tmp_path: Path, environment: Environment, analyst: ScriptedAnalyst, look: Look
) -> None:
    path = tmp_path / "long.txt"
    path.write_text(long_bill(40))
    with ScriptedProvider(analyst, context_window=8192) as small:
        environment(OPENAI_BASE_URL=small.url, HEADRACE_CHAT_MODEL="gpt-4")  # gpt-4: 8,192 tokens in the price table
        report = await analyze(path)
        assert {served.status for served in small.log} == {200}
        drafted = [served.body for served in small.log if "DraftAnalysis" in str(served.body["response_format"])]
    assert len(drafted) > 2
    assert report.coverage.complete
    spans = sorted(
        (span.start, span.end) for item in report.coverage.readings if item.step == "generate" for span in item.spans
    )
    text = path.read_text()
    assert "".join(text[start:end] for start, end in spans) == text
    shown = {
        number for request in drafted for number in re.findall(r"^\[S(\d+)\]", Prompt.of(request).text, re.MULTILINE)
    }
    assert shown == {str(number) for number in range(1, len(shown) + 1)}
    calls = {row["id"] for row in look("SELECT id FROM llm_requests")}
    assert {item.request_id for item in report.coverage.readings} < calls
    assert {item.step for item in report.coverage.readings} == {"research", "generate", "review"}
    assert report.analysis.summary == "Draft 1. The parts together."
    assert [item.number for item in report.analysis.impacts] == list(range(1, 3 * len(drafted) + 1))
    assert report.passed


async def test_only_the_groups_that_did_not_pass_are_refined(
    tmp_path: Path, environment: Environment, analyst: ScriptedAnalyst, look: Look
) -> None:
    path = tmp_path / "long.txt"
    path.write_text(long_bill(30))
    environment(HEADRACE_CHAT_MODEL="gpt-4")
    analyst.review = lambda prompt: review(passed="REGISTER 1\n" not in prompt.text or prompt.draft > 1)
    report = await analyze(path)
    assert report.passed
    counts = {row["name"]: row["count"] for row in look("SELECT name, count(*) FROM steps GROUP BY name")}
    assert counts["generate"] > 1
    assert counts["refine"] == 1
    assert counts["review"] == counts["generate"] + 1
    assert counts["merge"] == 2


async def test_the_same_analysis_again_pays_nothing(bill: Path, look: Look, provider: ScriptedProvider) -> None:
    first = await analyze(bill)
    again = await analyze(bill)
    assert provider.paid == len(provider.log) == 3
    assert again.run_id != first.run_id
    assert again.analysis == first.analysis
    assert again.cost_usd == 0
    rows = look("SELECT status, replayed_from FROM llm_requests WHERE run_id = :run", run=again.run_id)
    assert [row["status"] for row in rows] == ["replayed"] * 3
    answered = {row["id"] for row in look("SELECT id FROM llm_requests WHERE run_id = :run", run=first.run_id)}
    assert {row["replayed_from"] for row in rows} == answered


async def test_a_fresh_analysis_asks_anew(bill: Path, provider: ScriptedProvider) -> None:
    await analyze(bill)
    await analyze(bill, fresh=True)
    assert provider.paid == 6


async def test_a_changed_bill_is_a_row_of_its_own_and_is_analysed_anew(
    bill: Path, look: Look, provider: ScriptedProvider
) -> None:
    first = await analyze(bill)
    rewrite(bill, "six percent", "five percent")
    second = await analyze(bill)
    assert second.bill.key == first.bill.key
    assert second.bill.id != first.bill.id
    assert provider.paid == 6
    assert len(look("SELECT id FROM bills")) == 2


async def test_a_stored_bill_is_analysed_by_its_key_or_id(bill: Path, look: Look) -> None:
    first = await analyze(bill, jurisdiction="US", bill_id="H.R. 5", session="117")
    rewrite(bill, "six percent", "five percent")
    by_key = await analyze("US/HR 5/117")
    by_id = await analyze(first.bill.id)
    assert by_key.bill == by_id.bill == first.bill
    assert len(look("SELECT id FROM bills")) == 1


async def test_a_budget_that_is_spent_ends_the_run_and_a_raised_one_lets_it_go_on(
    bill: Path, look: Look, provider: ScriptedProvider
) -> None:
    await analyze(bill, project="elsewhere")
    (worst, *_) = (row["reserved_usd"] for row in look("SELECT reserved_usd FROM llm_requests ORDER BY id"))
    await set_budgets(day=str(worst + Decimal("0.00001")))
    with pytest.raises(BudgetExceeded) as refusal:
        await analyze(bill)
    asked = provider.paid
    (run,) = look("SELECT id, status, error FROM runs WHERE project = 'default'")
    assert (str(run["id"]), run["status"]) == (refusal.value.details["run_id"], "failed")
    assert run["error"]["code"] == "budget_exceeded"
    await set_budgets(day="none")
    report = await run_flow(analyze_bill, {"source": str(bill)}, resume=run["id"], bare=True)
    assert (report.run_id, report.status) == (run["id"], "completed")
    assert (asked, provider.paid) == (3 + 1, 3 + 3)


async def test_many_bills_are_runs_of_their_own_and_one_that_fails_stops_no_other(
    tmp_path: Path, bill: Path, look: Look
) -> None:
    folder = tmp_path / "bills"
    folder.mkdir()
    for number in range(3):
        (folder / f"b{number}.txt").write_text(BILL.replace("six percent", f"{number} percent"))
    (folder / "empty.txt").write_text("")
    (folder / "notes.csv").write_text("a,b\n")
    outcomes = await run_flow(analyze_bills, {"sources": [str(folder), str(bill)], "at_once": 2}, bare=True)
    assert [(Path(item.source).name, item.status) for item in outcomes] == [
        ("b0.txt", "completed"), ("b1.txt", "completed"), ("b2.txt", "completed"), ("empty.txt", "failed"),
        (bill.name, "completed"),
    ]  # fmt: skip
    assert outcomes[3].error_code == "bad_input"
    runs = {row["id"]: row["status"] for row in look("SELECT id, status FROM runs")}
    assert runs == {item.run_id: item.status for item in outcomes}


async def test_a_defect_in_one_bill_stops_no_other(
    tmp_path: Path, bill: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.txt"
    other.write_text(BILL.replace("six", "five"))

    def fragile(text: str) -> list[Section]:
        if "five percent" in text:
            raise ZeroDivisionError
        return split_sections(text)

    monkeypatch.setattr("tasks.analysis.reading.split_sections", fragile)
    outcomes = await run_flow(analyze_bills, {"sources": [str(other), str(bill)]}, bare=True)
    assert [(item.status, item.error_code) for item in outcomes] == [("failed", "internal"), ("completed", None)]
    statuses = {row["subject"]: row["status"] for row in look("SELECT subject, status FROM runs")}
    assert statuses == {str(other): "failed", str(bill): "completed"}


async def test_a_run_on_the_research_of_another_does_none(bill: Path, look: Look, provider: ScriptedProvider) -> None:
    first = await analyze(bill)
    second = await analyze(bill, models={"generate": "gpt-4o"}, research_of=first.run_id)
    assert second.research == first.research
    outputs = [row["output"] for row in look("SELECT output FROM steps WHERE name = 'research'")]
    assert outputs[0] == outputs[1]
    assert [served.model for served in provider.log] == ["gpt-4o-mini"] * 3 + ["gpt-4o"]


async def test_a_parameter_out_of_range_is_refused_before_a_run_begins(bill: Path, look: Look) -> None:
    with pytest.raises(BadInput, match="max_rounds: Input should be less than or equal to 5"):
        await analyze(bill, max_rounds=6)
    assert look("SELECT id FROM runs") == []


async def test_a_schema_that_is_not_there_names_the_command(
    bill: Path, environment: Environment, empty_database_url: str
) -> None:
    environment(DATABASE_URL=empty_database_url)
    with pytest.raises(ConfigurationError, match="headrace db upgrade"):
        await analyze(bill)


async def test_the_report_of_an_attempt_that_lost_its_run_is_not_stored(
    bill: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_over(report: BillReport) -> str:
        look("UPDATE runs SET attempt_id = :heir", heir=new_id())
        return "too late"

    monkeypatch.setattr("flows.analysis.render_report", taken_over)
    with pytest.raises(LeaseLost):
        await analyze(bill)
    assert look("SELECT * FROM bill_analyses") == []


async def test_an_artifact_that_prefect_does_not_take_leaves_the_analysis_as_it_is(
    bill: Path, look: Look, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(**_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("flows.artifacts.prefect_flow_run_id", new_id)
    monkeypatch.setattr("flows.running.prefect_flow_run_id", lambda: None)
    monkeypatch.setattr("prefect.artifacts.acreate_markdown_artifact", refuse)
    report = await analyze(bill)
    assert report.status == "completed"
    assert f"the report of run {report.run_id} is no artifact: ConnectionError" in caplog.text
