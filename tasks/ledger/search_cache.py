"""The cache of web searches: what a batch reads and writes of it.

A search is a call like any other: claimed in `answers`, so that one flight is paid for however many
processes ask; a row of `llm_requests`, reserved and settled; replayed from that row. Two things set it
apart. Its key leaves out project and user, as what the web says belongs to nobody. And its answer
stands only while `web_search_cache` has a row of the same request that has not expired: without one
(expired, cleaned up, deleted by hand) the answer is forgotten and the key claimed anew. Only answers
make such a row, never failures; one that found nothing expires sooner.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from blocks.scripts import Script
from schemas.calls import ModelInfo, ProviderReply, SearchCall
from schemas.canonical import content_key, postgres_json, postgres_text
from schemas.settings import Settings
from tasks.ledger.batch import Batch
from tasks.ledger.rows import as_records
from tasks.ledger.scope import CallScope

_FRESH = text("""
    SELECT cache_key, request_id FROM web_search_cache
    WHERE cache_key = ANY(:keys) AND expires_at > clock_timestamp()
""")
# A late answer of a worker thought dead is kept only if it is the one that stands.
_STORE = text("""
    INSERT INTO web_search_cache
        (cache_key, query, results, provider, count, domains, recency, request_id, cached_at, expires_at)
    SELECT r.cache_key, r.query, r.results, r.provider, r.count, r.domains, r.recency, r.request_id,
           answers.answered_at, answers.answered_at + r.seconds * interval '1 second'
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(cache_key text, query text, results jsonb, provider text,
         count int, domains jsonb, recency text, request_id uuid, seconds float)
    JOIN answers ON answers.key = r.cache_key AND answers.request_id = r.request_id AND answers.status = 'answered'
    ORDER BY r.cache_key
    ON CONFLICT (cache_key) DO UPDATE
    SET query = excluded.query, results = excluded.results, request_id = excluded.request_id, hit_count = 0,
        cached_at = excluded.cached_at, expires_at = excluded.expires_at
""")
_COUNT_HITS = text("""
    UPDATE web_search_cache SET hit_count = hit_count + hit.times
    FROM (
        SELECT cache_key, times FROM unnest(CAST(:keys AS text[]), CAST(:times AS int[])) AS used(cache_key, times)
        JOIN web_search_cache USING (cache_key) ORDER BY cache_key FOR UPDATE OF web_search_cache
    ) AS hit
    WHERE web_search_cache.cache_key = hit.cache_key
""")


def normal_query(query: str) -> str:
    """`query` as keys have it: one case, one form of each character, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", query).casefold().split())


def search_key(call: SearchCall, model: ModelInfo, scope: CallScope) -> str:
    """SHA-256 over all that a search depends on; a run started with `--fresh` has answers of its own."""
    return content_key(
        {
            "kind": "search",
            "query": normal_query(call.query),
            "count": call.count,
            "domains": sorted(call.domains),
            "recency": call.recency,
            "provider": model.identity,
            "nonce": scope.nonce,
        }
    )


def cache_row(call: SearchCall, key: str, request_id: UUID, reply: ProviderReply, settings: Settings) -> dict[str, Any]:
    """The row of an answered search, with the `seconds` it may be replayed for."""
    found = reply.results or ()
    kept = timedelta(hours=settings.search_cache_hours)
    if not found:
        kept = min(kept, timedelta(minutes=settings.search_empty_minutes))
    return {
        "cache_key": key,
        "query": postgres_text(call.query),
        "results": postgres_json([result.model_dump() for result in found]),
        "provider": call.model.partition("/")[0],
        "count": call.count,
        "domains": list(call.domains),
        "recency": call.recency,
        "request_id": request_id,
        "seconds": kept.total_seconds(),
    }


def stale_searches(script: Script, keys: Sequence[str], states: Mapping[str, Any]) -> set[str]:
    """Those of `keys` that are answered, with an answer that the cache no longer vouches for."""
    answered = sorted({key for key in keys if key in states and states[key].status == "answered"})
    if not answered:
        return set()
    fresh = {(row.cache_key, row.request_id) for row in script.add(_FRESH, {"keys": answered}).rows}
    return {key for key in answered if (key, states[key].request_id) not in fresh}


def write_search_cache(script: Script, batch: Batch) -> None:
    """What was found will be in the cache, and what was used of it counted; the last rows a batch locks of calls."""
    if batch.searched:
        script.add(_STORE, {"rows": as_records(batch.searched)})
    if batch.search_hits:
        keys = sorted(batch.search_hits)
        script.add(_COUNT_HITS, {"keys": keys, "times": [batch.search_hits[key] for key in keys]})
