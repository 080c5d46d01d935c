"""Tests between variants: who has which, what the ledger keeps of it, and what the report says."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Engine

from schemas.errors import BadInput, ConfigurationError, NotFound
from schemas.versions import Variant, choose_variant
from tasks.ledger import complete, give_feedback
from tasks.ledger.session import Ledger
from tasks.versions import (
    create_test,
    list_tests,
    list_versions,
    promote_version,
    register_version,
    report_test,
    roll_back_version,
    stop_test,
    variant_for,
)
from tests.scripted_provider import ScriptedProvider
from tests.tasks.versions.conftest import Look
from tests.tasks.versions.rows import call, rating, store

SMALL, LARGE = "gpt-4o-mini", "gpt-4o"
BOTH = [Variant(name="old", model=SMALL), Variant(name="new", model=LARGE)]
USERS = [f"user-{number}" for number in range(20_000)]
FIRST, SECOND = UUID(int=1), UUID(int=2)


def test_users_are_divided_by_the_weights() -> None:
    variants = [Variant(name="a", weight=7), Variant(name="b", weight=2), Variant(name="c", weight=1)]
    counts = Counter(choose_variant(FIRST, user, variants).name for user in USERS)
    assert counts["a"] == pytest.approx(14_000, abs=300)  # more than four standard deviations
    assert counts["b"] == pytest.approx(4_000, abs=250)
    assert counts["c"] == pytest.approx(2_000, abs=200)


def test_the_variant_in_one_test_tells_nothing_of_that_in_another() -> None:
    """Of 20,000 users a quarter is in each of the four cells; chi-square with 1 degree of freedom below 15."""
    cells = Counter((choose_variant(FIRST, user, BOTH).name, choose_variant(SECOND, user, BOTH).name) for user in USERS)
    assert len(cells) == 4
    assert sum((count - 5000) ** 2 / 5000 for count in cells.values()) < 15


def test_the_choice_is_the_same_on_every_machine_and_in_every_version() -> None:
    """SHA-256 of sixteen bytes and the name begins, by `sha256sum`, with f614…, cdb3…, b194… and 036e…."""
    chosen = {user: choose_variant(FIRST, user, BOTH).name for user in ("ada", "bob", "ünï", "\ud800")}
    assert chosen == {"ada": "new", "bob": "new", "ünï": "new", "\ud800": "old"}


async def test_a_user_stays_with_a_variant_and_each_row_says_which(ledger: Ledger, look: Look) -> None:
    await create_test("newer", BOTH, purpose="radar")
    for user in ("ada", "bob", "carl"):
        chosen = await variant_for(user, "newer")
        for question in ("Why?", "Who?"):
            answer = await complete(question, model="version:radar", user=user, context={"market": "US"})
            assert answer.model == chosen.model
        rows = look("SELECT DISTINCT context FROM llm_requests WHERE user_id = :user", user=user)
        assert rows == [({"market": "US", "ab_tests": {"newer": chosen.variant}},)]


async def test_a_replay_is_an_exposure_too(ledger: Ledger, provider: ScriptedProvider, look: Look) -> None:
    await complete("Why?", model=SMALL, user="ada")
    await complete("Why?", model=LARGE, user="ada")
    await create_test("newer", BOTH, purpose="radar")
    assert (await complete("Why?", model="version:radar", user="ada")).replayed
    assert provider.paid == 2
    assert look("SELECT count(*) FROM llm_requests WHERE context ? 'ab_tests' AND status = 'replayed'") == [(1,)]


async def test_who_is_nobody_is_in_no_test_and_after_its_end_nobody_is(ledger: Ledger, look: Look) -> None:
    await register_version("radar", LARGE)
    await create_test("newer", [Variant(name="old", model=SMALL), Variant(name="new", version=1)], purpose="radar")
    with pytest.raises(ConfigurationError):
        await complete("Why?", model="version:radar")
    await promote_version("radar", 1)
    assert (await complete("Why?", model="version:radar")).model == LARGE
    await stop_test("newer")
    assert (await complete("Why?", model="version:radar", user="ada")).model == LARGE
    assert look("SELECT count(*) FROM llm_requests WHERE context ? 'ab_tests'") == [(0,)]
    chosen = await variant_for("ada", "newer")
    assert (chosen.running, chosen.context) == (False, {})
    with pytest.raises(BadInput, match="newer was stopped on"):
        await stop_test("newer")


async def test_what_is_promoted_at_the_end_of_a_test_is_in_charge_at_once_or_the_test_goes_on(ledger: Ledger) -> None:
    for model in (SMALL, LARGE):
        await register_version("radar", model)
    variants = [Variant(name="old", version=1), Variant(name="new", version=2), Variant(name="other", model=SMALL)]
    await create_test("newer", variants, purpose="radar")
    for name, what in (("newest", "no variant"), ("other", "no version of a purpose")):
        with pytest.raises(BadInput, match=f"{name} is {what} of newer"):
            await stop_test("newer", promote=name)
    assert (await list_tests())[0].stopped_at is None
    assert (await stop_test("newer", promote="new")).stopped_at is not None
    assert (await complete("Why?", model="version:radar", user="ada")).model == LARGE
    await create_test("again", variants, purpose="radar")
    await stop_test("again", promote="new")
    assert [version.in_charge for version in await list_versions("radar")] == [False, True]
    with pytest.raises(BadInput, match="no version was in charge before"):
        await roll_back_version("radar")


async def test_an_application_s_own_variants_are_on_the_rows_it_hands_them_to(ledger: Ledger, look: Look) -> None:
    await create_test("shorter", [Variant(name="long"), Variant(name="short")])
    await create_test("newer", BOTH, purpose="radar")
    chosen, model = await variant_for("ada", "shorter"), await variant_for("ada", "newer")
    assert chosen.model is None
    await complete("Why?", model="version:radar", user="ada", context=chosen.context)
    both = {"shorter": chosen.variant, "newer": model.variant}
    assert look("SELECT context FROM llm_requests") == [({"ab_tests": both},)]


@pytest.mark.parametrize(
    ("variants", "more", "why"),
    [
        (BOTH[:1], {}, "two variants or more"),
        ([BOTH[0], BOTH[0]], {}, "each with a name of its own"),
        ([Variant(name="a"), Variant(name="b", model=SMALL)], {"purpose": "radar"}, "variant a of a test on radar"),
        ([Variant(name="a"), Variant(name="b", version=1)], {}, "names a version, and the test has no purpose"),
        ([Variant(name="a"), Variant(name="b", model="version:x")], {}, "cannot be version:x"),
        (BOTH, {"minimum_effect": 0.0}, "difference of rates"),
        (BOTH, {"error_rate": 1.0}, "below 1"),
        (BOTH, {"purpose": "a b"}, "name of a purpose"),
    ],
)
async def test_what_is_no_test_is_refused(
    ledger: Ledger, variants: list[Variant], more: dict[str, str], why: str
) -> None:
    with pytest.raises(BadInput, match=why):
        await create_test("t", variants, **more)  # type: ignore[arg-type]
    assert await list_tests() == []


async def test_a_name_is_used_once_and_a_purpose_has_one_test_at_a_time(ledger: Ledger) -> None:
    await create_test("newer", BOTH, purpose="radar")
    with pytest.raises(BadInput, match="newer runs on radar; `headrace ab-test stop newer`"):
        await create_test("other", BOTH, purpose="radar")
    await stop_test("newer")
    with pytest.raises(BadInput, match="there is a test newer already"):
        await create_test("newer", BOTH, purpose="radar")
    await create_test("other", BOTH, purpose="radar")
    with pytest.raises(NotFound, match="there is no version 4 of radar"):
        await create_test("third", [BOTH[0], Variant(name="x", version=4)], purpose="radar")
    with pytest.raises(NotFound, match="there is no test third"):
        await variant_for("ada", "third")
    with pytest.raises(BadInput, match="name a user"):
        await variant_for("", "other")


async def begun(look: Look, days: int, variants: list[Variant] = BOTH) -> datetime:
    """A test `newer` that began so many days ago."""
    await create_test("newer", variants, purpose="radar", minimum_effect=0.1)
    look("UPDATE ab_tests SET started_at = now() - make_interval(days => :days)", days=days)
    return (await list_tests())[0].started_at


async def test_a_report_without_calls_says_what_is_needed(ledger: Ledger) -> None:
    await create_test("newer", BOTH, purpose="radar")
    report = await report_test("newer")
    (comparison,) = report.comparisons
    assert [variant.users for variant in report.variants] == [0, 0]
    assert report.variants[0].rate.value is None
    assert (comparison.difference, comparison.verdict, comparison.by_day) == (None, "open", ())
    assert comparison.still_needed == comparison.needed > 1000
    assert comparison.days_needed is None
    assert (report.division_p, report.warnings) == (None, ())


async def test_the_first_rating_of_each_user_counts_once_and_all_of_them_beside_it(
    ledger: Ledger, database: Engine, look: Look
) -> None:
    since = await begun(look, 3)
    hour = timedelta(hours=1)
    ada = [call(since + place * hour, "ada", {"newer": "old"}) for place in range(1, 5)]
    bob = call(since + hour, "bob", {"newer": "old"}, status="failed", cost_usd=None, latency_ms=None)
    bob_again = call(since + 2 * hour, "bob", {"newer": "old"}, latency_ms=900, cost_usd="0.003")
    eve = call(since + hour, "eve", {"newer": "new", "another": "x"})
    eve_again = call(
        since + 2 * hour, "eve", {"newer": "new"}, status="replayed", replayed_from=eve["id"], cost_usd="0"
    )
    outside = [
        call(since - hour, "eve", {"newer": "new"}), call(since + hour, "fay"),
        call(since + hour, "gil", {"another": "x"}), call(since + hour, None, {"newer": "new"}),
    ]  # fmt: skip
    ratings = [
        rating(ada[1], "negative", since + 5 * hour), rating(ada[0], "positive", since + 6 * hour),
        rating(ada[2], "positive", since + 7 * hour), rating(bob_again, "positive", since + 5 * hour),
        rating(eve, "neutral", since + 5 * hour), rating(outside[0], "positive", since + hour),
        rating(eve, "positive", since + hour, user="somebody else"),
    ]  # fmt: skip
    store(database, [*ada, bob, bob_again, eve, eve_again, *outside], ratings)
    old, new = (await report_test("newer")).variants
    assert (old.users, old.calls, old.failed, old.rated, old.first_positive) == (2, 6, 1, 2, 1)
    assert (old.ratings, old.positive, old.rate.value) == (4, 3, 0.5)
    assert old.rate_of_all.value == 0.75
    assert (old.priced, old.cost_usd) == (5, Decimal("0.007"))
    assert old.cost_per_call.value == pytest.approx(0.0014)
    assert old.latency.value == pytest.approx(580)  # (4 · 500 + 900) / 5
    assert (old.latency_p50, old.latency_p95) == pytest.approx((500, 820))
    assert (new.users, new.calls, new.rated, new.first_positive, new.ratings) == (1, 1, 1, 0, 1)
    assert (await report_test("newer")).warnings == ("no cost is known of 1 calls",)


def day_of(number: int, since: datetime) -> datetime:
    """Noon of a day of the test, in UTC."""
    return (since + timedelta(days=number)).astimezone(UTC).replace(hour=12, minute=0, second=0)


async def test_a_difference_stands_from_the_day_it_was_established_and_the_report_of_a_stopped_test_stays(
    ledger: Ledger, database: Engine, look: Look
) -> None:
    since = await begun(look, 10)
    calls, ratings = [], []
    for day in range(1, 9):
        for number in range(60):
            # The new one pleases 90 of 100, the old one 50; the users of a day alternate between them.
            variant, positive = ("old", number % 4 == 0) if number % 2 == 0 else ("new", number % 20 != 1)
            calls.append(call(day_of(day, since), f"user-{day}-{number}", {"newer": variant}))
            ratings.append(rating(calls[-1], "positive" if positive else "negative", day_of(day, since)))
    store(database, calls, ratings)
    report = await report_test("newer")
    (comparison,) = report.comparisons
    assert [variant.first_positive for variant in report.variants] == [120, 216]
    assert (comparison.verdict, comparison.difference) == ("better", pytest.approx(0.4))
    assert comparison.lower is not None
    assert comparison.lower > 0.1
    assert comparison.p is not None
    assert comparison.p < 1e-6
    first = next(reading for reading in comparison.by_day if reading.decided)
    assert (comparison.decided_on, comparison.still_needed) == (first.day, 0)
    assert first.day < comparison.by_day[-1].day
    assert [reading.rated for reading in comparison.by_day] == [60 * day for day in range(1, 9)]
    stopped = await stop_test("newer")
    late = call(datetime.now(UTC), "late", {"newer": "old"})
    store(database, [late], [rating(late, "positive", datetime.now(UTC))])
    after = await report_test("newer")
    assert (after.read_at, after.variants, after.comparisons[0].by_day) == (
        stopped.stopped_at, report.variants, comparison.by_day,
    )  # fmt: skip


async def test_three_variants_share_the_error_rate_and_a_wrong_division_is_said(
    ledger: Ledger, database: Engine, look: Look
) -> None:
    since = await begun(look, 2, [*BOTH, Variant(name="third", model=SMALL, weight=2)])
    users = [call(day_of(1, since), f"user-{number}", {"newer": "old"}) for number in range(100)]
    store(database, users)
    report = await report_test("newer")
    assert [each.error_rate for each in report.comparisons] == [0.025, 0.025]
    assert [each.variant for each in report.comparisons] == ["new", "third"]
    assert "users are not divided as the weights say (old 100, new 0, third 0)" in report.warnings[0]


async def test_the_whole_way_from_call_to_report(ledger: Ledger) -> None:
    await create_test("newer", BOTH, purpose="radar")
    for number in range(8):
        answer = await complete("Why?", model="version:radar", user=f"user-{number}")
        await give_feedback(answer.request_id, "positive" if answer.model == LARGE else "negative")
    old, new = (await report_test("newer")).variants
    assert old.users + new.users == 8
    assert (old.rated, old.first_positive) == (old.users, 0)
    assert (new.rated, new.first_positive) == (new.users, new.users)
    assert new.cost_usd is not None
    with pytest.raises(NotFound):
        await report_test("older")
