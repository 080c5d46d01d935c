"""Searching the web from the command line, and in the research of an analysis."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from schemas.settings import Settings
from tests.conftest import Environment
from tests.flows.analyst import Prompt, ScriptedAnalyst, cite, impact
from tests.flows.conftest import Look, Run
from tests.scripted_provider import ScriptedProvider
from tests.scripted_search import Answer, Page, ScriptedSearch


@pytest.fixture
def server() -> Iterator[ScriptedSearch]:
    with ScriptedSearch() as running:
        yield running


@pytest.fixture
def settings(
    environment: Environment, database_url: str, provider: ScriptedProvider, server: ScriptedSearch
) -> Settings:
    """The scripted analyst, and z.ai to look things up."""
    return environment(
        DATABASE_URL=database_url,
        OPENAI_API_KEY="test-key",
        OPENAI_BASE_URL=provider.url,
        HEADRACE_SEARCH_PROVIDER="zai",
        HEADRACE_RETRY_ATTEMPTS=1,
        **server.environment,
    )


SAID = "Rent rose by four percent in cities with a limit on raises, a study of 2023 finds."


def test_research_searches_the_web_and_what_it_finds_keeps_its_source(
    bill: Path, analyst: ScriptedAnalyst, headrace: Run, look: Look, server: ScriptedSearch
) -> None:
    pages = {
        "rent limits for tenants": [
            Page("https://www.hud.gov/rents", "Rents", SAID),
            Page("https://a.com/rents", "Elsewhere", "Of no interest."),
            Page("https://mit.edu/silent", "Silent", ""),
        ],
        "relocation payments by landlords": [],
    }
    server.find = pages.__getitem__

    def impacts(prompt: Prompt) -> list[dict[str, object]]:
        title, number, _ = prompt.sections[0]
        return [impact(title, cite(number), cite("R1", SAID))]

    analyst.impacts = impacts
    done = headrace("analyze", bill, "--bare", "--json")
    assert (done.code, done.json["status"]) == (0, "completed")
    (stored,) = look("SELECT research, report FROM bill_analyses")
    research = stored["research"]
    assert research["provider"] == "zai"
    assert [(found["source"], found["title"], found["text"]) for found in research["results"]] == [
        ("https://www.hud.gov/rents", "Rents", SAID)
    ]
    assert research["queries_without_results"] == ["relocation payments by landlords"]
    assert "- [R1] Rents (https://www.hud.gov/rents)" in stored["report"]
    assert {asked.body["search_recency_filter"] for asked in server.asked} == {"oneYear"}
    searches = look(
        "SELECT status, purpose, run_id, step_id IS NOT NULL AS step FROM llm_requests WHERE kind = 'search'"
    )
    assert [(row["status"], row["purpose"], row["step"]) for row in searches] == [("succeeded", "research", True)] * 2
    assert {str(row["run_id"]) for row in searches} == {done.json["run_id"]}
    (run,) = look("SELECT cost_usd FROM runs")
    (calls,) = look("SELECT sum(cost_usd) AS usd FROM llm_requests WHERE kind <> 'search'")
    assert run["cost_usd"] == calls["usd"] + 2 * Decimal("0.01")


def test_a_second_analysis_shares_what_the_first_one_found(bill: Path, headrace: Run, server: ScriptedSearch) -> None:
    first = headrace("analyze", bill, "--bare", "--json")
    second = headrace("analyze", bill, "--bare", "--json")
    assert (first.code, second.code, server.paid) == (0, 0, 2)


def test_when_nothing_is_found_the_report_says_so(
    bill: Path, headrace: Run, look: Look, server: ScriptedSearch
) -> None:
    server.find = lambda _: []
    assert headrace("analyze", bill, "--bare", "--json").code == 0
    (stored,) = look("SELECT research->'results' AS results, report FROM bill_analyses")
    assert stored["results"] == []
    assert "No result: zai has nothing on the 2 queries asked." in stored["report"]


def test_a_provider_that_fails_fails_the_run_and_not_the_results(
    bill: Path, headrace: Run, look: Look, server: ScriptedSearch
) -> None:
    server.find = lambda _: Answer(503)
    done = headrace("analyze", bill, "--bare", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "retries_exhausted")
    server.find = lambda _: [Page("https://www.hud.gov/rents", "Rents", SAID)]
    resumed = headrace("resume", done.json["run_id"], "--json")
    assert (resumed.code, resumed.json["status"]) == (0, "completed")


@pytest.mark.parametrize(("named", "said"), [("altavista", "there is no search provider"), ("brave", "BRAVE_API_KEY")])
def test_a_provider_that_cannot_be_asked_is_told_before_a_model_is_paid(
    bill: Path, headrace: Run, environment: Environment, provider: ScriptedProvider, named: str, said: str
) -> None:
    environment(HEADRACE_SEARCH_PROVIDER=named)
    done = headrace("analyze", bill, "--bare", "--json")
    assert (done.code, done.json["error"]["code"]) == (2, "configuration")
    assert said in done.reason
    assert provider.log == []


def test_web_search_shows_people_pages_and_machines_an_object(headrace: Run, server: ScriptedSearch) -> None:
    server.find = lambda _: [Page("https://irs.gov/a", "Rents [1]", "What it\nsays.", "2024-01-02")]
    done = headrace("web", "search", "rent limits", "--domain", "*.gov", "--recency", "year", "--count", "3")
    assert (done.code, done.out) == (
        0, "- Rents [1] (2024-01-02)\n  https://irs.gov/a\n  What it says.\n1 results from zai, $0.01\n",
    )  # fmt: skip
    shown = headrace(
        "web", "search", "Rent limits", "--domain", "*.gov", "--recency", "year", "--count", "3", "--json"
    ).json
    assert (shown["run_id"], shown["status"], shown["cached"], shown["cost_usd"]) == (None, "completed", True, "0")
    assert [result["url"] for result in shown["results"]] == ["https://irs.gov/a"]
    assert server.paid == 1


def test_web_commands_for_subjects(headrace: Run, server: ScriptedSearch) -> None:
    tax = headrace("web", "tax-rules", "Ohio", "2024", "--json").json
    assert (tax["subject"], len(tax["searches"]), tax["cost_usd"]) == ("tax rules of Ohio in 2024", 4, "0.04")
    people = headrace("web", "retirement-rules", "401k", "--provider", "tavily")
    assert people.out.endswith("rules of a 401k: 1 pages, $0.032\n")
    assert headrace("web", "fund-prospectus", "VTSAX", "--json").json["subject"] == "prospectus of VTSAX"
    assert "https://www.irs.gov/page" in headrace("web", "legislation", "rents").out
    assert headrace("web", "fund-prospectus", "!").code == 2


def test_web_cache_shows_what_was_saved_and_cleans_up(headrace: Run, look: Look, server: ScriptedSearch) -> None:
    empty = headrace("web", "cache", "--json").json
    assert (empty["status"], empty["hit_rate"], empty["live"], empty["cleaned"]) == ("completed", None, 0, None)
    for _ in range(4):
        headrace("web", "search", "rent limits")
    server.find = lambda _: []
    assert headrace("web", "search", "nothing").out == "no result from zai, $0.01\n"
    shown = headrace("web", "cache", "--json").json
    assert (shown["answered"], shown["hits"], shown["hit_rate"]) == (5, 3, 0.6)
    assert (shown["spent_usd"], shown["saved_usd"], shown["by_provider"]["zai"]["hit_rate"]) == ("0.02", "0.03", 0.6)
    look("UPDATE web_search_cache SET expires_at = now() WHERE query = 'nothing'")
    people = headrace("web", "cache", "--clean").out
    assert "60.0%" in people
    assert "1 cached searches, 0 expired\n1 expired searches were taken out\n" in people


def test_a_search_without_a_provider_says_what_to_set(headrace: Run, environment: Environment) -> None:
    environment(HEADRACE_SEARCH_PROVIDER="corpus", ZAI_API_KEY="")
    done = headrace("web", "search", "rents", "--json")
    assert (done.code, done.json["error"]["code"]) == (2, "configuration")
    assert "HEADRACE_SEARCH_PROVIDER" in done.reason


def test_doctor_tells_what_the_provider_of_searches_needs(headrace: Run, environment: Environment) -> None:
    assert "web search by zai: what it needs is set" in headrace("doctor").out
    environment(HEADRACE_SEARCH_PROVIDER="brave")
    done = headrace("doctor")
    assert done.code == 1
    assert "bad web search by brave: brave needs BRAVE_API_KEY to be set" in done.out


def test_help_tells_of_the_web_commands(headrace: Run) -> None:
    assert "Search the web" in " ".join(headrace("--help").out.split())
    assert "tax-rules" in headrace("web", "--help").out
