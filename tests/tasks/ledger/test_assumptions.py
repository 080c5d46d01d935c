"""A batch of the usual kind takes one message; whatever is not as usual is found out, and done as always."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from sqlalchemy import Connection, Engine, text

from blocks.scripts import Script
from schemas.errors import LeaseLost
from schemas.identifiers import new_id
from tasks.ledger.alerts import BudgetAlert
from tasks.ledger.operations import Attempt, ClaimedElsewhere, NoRoom, Operation, Outcome, Reserve, Reserved
from tasks.ledger.transaction import MOST_LOOKS, BatchWriter
from tasks.ledger.workers import give_up_abandoned
from tests.conftest import TEMPLATE
from tests.tasks.ledger.conftest import Look, clone_database
from tests.tasks.ledger.test_transaction import DAY, apply, reserve, settle, worker  # noqa: F401 - a fixture

LIMIT = "INSERT INTO budgets (scope_kind, scope_id, period, {what}) VALUES ('project', 'default', '{period}', {usd})"


@pytest.fixture
def connection(database: Engine) -> Iterator[Connection]:
    """A connection on which a batch's transaction is its own."""
    with database.connect() as opened:
        yield opened.execution_options(isolation_level="AUTOCOMMIT")


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to Postgres."""
    sent: list[str] = []
    exchange = Script._exchange

    def noted(self: Script, lines: str, values: list[object], *, fetch: bool) -> object:
        sent.append(lines)
        return exchange(self, lines, values, fetch=fetch)

    monkeypatch.setattr(Script, "_exchange", noted)
    return sent


@pytest.fixture
def usual(database: Engine) -> Reserve:
    """A call that was made before, so that the counters of its budgets exist."""
    before = reserve("before")
    apply(database, before)
    return before


def commit(connection: Connection, *operations: Operation) -> tuple[list[Outcome], list[BudgetAlert], bool]:
    """Outcomes and alerts of the operations as one batch, and whether it was as assumed."""
    writer, alerts = BatchWriter(), list[BudgetAlert]()
    outcomes = writer.commit(connection, operations, alerts)
    return outcomes, alerts, writer.surprises == 0


def test_the_usual_takes_one_message(connection: Connection, usual: Reserve, messages: list[str], look: Look) -> None:
    writer, first = BatchWriter(), reserve("a")
    (reserved,) = writer.commit(connection, [first], [])
    assert isinstance(reserved, Reserved)
    assert len(messages) == 1
    second = reserve("b", "0.5")
    batch = [replace(settle(first), held=reserved.held), second]
    assert writer.commit(connection, batch, []) == [None, Reserved(second.row["id"])]
    assert len(messages) == 2
    assert look(DAY) == [(Decimal("1.5"), Decimal("0.25"))]
    assert look("SELECT status FROM llm_requests ORDER BY id") == [("reserved",), ("succeeded",), ("reserved",)]
    assert look("SELECT key, status FROM answers ORDER BY key") == [
        ("a", "answered"), ("b", "claimed"), ("before", "claimed")
    ]  # fmt: skip


def test_a_day_that_begins_is_found_out(connection: Connection, look: Look) -> None:
    outcomes, _, assumed = commit(connection, operation := reserve("a"))
    assert (outcomes, assumed) == ([Reserved(operation.row["id"])], False)
    assert look(DAY) == [(1, 0)]
    assert commit(connection, reserve("b"))[2], "from then on it is as usual"


@pytest.mark.parametrize(("limits", "amount", "fits"), [
    ([("day", "limit_usd", "2")], "1", True),
    ([("day", "limit_usd", "2")], "1.0000000001", False),
    ([("month", "limit_usd", "1.5")], "1", False),
    ([("day", "limit_usd", "9"), ("month", "limit_usd", "2")], "1", True),
])  # fmt: skip
def test_a_limit_is_a_wall(
    connection: Connection, usual: Reserve, look: Look, limits: list[tuple[str, str, str]], amount: str, fits: bool
) -> None:
    for period, what, usd in limits:
        look(LIMIT.format(period=period, what=what, usd=usd))
    (outcome,), _, assumed = commit(connection, reserve("a", amount))
    assert isinstance(outcome, Reserved if fits else NoRoom)
    assert assumed == fits
    assert look("SELECT count(*) FROM llm_requests") == [(2 if fits else 1,)]
    assert look(DAY) == [(1 + (Decimal(amount) if fits else 0), 0)]


def test_a_period_that_is_limited_out_of_the_ordinary_is_found_out(
    connection: Connection, usual: Reserve, look: Look
) -> None:
    look(LIMIT.format(period="total", what="limit_usd", usd="5"))
    (outcome,), _, assumed = commit(connection, operation := reserve("a"))
    assert (outcome, assumed) == (Reserved(operation.row["id"]), False)
    assert look("SELECT reserved_usd FROM budget_usage WHERE period = 'total'") == [(1,)]


def test_a_soft_limit_that_is_reached_is_found_out_once(
    database: Engine, connection: Connection, usual: Reserve, look: Look
) -> None:
    look(LIMIT.format(period="day", what="warn_usd", usd="0.2"))
    (reserved,) = apply(database, second := reserve("b"))
    assert isinstance(reserved, Reserved)
    _, alerts, assumed = commit(connection, replace(settle(second), held=reserved.held))
    assert ([alert.period for alert in alerts], assumed) == (["day"], False)
    (reserved,) = apply(database, third := reserve("c"))
    assert isinstance(reserved, Reserved)
    _, alerts, assumed = commit(connection, replace(settle(third), held=reserved.held))
    assert (alerts, assumed) == ([], True)
    assert look("SELECT count(*) FROM budget_alerts") == [(1,)]


def _claimed(database: Engine, look: Look) -> Operation:
    apply(database, reserve("a"))
    return reserve("a")


def _settled(database: Engine, look: Look) -> Operation:
    (reserved,) = apply(database, first := reserve("a"))
    assert isinstance(reserved, Reserved)
    apply(database, settle(first))
    return replace(settle(first, "0.75"), held=reserved.held)


def _superseded(database: Engine, look: Look) -> Operation:
    return reserve("a", attempt=Attempt(new_id(), new_id()))


@pytest.mark.parametrize(("surprise", "outcome"), [
    (_claimed, ClaimedElsewhere(abandoned=False)),
    (_settled, None),
    (_superseded, LeaseLost),
])  # fmt: skip
def test_a_surprise_costs_the_rest_of_the_batch_nothing(
    database: Engine,
    connection: Connection,
    usual: Reserve,
    look: Look,
    surprise: Callable[[Engine, Look], Operation],
    outcome: object,
) -> None:
    odd = surprise(database, look)
    before = look("SELECT sum(spent_usd) FROM budget_usage")
    (first, second), _, assumed = commit(connection, odd, ordinary := reserve("z"))
    assert not assumed
    assert first == outcome or (isinstance(outcome, type) and isinstance(first, outcome))
    assert second == Reserved(ordinary.row["id"])
    assert look("SELECT sum(spent_usd) FROM budget_usage") == before


def test_surprises_in_a_row_make_the_writer_look_first_ever_longer(
    database: Engine, connection: Connection, usual: Reserve
) -> None:
    writer, odd, in_vain = BatchWriter(), _claimed(database, lambda _: []), []
    for number in range(100):
        before = writer.surprises
        writer.commit(connection, [odd], [])
        if writer.surprises > before:
            in_vain.append(number)
    assert [later - earlier for earlier, later in pairwise(in_vain)] == [1, 3, 7, 15, MOST_LOOKS, MOST_LOOKS]


def test_after_a_lone_surprise_the_usual_takes_one_message_again(
    database: Engine, connection: Connection, usual: Reserve, messages: list[str]
) -> None:
    writer = BatchWriter()
    writer.commit(connection, [_claimed(database, lambda _: [])], [])
    messages.clear()
    writer.commit(connection, [reserve("after")], [])
    assert len(messages) == 1


def test_surprise_after_surprise_prepares_nothing_anew(
    database: Engine, connection: Connection, usual: Reserve, look: Look
) -> None:
    prepared = text("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'headrace%'")
    apply(database, reserve("a"))
    counts = set()
    for _ in range(3):
        assert commit(connection, reserve("a"))[::2] == ([ClaimedElsewhere(abandoned=False)], False)
        counts.add(connection.execute(prepared).scalar_one())
    assert len(counts) == 1


def test_a_batch_applied_again_because_its_commit_was_not_heard_of_is_applied_once(
    connection: Connection, usual: Reserve, look: Look
) -> None:
    operation = reserve("a")
    for expected in (True, False):
        outcomes, _, assumed = commit(connection, operation)
        assert (outcomes, assumed) == ([Reserved(operation.row["id"])], expected)
    assert look(DAY) == [(2, 0)]
    assert look("SELECT count(*) FROM llm_requests") == [(2,)]


def test_a_reservation_given_up_before_it_is_applied_again_is_counted_once(
    database: Engine, connection: Connection, usual: Reserve, look: Look
) -> None:
    commit(connection, operation := reserve("a"))
    look("UPDATE workers SET lease_until = now() - interval '1 second'")
    with database.begin() as other:
        assert give_up_abandoned(other, new_id()) == 2
    outcomes, _, assumed = commit(connection, operation)
    assert (outcomes, assumed) == ([Reserved(operation.row["id"])], False)
    assert look(DAY) == [(0, 2)]


class TestInADatabaseOfItsOwn:
    """No earlier test has looked into its tables."""

    @pytest.fixture
    def database_url(self, template: Engine) -> Iterator[str]:
        yield from clone_database(template, TEMPLATE)

    def test_calls_are_found_without_looking_into_other_months(
        self, connection: Connection, usual: Reserve, look: Look
    ) -> None:
        writer, first, second = BatchWriter(), reserve("a"), reserve("b")
        (held,) = writer.commit(connection, [first], [])
        assert isinstance(held, Reserved)
        writer.commit(connection, [replace(settle(first), held=held.held), second], [])  # as usual
        writer.commit(connection, [settle(second)], [])  # looked at
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        months = dict(
            look("SELECT relname, idx_scan + seq_scan FROM pg_stat_user_tables WHERE relname LIKE 'llm_requests_%'")
        )
        assert len(months) > 2
        assert [name for name, scans in months.items() if scans] == [f"llm_requests_{datetime.now(UTC):%Y_%m}"]
