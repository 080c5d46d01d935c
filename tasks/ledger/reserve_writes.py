"""What a batch writes of calls that are to be made: reservations, or replays of what is answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import text

from blocks.scripts import Script
from tasks.ledger.batch import Batch
from tasks.ledger.batch_reads import Found, claim
from tasks.ledger.budgets import ZERO, Reservation, UsageKey
from tasks.ledger.operations import (
    Answered,
    ClaimedElsewhere,
    NoRoom,
    NotAnswered,
    OverUserLimit,
    Reserve,
    Reserved,
    ReserveOutcome,
    Unfinished,
    UnpricedUnderBudget,
)
from tasks.ledger.rows import REQUESTS_BY_ID, add_only_new_rows, add_rows, by_id
from tasks.ledger.search_cache import stale_searches

IF_NEW = "ON CONFLICT (id) DO NOTHING"

_GIVE_BACK = text("""
    DELETE FROM answers WHERE key = ANY(:keys) AND status = 'claimed' AND request_id = ANY(:ids)
""")


def reserve(script: Script, batch: Batch, found: Found) -> None:
    """Each reservation is decided in order: those granted are counted and written, others replayed or turned away."""
    reserving = batch.of(Reserve)
    replay(script, batch, found)
    granted = []
    for place, item in reserving:
        if place in batch.outcomes:
            continue
        outcome = batch.outcomes[place] = _decide(batch, found, place, item)
        if isinstance(outcome, Reserved) and item.row["id"] not in found.requests:
            _count(batch, place, item)
            granted.append((place, item))
    rows = [_granted_row(item, batch.counted_in.get(place, ())) for place, item in granted]
    if found.locked:
        add_rows(script, "llm_requests", rows, suffix=IF_NEW)
    else:  # one that is there already, given up by somebody since, is counted already
        add_only_new_rows(script, "llm_requests", rows)
    _give_back_claims(script, batch, found)


def _decide(batch: Batch, found: Found, place: int, item: Reserve) -> ReserveOutcome:
    """Whether the call may be made, by its key's claim, its job if it has one, and its budgets."""
    if item.replay_only:
        return NotAnswered()
    state = found.answers.get(item.key)
    applied_before = state is not None and state.request_id == item.row["id"]  # and committed after all
    if not (applied_before or item.row["id"] in found.won):
        return ClaimedElsewhere(state is not None and bool(state.abandoned))
    if job := found.unfinished.get(item.key):
        return Unfinished(job.id, job.job_id, job.run_id, claim_id=item.row["id"])
    if request := found.requests.get(item.row["id"]):
        return Reserved(request.id, Reservation.of(request.reserved_usd, request.budget_scopes))
    return _room(item, place, batch)


def _room(item: Reserve, place: int, batch: Batch) -> ReserveOutcome:
    """Whether the call fits every budget it is counted in; a budget that is spent is named first."""
    full: NoRoom | None = None
    for key in batch.counted_in.get(place, ()):
        row = batch.usage[key]
        if row.limit_usd is None:
            continue
        if item.amount is None:
            if item.unpriced_allowed:
                continue
            return UnpricedUnderBudget(key)
        if not row.fits(item.amount) and (full is None or full.may_fit_later):
            full = NoRoom(key, row.limit_usd, row.spent_usd, may_fit_later=row.could_fit(item.amount))
    if full is None and item.user_limit is not None:
        seconds = batch.windows[item.user].seconds_until_room(item.user_limit)
        return OverUserLimit(seconds) if seconds > 0 else _reserved(item, place, batch)
    return full or _reserved(item, place, batch)


def _reserved(item: Reserve, place: int, batch: Batch) -> Reserved:
    return Reserved(item.row["id"], Reservation(item.amount or ZERO, batch.counted_in.get(place, ())))


def _count(batch: Batch, place: int, item: Reserve) -> None:
    """The call is counted in its budgets and among its user's requests."""
    for key in batch.counted_in.get(place, ()):
        batch.usage[key].reserved_usd += item.amount or ZERO
    if item.user_limit is not None:
        batch.windows[item.user].added += 1


def _granted_row(item: Reserve, keys: Sequence[UsageKey]) -> dict[str, Any]:
    return {**item.row, "reserved_usd": item.amount, "budget_scopes": [key.as_json() for key in keys]}


