"""Searches of the web: found once, paid once, shared by all, for as long as they are good."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from itertools import accumulate, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadInput, BudgetExceeded, ConfigurationError, HeadraceError, RetriesExhausted
from schemas.settings import Settings
from tasks.ledger.limits import set_budgets
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.search_cache import normal_query
from tasks.ledger.search_usage import clean_search_cache, search_statistics
from tasks.ledger.searches import normal_domains, parse_recency, search_web
from tasks.ledger.session import Ledger, open_ledger
from tests.conftest import Environment
from tests.scripted_search import Answer, Page, ScriptedSearch
from tests.tasks.ledger.conftest import Look, StartProcess

CENT = Decimal("0.01")
"""What z.ai asks for a search."""
ROWS = "SELECT status, count(*) FROM llm_requests GROUP BY 1 ORDER BY 1"
DAY = "SELECT reserved_usd, spent_usd FROM budget_usage WHERE scope_kind = 'project' AND period = 'day'"


@pytest.fixture
def server() -> Iterator[ScriptedSearch]:
    with ScriptedSearch() as running:
        yield running


@pytest.fixture
def settings(environment: Environment, database_url: str, server: ScriptedSearch) -> Settings:
    """z.ai searches, as its key is set; other providers are there as well."""
    return environment(DATABASE_URL=database_url, HEADRACE_RETRY_ATTEMPTS=2, **server.environment)


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[Ledger]:
    async with open_ledger(settings) as opened:
        yield opened


async def test_a_search_is_a_request_on_record_and_a_second_one_is_replayed_for_nothing(
    ledger: Ledger, server: ScriptedSearch, look: Look
) -> None:
    first = await search_web("rent limits", domains=["*.gov"], recency="1y", purpose="look")
    again = await search_web("rent limits", domains=["*.gov"], recency="year")
    assert (first.cached, first.cost_usd, first.cost_source) == (False, CENT, "price_table")
    assert (again.cached, again.cost_usd) == (True, 0)
    assert first.results == again.results
    assert [(result.url, result.source) for result in first.results] == [("https://www.irs.gov/page", "www.irs.gov")]
    assert server.paid == 1
    assert look("""
        SELECT kind, provider, model, status, purpose, reserved_usd, cost_usd, request->>'query', request->>'recency',
               response #>> '{results,0,url}', provider_request_id
        FROM llm_requests WHERE status = 'succeeded'
    """) == [
        ("search", "zai", "zai/search-prime", "succeeded", "look", CENT, CENT, "rent limits", "year",
         "https://www.irs.gov/page", "20250101-zai"),
    ]  # fmt: skip
    assert look("SELECT replayed_from, cost_usd, id FROM llm_requests WHERE status = 'replayed'") == [
        (first.request_id, 0, again.request_id)
    ]
    assert look(DAY) == [(0, CENT)]


async def test_the_old_columns_say_what_was_found_and_how_often_it_was_used(ledger: Ledger, look: Look) -> None:
    first = await search_web("Rent  Limits")
    for _ in range(3):
        await search_web("rent limits")
    ((key, query, results, hits, request),) = look(
        "SELECT cache_key, query, results, hit_count, request_id FROM web_search_cache WHERE cached_at <= now()"
    )
    assert (query, hits, request) == ("Rent Limits", 3, first.request_id)
    assert results == [result.model_dump() for result in first.results]
    assert look("SELECT key FROM answers") == [(key,)]
    assert look("SELECT expires_at - cached_at = interval '24 hours' FROM web_search_cache") == [(True,)]


async def test_case_spaces_and_the_order_of_domains_make_no_difference(ledger: Ledger, server: ScriptedSearch) -> None:
    await search_web("Rent limits", domains=["*.gov", "Oecd.org"])
    assert (await search_web("  RENT\tlimits ", domains=["oecd.org", "*.gov", "*.gov"])).cached
    assert server.paid == 1


DIFFERENT = [{"count": 9}, {"domains": ["irs.gov"]}, {"recency": "week"}, {"provider": "tavily"}]


@pytest.mark.parametrize("more", DIFFERENT)
async def test_whatever_changes_the_answer_is_a_search_of_its_own(
    ledger: Ledger, server: ScriptedSearch, more: dict[str, object]
) -> None:
    await search_web("rent limits")
    assert not (await search_web("rent limits", **more)).cached  # type: ignore[arg-type]
    assert server.paid == 2


async def test_projects_and_users_share_what_was_found_and_each_use_is_on_record_for_its_own(
    ledger: Ledger, server: ScriptedSearch, look: Look
) -> None:
    await search_web("rent limits", project="forum", user="ada")
    assert (await search_web("rent limits", project="bills", user="bob")).cached
    assert look("SELECT project, user_id, status FROM llm_requests ORDER BY id") == [
        ("forum", "ada", "succeeded"),
        ("bills", "bob", "replayed"),
    ]
    assert look("SELECT scope_id FROM budget_usage WHERE scope_kind = 'project' AND spent_usd > 0 GROUP BY 1") == [
        ("forum",)
    ]


async def test_a_fresh_run_searches_anew_and_leaves_the_cache_to_others(ledger: Ledger, server: ScriptedSearch) -> None:
    await search_web("rent limits")
    request = RunRequest(flow="look", subject="rents", project="default", parameters={}, fresh=True)
    async with open_run(request):
        assert not (await search_web("rent limits")).cached
        assert (await search_web("rent limits")).cached
    assert (await search_web("rent limits")).cached
    assert server.paid == 2


async def test_what_has_expired_is_searched_anew_and_counts_its_hits_anew(
    ledger: Ledger, server: ScriptedSearch, look: Look
) -> None:
    await search_web("rent limits")
    await search_web("rent limits")
    look("UPDATE web_search_cache SET expires_at = now() - interval '1 second'")
    server.find = lambda _: [Page("https://new.gov/")]
    anew = await search_web("rent limits")
    assert ([result.url for result in anew.results], anew.cached) == (["https://new.gov/"], False)
    assert look("SELECT hit_count, request_id FROM web_search_cache") == [(0, anew.request_id)]
    assert (await search_web("rent limits")).results == anew.results
    assert look("SELECT hit_count FROM web_search_cache") == [(1,)]
    assert server.paid == 2


async def test_what_was_deleted_from_the_table_is_searched_anew(
    ledger: Ledger, server: ScriptedSearch, look: Look
) -> None:
    await search_web("rent limits")
    look("DELETE FROM web_search_cache")
    assert not (await search_web("rent limits")).cached
    assert (await search_web("rent limits")).cached
    assert server.paid == 2


async def test_nothing_found_is_believed_for_ten_minutes(ledger: Ledger, server: ScriptedSearch, look: Look) -> None:
    server.find = lambda _: []
    assert (await search_web("nothing of the kind")).results == ()
    again = await search_web("nothing of the kind")
    assert (again.results, again.cached) == ((), True)
    assert look("SELECT results, expires_at - cached_at = interval '10 minutes' FROM web_search_cache") == [([], True)]


async def test_how_long_results_are_kept_can_be_set(
    environment: Environment, settings: Settings, look: Look, server: ScriptedSearch
) -> None:
    environment(HEADRACE_SEARCH_CACHE_HOURS="0.1", HEADRACE_SEARCH_EMPTY_MINUTES="30")
    await search_web("rent limits")
    server.find = lambda _: []
    await search_web("nothing of the kind")
    assert look("SELECT DISTINCT expires_at - cached_at = interval '6 minutes' FROM web_search_cache") == [(True,)]


@pytest.mark.parametrize("answer", [Answer(500), Answer(body=b'{"results": []}')])
async def test_a_failure_is_never_cached(
    ledger: Ledger, server: ScriptedSearch, look: Look, no_pauses: None, answer: Answer
) -> None:
    server.find = lambda _: answer
    with pytest.raises(RetriesExhausted):
        await search_web("rent limits")
    assert look("SELECT count(*) FROM web_search_cache") == [(0,)]
    assert look("SELECT count(*) FROM answers") == [(0,)]
    unread = answer.status == 200  # an answer that may be billed
    assert look(ROWS) == [("unknown" if unread else "failed", 2)]
    assert look(DAY) == [(0, 2 * CENT if unread else 0)]
    server.find = lambda _: [Page("https://a.gov/")]
    assert not (await search_web("rent limits")).cached


async def test_a_search_that_does_not_fit_the_budget_is_not_made_but_a_cached_one_is_free(
    ledger: Ledger, server: ScriptedSearch
) -> None:
    await search_web("rent limits")
    await set_budgets(project="default", day="0.015")
    with pytest.raises(BudgetExceeded):
        await search_web("relocation payments")
    assert (await search_web("rent limits")).cached
    assert server.paid == 1


async def test_a_search_without_a_known_price_is_refused_under_a_budget_unless_it_is_named(
    environment: Environment, settings: Settings
) -> None:
    await set_budgets(project="default", day="1")
    with pytest.raises(ConfigurationError, match="no price is known for brave/search"):
        await search_web("rent limits", provider="brave")
    environment(HEADRACE_ALLOW_UNPRICED="brave/search")
    with pytest.raises(ConfigurationError, match="brave needs BRAVE_API_KEY"):  # it would be asked
        await search_web("rent limits", provider="brave")


async def test_the_provider_that_is_set_is_asked_and_without_one_the_variables_are_named(
    environment: Environment, settings: Settings, server: ScriptedSearch
) -> None:
    environment(HEADRACE_SEARCH_PROVIDER="searxng")
    assert (await search_web("rent limits")).provider == "searxng"
    environment(HEADRACE_SEARCH_PROVIDER="corpus", ZAI_API_KEY="")
    with pytest.raises(ConfigurationError, match=r"HEADRACE_SEARCH_PROVIDER .* or ZAI_API_KEY"):
        await search_web("rent limits")
    assert [asked.provider for asked in server.asked] == ["searxng"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"query": " \n "}, {"query": "x" * 2001}, {"query": "half \ud83d"}, {"query": "q", "count": 0},
        {"query": "q", "count": 51}, {"query": "q", "domains": ["no domain"]}, {"query": "q", "domains": ["*"]},
        {"query": "q", "domains": "irs.gov"}, {"query": "q", "recency": "2y"},
        {"query": "q", "project": "\x00"}, {"query": "q", "provider": "zai/\x00"},
    ],
)  # fmt: skip
async def test_a_wrong_argument_is_told_before_anybody_is_asked(
    settings: Settings, server: ScriptedSearch, look: Look, arguments: dict[str, object]
) -> None:
    with pytest.raises(BadInput):
        await search_web(**arguments)  # type: ignore[arg-type]
    assert (server.asked, look("SELECT count(*) FROM llm_requests")) == ([], [(0,)])


async def test_16_equal_searches_of_one_process_are_paid_once(
    ledger: Ledger, server: ScriptedSearch, look: Look
) -> None:
    found = await asyncio.gather(*(search_web("rent limits") for _ in range(16)))
    assert server.paid == 1
    assert sorted(each.cached for each in found) == [False] + [True] * 15
    assert look("SELECT hit_count FROM web_search_cache") == [(15,)]


async def test_equal_searches_of_8_processes_are_paid_once(
    settings: Settings, server: ScriptedSearch, look: Look, start_process: StartProcess
) -> None:
    server.hold()
    workers = [start_process("search_one", query="rent limits", times=2) for _ in range(8)]
    for worker in workers:
        assert worker.line()["worker"]
    await asyncio.to_thread(server.wait_held, 1)
    server.release()
    said = [worker.line() for worker in workers]
    assert [each["urls"] for each in said] == [["https://www.irs.gov/page"]] * 8
    assert sum(each["cached"] for each in said) == 15
    assert len(server.asked) == 1
    assert look(ROWS) == [("replayed", 15), ("succeeded", 1)]
    assert look("SELECT hit_count FROM web_search_cache") == [(15,)]
    assert look(DAY) == [(0, CENT)]


async def test_a_search_whose_process_was_killed_is_taken_over(
    settings: Settings, server: ScriptedSearch, look: Look, start_process: StartProcess
) -> None:
    server.hold()
    doomed = start_process("search_one", query="rent limits")
    doomed.line()
    await asyncio.to_thread(server.wait_held, 1)
    doomed.kill()
    heir = asyncio.create_task(search_web("rent limits"))
    await asyncio.to_thread(server.wait_held, 1)
    server.release()
    found = await heir
    assert not found.cached
    assert look("SELECT status, error_class FROM llm_requests ORDER BY id") == [
        ("unknown", "WorkerLost"),
        ("succeeded", None),
    ]
    assert look("SELECT request_id FROM web_search_cache") == [(found.request_id,)]
    assert look(DAY) == [(0, 2 * CENT)]


async def test_expired_searches_are_cleaned_up_by_the_old_function(
    ledger: Ledger, server: ScriptedSearch, look: Look
) -> None:
    for query in ("one", "two", "three"):
        await search_web(query)
    look("UPDATE web_search_cache SET expires_at = now() - interval '1 hour' WHERE query <> 'one'")
    assert (await search_statistics()).expired == 2
    assert look("SELECT cleanup_search_cache()") == [(2,)]
    assert look("SELECT query FROM web_search_cache") == [("one",)]
    assert await clean_search_cache() == 0
    assert not (await search_web("two")).cached


async def test_statistics_tell_hits_and_the_money_they_saved(
    ledger: Ledger, server: ScriptedSearch, look: Look, no_pauses: None
) -> None:
    nothing = await search_statistics()
    assert (nothing.answered, nothing.hit_rate, nothing.spent_usd, nothing.by_provider) == (0, None, 0, {})
    for query in ("one", "one", "one", "two"):
        await search_web(query, project="bills")
    for _ in range(2):
        await search_web("one", provider="tavily")
    server.find = lambda _: Answer(500)
    with pytest.raises(HeadraceError):
        await search_web("three")
    whole = await search_statistics()
    assert (whole.answered, whole.hits, whole.failed, whole.hit_rate) == (6, 3, 2, 0.5)
    assert (whole.spent_usd, whole.saved_usd) == (Decimal("0.028"), Decimal("0.028"))  # 2 × 0.01 + 0.008, both times
    assert (whole.live, whole.expired, whole.unpriced) == (3, 0, 0)
    tavily = whole.by_provider["tavily"]
    assert (tavily.answered, tavily.hits, tavily.saved_usd) == (2, 1, Decimal("0.008"))
    bills = await search_statistics("bills")
    assert (bills.answered, bills.hits, bills.spent_usd, list(bills.by_provider)) == (4, 2, 2 * CENT, ["zai"])


STATES = ("Arizona", "California", "Florida", "Illinois", "New York", "Ohio", "Oregon", "Texas", "Utah", "Vermont")
ASPECTS = ("income tax brackets", "standard deduction", "capital gains tax", "estate tax", "rent limits", "evictions")
QUESTIONS = [f"{state} {aspect} {year}" for year, aspect, state in product(range(2022, 2026), ASPECTS, STATES)]
SEARCHES = 1000


def zipf(rank_exponent: float, seed: int) -> list[tuple[str, str]]:
    """`SEARCHES` questions, the n-th most popular asked in proportion to n ** -exponent, each with how it was typed."""
    chance = random.Random(seed)
    popular = chance.sample(QUESTIONS, len(QUESTIONS))
    weights = list(accumulate(rank**-rank_exponent for rank in range(1, len(popular) + 1)))
    drawn = chance.choices(popular, cum_weights=weights, k=SEARCHES)
    typed = (str, str.lower, str.upper, lambda words: f" {words} ")
    return [(question, chance.choice(typed)(question)) for question in drawn]


async def test_of_1000_searches_as_people_ask_them_the_cache_answers_at_least_80_percent(
    ledger: Ledger, server: ScriptedSearch, look: Look
) -> None:
    """240 questions, a few of them asked often and many once: popularity by Zipf's law with an exponent of 1.1."""
    asked = zipf(1.1, seed=1)
    bound = asyncio.Semaphore(16)

    async def search(query: str) -> str:
        async with bound:
            found = await search_web(query)
            return found.results[0].title

    titles = await asyncio.gather(*(search(typed) for _, typed in asked))
    distinct = {question for question, _ in asked}
    as_typed = {typed for _, typed in asked}
    assert len(as_typed) > 0.2 * SEARCHES, "without a normal form too many would be searched anew"
    told = [" ".join(title.lower().split()) for title in titles]
    assert told == [f"about {question.lower()}" for question, _ in asked], "each its own answer"
    statistics = await search_statistics()
    assert statistics.answered == SEARCHES
    assert statistics.hit_rate is not None
    assert statistics.hit_rate >= 0.8
    assert server.paid == len(distinct) == SEARCHES - statistics.hits
    assert statistics.saved_usd == statistics.hits * CENT
    assert look("SELECT sum(hit_count) FROM web_search_cache") == [(statistics.hits,)]
    assert look(DAY) == [(0, len(distinct) * CENT)]


@given(st.text(max_size=60))
def test_a_normal_query_is_its_own_normal_form_up_to_spaces_and_case(query: str) -> None:
    normal = normal_query(query)
    spaced = normal.replace(" ", " \t ")
    assert normal_query(f"  {spaced} ") == normal_query(normal)
    assert normal == " ".join(normal.split())


def test_domains_are_in_one_order_and_recency_has_its_old_words() -> None:
    assert normal_domains(["B.org", "*.gov", " b.org "]) == ("*.gov", "b.org")
    assert [parse_recency(said) for said in ("1d", "1w", "1m", "1y", None)] == ["day", "week", "month", "year", None]
