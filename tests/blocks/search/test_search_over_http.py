"""Every search provider over HTTP, against a server that refuses what the provider's reference does not have."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from pydantic import SecretStr

from blocks.providers.exchange import Exchange
from blocks.search.catalogue import ENGINES
from blocks.search.engines import SearchEngines, model_of
from schemas.calls import SearchCall, WebResult
from schemas.errors import (
    AuthenticationFailed,
    BadInput,
    ConfigurationError,
    ContentRefused,
    CreditExhausted,
    HeadraceError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)
from schemas.settings import Settings
from tests.conftest import shared_data
from tests.scripted_search import DIALECTS, KEY, Answer, Page, ScriptedSearch

PROVIDERS = list(DIALECTS)


def call(provider: str = "zai", **more: object) -> SearchCall:
    return SearchCall.model_validate({"model": model_of(provider), "query": "rent limits", **more})


async def found(engines: SearchEngines, asked: SearchCall, exchange: Exchange | None = None) -> list[WebResult]:
    reply = await engines.search(asked, timeout_seconds=20, exchange=exchange)
    assert reply.results is not None
    return list(reply.results)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_a_provider_finds_has_title_address_text_and_source(
    server: ScriptedSearch, engines: SearchEngines, provider: str
) -> None:
    server.find = lambda _: [
        Page("https://www.irs.gov/rent", "Rents", "Limits on rents."),
        Page("https://Example.ORG/b?c=d", "More", ""),
    ]
    exchange = Exchange()
    results = await found(engines, call(provider), exchange)
    assert [(result.title, result.url, result.snippet, result.source) for result in results] == [
        ("Rents", "https://www.irs.gov/rent", "Limits on rents.", "www.irs.gov"),
        ("More", "https://Example.ORG/b?c=d", "", "example.org"),
    ]
    assert [(asked.provider, asked.query, asked.status) for asked in server.asked] == [(provider, "rent limits", 200)]
    assert exchange.status == 200
    assert json.loads(exchange.response_bytes or b"null")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_nothing_found_is_an_empty_answer(server: ScriptedSearch, engines: SearchEngines, provider: str) -> None:
    server.find = lambda _: []
    assert await found(engines, call(provider)) == []


RECENT = {
    "zai": ("search_recency_filter", "oneMonth"),
    "tavily": ("time_range", "month"),
    "perplexity": ("search_recency_filter", "month"),
    "searxng": ("time_range", "month"),
}


@pytest.mark.parametrize("provider", RECENT)
async def test_the_age_of_pages_is_asked_for_in_the_providers_words(
    server: ScriptedSearch, engines: SearchEngines, provider: str
) -> None:
    await found(engines, call(provider, recency="month"))
    name, value = RECENT[provider]
    assert server.asked[0].body[name] == value


async def test_exa_is_told_the_earliest_day(server: ScriptedSearch, engines: SearchEngines) -> None:
    await found(engines, call("exa_ai", recency="year"))
    assert server.asked[0].body["startPublishedDate"].endswith("T00:00:00.000Z")
    assert server.asked[0].status == 200


async def test_a_provider_that_cannot_tell_the_age_of_pages_is_not_asked_for_it(engines: SearchEngines) -> None:
    with pytest.raises(BadInput, match="linkup cannot confine a search to recent pages; zai, brave"):
        await found(engines, call("linkup", recency="year"))


DOMAINS = {
    "tavily": ("include_domains", ["*.gov", "oecd.org"]),
    "perplexity": ("search_domain_filter", [".gov", "oecd.org"]),
    "exa_ai": ("includeDomains", ["*.gov", "oecd.org"]),
    "searxng": ("q", "rent limits (site:gov OR site:oecd.org)"),
    "zai": ("count", 50),
}


@pytest.mark.parametrize("provider", DOMAINS)
async def test_domains_are_asked_for_and_what_lies_outside_is_left_out(
    server: ScriptedSearch, engines: SearchEngines, provider: str
) -> None:
    urls = [
        "https://a.gov.evil.com/1", "https://www.irs.gov/2", "https://oecd.org/3", "https://data.oecd.org/4",
        "https://notoecd.org/5", "https://irs.gov:8443/6", "https://gov/7",
    ]  # fmt: skip
    server.find = lambda _: [Page(url) for url in urls]
    results = await found(engines, call(provider, domains=("*.gov", "oecd.org"), count=4))
    assert [result.url for result in results] == [urls[1], urls[2], urls[3], urls[5]]
    name, value = DOMAINS[provider]
    assert server.asked[0].body[name] == value


async def test_z_ai_is_asked_for_a_single_domain_itself(server: ScriptedSearch, engines: SearchEngines) -> None:
    await found(engines, call(domains=("irs.gov",), count=3))
    assert server.asked[0].body == {
        "search_engine": "search-prime", "search_query": "rent limits", "count": 3, "search_domain_filter": "irs.gov",
        "search_recency_filter": "noLimit",
    }  # fmt: skip


async def test_results_without_an_address_or_found_twice_are_left_out_and_no_more_than_wanted_kept(
    server: ScriptedSearch, engines: SearchEngines
) -> None:
    urls = ["", "ftp://irs.gov/a", "https://a.gov", "https://a.gov", "https://b.gov", "http://[", "https://c.gov"]
    server.find = lambda _: [Page(url) for url in urls]
    assert [result.url for result in await found(engines, call(count=2))] == ["https://a.gov", "https://b.gov"]


async def test_results_that_z_ai_gave_are_understood(server: ScriptedSearch, engines: SearchEngines) -> None:
    captured = json.loads((shared_data("origin") / "affordabot" / "zai_web_search_reply.json").read_bytes())
    body = {"id": captured["id"], "created": captured["created"], "search_result": captured["web_search"]}
    server.find = lambda _: Answer(body=json.dumps(body).encode())
    reply = await engines.search(call(count=10), timeout_seconds=20)
    assert reply.results is not None
    assert [result.url for result in reply.results] == [row["link"] for row in captured["web_search"]]
    first = reply.results[0]
    assert first.model_dump() == {
        "title": "San Jose City Council News",
        "url": "https://sanjosespotlight.com/tag/san-jose-city-council/",
        "snippet": captured["web_search"][0]["content"].strip(),
        "published_date": None,  # an empty text in the reply
        "source": "sanjosespotlight.com",  # as is the medium
    }
    assert reply.provider_request_id == captured["id"]


async def test_exa_says_what_a_search_cost(engines: SearchEngines) -> None:
    reply = await engines.search(call("exa_ai"), timeout_seconds=20)
    assert (reply.provider_cost_usd, reply.provider_request_id) == (Decimal("0.007"), "e-1")


NO_RESULTS = [
    b'{"results": []}',  # of z.ai: the shape that older clients took for "nothing found"
    b'{"code": 500, "msg": "404 NOT_FOUND", "success": false}',
    b'{"search_result": null}',
    b'{"search_result": "none"}',
    b"[]",
    b"<html>busy</html>",
    b"",
]


@pytest.mark.parametrize("body", NO_RESULTS)
async def test_an_answer_without_a_list_of_results_is_a_failure_and_not_nothing_found(
    server: ScriptedSearch, engines: SearchEngines, body: bytes
) -> None:
    server.find = lambda _: Answer(body=body)
    with pytest.raises(ProviderUnavailable, match="unreadable") as caught:
        await found(engines, call())
    assert caught.value.details["billed"] == "unknown"


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "zai"])
@pytest.mark.parametrize("body", [b'{"detail": "quota"}', b'{"results": 3}', b'{"results": [7]}', b"[]", b"oops"])
async def test_what_litellm_would_read_as_nothing_found_is_a_failure(
    server: ScriptedSearch, engines: SearchEngines, provider: str, body: bytes
) -> None:
    server.find = lambda _: Answer(body=body)
    with pytest.raises(ProviderUnavailable, match="unreadable"):
        await found(engines, call(provider))


FAILURES: list[tuple[Answer, type[HeadraceError]]] = [
    (Answer(429, b"{}", {"Retry-After": "7"}), RateLimited),
    (Answer(500), ProviderUnavailable),
    (Answer(400, b'{"error": {"code": "1210"}}'), BadInput),
    (Answer(402), CreditExhausted),
    (Answer(403), AuthenticationFailed),
    (Answer(302, b"", {"Location": "http://127.0.0.1:9/"}), ConfigurationError),
]


@pytest.mark.parametrize("provider", ["zai", "tavily", "searxng"])
@pytest.mark.parametrize(("answer", "kind"), FAILURES)
async def test_failures_are_errors_of_ours(
    server: ScriptedSearch, engines: SearchEngines, provider: str, answer: Answer, kind: type[HeadraceError]
) -> None:
    server.find = lambda _: answer
    exchange = Exchange()
    with pytest.raises(kind) as caught:
        await found(engines, call(provider), exchange)
    assert type(caught.value) is kind
    assert KEY not in str(caught.value)
    assert "rent limits" not in str(caught.value)
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after == 7.0
    assert exchange.status == answer.status


async def test_an_account_in_arrears_at_z_ai_is_not_asked_again_and_a_query_it_does_not_like_is_refused(
    server: ScriptedSearch, engines: SearchEngines
) -> None:
    server.find = lambda _: Answer(429, b'{"error": {"code": "1113", "message": "arrears"}}')
    with pytest.raises(ConfigurationError, match="ZAI_API_KEY is in arrears"):
        await found(engines, call())
    server.find = lambda _: Answer(400, b'{"error": {"code": "1301", "message": "sensitive"}}')
    with pytest.raises(ContentRefused):
        await found(engines, call())


async def test_a_search_takes_no_longer_than_it_may(server: ScriptedSearch, engines: SearchEngines) -> None:
    await engines.search(call("searxng"), timeout_seconds=20)  # LiteLLM is loaded
    server.hold()
    for provider in ("zai", "searxng"):
        with pytest.raises(ProviderTimeout):
            await engines.search(call(provider), timeout_seconds=0.2)


@pytest.mark.parametrize("provider", ["zai", "tavily"])
async def test_a_wrong_key_is_named_by_its_variable(
    server: ScriptedSearch, engines: SearchEngines, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.scripted_search.DIALECTS", {
        name: DIALECTS[name].__class__(**{**vars(DIALECTS[name]), "header": ("Authorization", "Bearer another")})
        for name in DIALECTS
    })  # fmt: skip
    with pytest.raises(ConfigurationError, match=f"does not accept the key in {provider.upper()}_API_KEY"):
        await found(engines, call(provider))


async def test_a_key_that_is_not_set_is_named(
    server: ScriptedSearch, engines: SearchEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TAVILY_API_KEY")
    with pytest.raises(ConfigurationError, match="tavily needs TAVILY_API_KEY"):
        await found(engines, call("tavily"))
    assert server.asked == []


@pytest.mark.parametrize("model", ["altavista/search", "tavily/deep", "zai", "zai/", "", "agentcore/search"])
def test_a_provider_nobody_knows_is_told_with_those_there_are(engines: SearchEngines, model: str) -> None:
    with pytest.raises(ConfigurationError, match=r"there are zai, apiserpent, .*tavily"):
        engines.describe(model)


def test_what_a_provider_needs_is_known_before_it_is_asked(
    server: ScriptedSearch, engines: SearchEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for provider in (*PROVIDERS, "duckduckgo", "you_com"):
        engines.require(model_of(provider))
    for provider, variable in (("tavily", "TAVILY_API_KEY"), ("searxng", "SEARXNG_API_BASE")):
        monkeypatch.delenv(variable)
        with pytest.raises(ConfigurationError, match=f"{provider} needs {variable} to be set"):
            engines.require(model_of(provider))
    for key, wrong in (("", "is not set"), ("k\u00e9y", "no key has")):
        without = SearchEngines(Settings(_env_file=None, zai_api_key=SecretStr(key)), None, None)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=f"ZAI_API_KEY.* {wrong}"):
            without.require("zai/search-prime")
    assert server.asked == []


def test_another_address_is_another_identity(
    server: ScriptedSearch, engines: SearchEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engines.describe("zai/search-prime").identity == f"zai@{server.url}/zai/search-prime"
    assert engines.describe("tavily/search").identity == f"tavily@{server.url}/tavily/search"
    monkeypatch.delenv("TAVILY_API_BASE")
    assert engines.describe("tavily/search").identity == "tavily/search"


async def test_every_provider_of_litellm_but_two_is_in_the_catalogue_and_can_be_worded(
    server: ScriptedSearch, engines: SearchEngines
) -> None:
    from litellm.types.utils import SearchProviders

    assert {provider.value for provider in SearchProviders} - {"agentcore", "bing_grounding"} == set(ENGINES)
    from blocks.search.litellm_search import litellm_search

    for name in ENGINES:
        client = litellm_search(None, None, name)  # type: ignore[arg-type]
        asked = call(name, recency="week" if ENGINES[name].recency else None, domains=("*.gov", "a.org"))
        query, parameters, _ = client._parameters(asked)
        if name not in {"google_pse", "searchapi"}:  # which want their keys to word a request
            assert client.wording.transform_search_request(query=query, optional_params=parameters)