def _give_back_claims(script: Script, batch: Batch, found: Found) -> None:
    """Keys that were claimed for calls that are not to be made are free again."""
    kept = {outcome.request_id for outcome in batch.outcomes.values() if isinstance(outcome, Reserved)}
    kept |= {outcome.claim_id for outcome in batch.outcomes.values() if isinstance(outcome, Unfinished)}
    turned_away = [
        item for item in batch.operations if isinstance(item, Reserve) and item.row["id"] in found.won - kept
    ]
    if turned_away:
        keys, ids = [item.key for item in turned_away], [item.row["id"] for item in turned_away]
        script.add(_GIVE_BACK, {"keys": keys, "ids": ids})


_STORED = text(f"""
    SELECT llm_requests.id, answered_model, input_tokens, output_tokens, cost_usd, cost_source,
           coalesce(latency_ms, 0) AS latency_ms, finish_reason, llm_bodies.reply,
           CASE WHEN kind = 'embedding' THEN llm_bodies.response END AS response
    FROM llm_requests JOIN llm_bodies ON llm_bodies.request_id = llm_requests.id
    WHERE {REQUESTS_BY_ID} AND llm_bodies.reply IS NOT NULL
""")
_FORGET = text("DELETE FROM answers WHERE key = ANY(:keys) AND status = 'answered' AND request_id = ANY(:ids)")


def replay(script: Script, batch: Batch, found: Found) -> None:
    """Calls whose key is answered have the answer, for nothing.

    A key whose answer is not kept, is older than a call wants it, or is a search's that the cache no longer
    vouches for, is claimed anew.
    """
    reserving = batch.of(Reserve)
    answered = {key: state for key, state in found.answers.items() if state.status == "answered"}
    if not answered:
        return
    stale = stale_searches(script, [item.key for _, item in reserving if item.is_search], answered)
    ids = [state.request_id for key, state in answered.items() if key not in stale]
    stored = {row.id: row for row in script.add(_STORED, by_id(ids)).rows} if ids else {}
    gone = stale | {key for key, state in answered.items() if state.request_id not in stored}
    outdated: set[str] = set()
    rows = []
    for place, item in reserving:
        state = answered.get(item.key)
        if state is None or item.key in gone:
            continue
        if item.max_age is not None and state.age > item.max_age:
            outdated.add(item.key)
            continue
        answer = stored[state.request_id]
        rows.append(_replay_row(item, answer))
        batch.outcomes[place] = Answered(
            item.row["id"], answer.reply, answer.response, answer.cost_source, answer.latency_ms
        )
    _write_replays(script, batch, rows)
    _claim_anew(script, batch, found, gone | outdated)


def _write_replays(script: Script, batch: Batch, rows: Sequence[dict[str, Any]]) -> None:
    written = add_rows(script, "llm_requests", rows, suffix=f"{IF_NEW} RETURNING kind, answer_key")
    if any(row["kind"] == "search" for row in rows):
        batch.search_hits.update(row.answer_key for row in written.rows if row.kind == "search")


def _claim_anew(script: Script, batch: Batch, found: Found, keys: Iterable[str]) -> None:
    """The keys are free again, unless somebody has answered them anew, and claimed by who asks for them here."""
    answered = {key: found.answers.pop(key) for key in sorted(keys)}
    if answered:
        script.add(_FORGET, {"keys": list(answered), "ids": [state.request_id for state in answered.values()]})
        asking = [item for place, item in batch.of(Reserve) if item.key in answered and place not in batch.outcomes]
        found.won |= {row.request_id for row in claim(script, [item for item in asking if not item.replay_only]).rows}


def _replay_row(item: Reserve, answer: Any) -> dict[str, Any]:
    """Nothing paid, the tokens and latency of the original, which also has the texts."""
    return {
        **item.row,
        "status": "replayed",
        "replayed_from": answer.id,
        "request": None,
        "answered_model": answer.answered_model,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost_usd": ZERO,
        "saved_usd": answer.cost_usd,
        "cost_source": answer.cost_source,
        "latency_ms": answer.latency_ms,
        "finish_reason": answer.finish_reason,
    }
