"""Rules over many rows, checked on the staged tables, and what becomes of the rows that break them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from blocks.expectations import Broken, ExpectationRunner
from schemas.errors import ExpectationFailed
from schemas.migration import NAMED, SHOWN, Policy, RuleOutcome
from tasks.migration.declaration import Counted, Lookup, Reference, Table
from tasks.migration.expectations import Expectations, Fact
from tasks.migration.reading import SEQUENCE
from tasks.migration.staging import HASH, SCHEMA, Staging, quoted


@dataclass(frozen=True)
class Checker:
    """Checks the staged tables of one run."""

    run_id: UUID
    staging: Staging
    policies: Mapping[str, Policy]
    runner: ExpectationRunner
    placeholders: Counter[str] = field(default_factory=Counter)

    def check(self, connection: Connection, rules: Expectations, place_of: Any) -> list[RuleOutcome]:
        """The rows of the table all meet its rules, one policy or another having been applied to those that did not.

        Args:
            connection: committed here, so that the runner's own connection sees what is staged.
            place_of: where the row of a sequence number stands in the source.

        Raises:
            ExpectationFailed: rows break a rule whose policy is to abort.
        """
        for statement in rules.resolve():
            connection.execute(text(statement))
        connection.exec_driver_sql(rules.view().replace("%", "%%"))
        connection.commit()
        staging = rules.staging
        broken = self.runner.check(SCHEMA, staging.view(rules.table), rules.all(), SEQUENCE)
        facts = {fact.rule: fact for fact in rules.facts}
        outcomes = []
        for found in broken:
            outcomes.append(self._apply(connection, rules, found, facts.get(found.rule), place_of))
        connection.commit()
        return outcomes

    def _apply(
        self, connection: Connection, rules: Expectations, found: Broken, fact: Fact | None, place_of: Any
    ) -> RuleOutcome:
        table = rules.table
        link = fact.link if fact else None
        policy = self.policies.get(found.rule, "reject")
        sentence = fact.sentence if fact else found.meta["reason"]
        samples = self._ids(connection, table, found.rows[:NAMED])
        outcome = RuleOutcome(
            table=table.name,
            rule=found.rule,
            policy=policy,
            count=len(found.rows),
            sentence=sentence,
            samples=samples,
        )
        if policy == "abort":
            self.reject(connection, table, found.rule, found.rows, _reason(fact, found), place_of)
            connection.commit()
            shown = ", ".join(samples[:SHOWN]) + (" …" if len(found.rows) > SHOWN else "")
            raise ExpectationFailed(
                f"{len(found.rows)} of {table.name}: {sentence} ({shown}); `headrace rejects {self.run_id}` shows each",
                rule=found.rule,
                count=len(found.rows),
                rows=list(samples),
            )
        if policy == "report":
            return outcome
        if policy == "reject" or link is None or isinstance(link, Counted):
            self.reject(connection, table, found.rule, found.rows, _reason(fact, found), place_of)
        elif policy == "null":
            self._null(connection, table, link, found.rows)
        else:
            self._stand_in(connection, rules, link, found.rows)
        return outcome

    def _ids(self, connection: Connection, table: Table, rows: Sequence[int]) -> tuple[str, ...]:
        statement = f"SELECT id FROM {self.staging.path(table)} WHERE {SEQUENCE} = ANY(:rows) ORDER BY {SEQUENCE}"
        return tuple(map(str, connection.execute(text(statement), {"rows": list(rows)}).scalars()))

    def reject(
        self, connection: Connection, table: Table, rule: str, rows: Sequence[int], reason: str, place_of: Any
    ) -> None:
        """The staged rows are rejects from now on."""
        places = orjson.dumps([[row, place_of(row)] for row in rows]).decode()
        connection.execute(
            text(
                f"INSERT INTO migration_rejects (run_id, source_table, place, source_id, record, rule, reason) "
                f"SELECT :run, :table, place ->> 1, s.id, to_jsonb(s) - '{SEQUENCE}' - '{HASH}', :rule, {reason} "
                f"FROM jsonb_array_elements(CAST(:places AS jsonb)) AS place "
                f"JOIN {self.staging.path(table)} AS s ON s.{SEQUENCE} = (place ->> 0)::bigint ORDER BY s.{SEQUENCE}"
            ),
            {"run": self.run_id, "table": table.name, "rule": rule, "places": places},
        )
        statement = f"DELETE FROM {self.staging.path(table)} AS s USING {_THESE} WHERE s.{SEQUENCE} = these.row"
        connection.execute(text(statement), {"rows": list(rows)})

    def _null(self, connection: Connection, table: Table, link: Reference | Lookup, rows: Iterable[int]) -> None:
        if isinstance(link, Lookup):
            return  # nothing was found, so it is NULL
        statement = (
            f"UPDATE {self.staging.path(table)} AS s SET {quoted(link.column)} = NULL FROM {_THESE} "
            f"WHERE s.{SEQUENCE} = these.row"
        )
        connection.execute(text(statement), {"rows": list(rows)})

    def _stand_in(
        self, connection: Connection, rules: Expectations, link: Reference | Lookup, rows: Sequence[int]
    ) -> None:
        """Rows that stand in for the missing ones are staged with the table that should have had them."""
        parent = rules.kind.table(link.to)
        assert parent is not None
        values: Mapping[str, Any] = {**(parent.placeholder or {}), "attributes": {"placeholder": True}}
        path = self.staging.path(parent)
        # NULL takes the row's type, so that one document fills the columns as they are typed.
        made = connection.execute(
            text(
                f"INSERT INTO {path} ({SEQUENCE}, id, {', '.join(map(quoted, values))}) "
                f"SELECT (SELECT coalesce(max({SEQUENCE}), -1) FROM {path}) + row_number() OVER (ORDER BY missing.id), "
                f"missing.id, {', '.join(f'given.{quoted(name)}' for name in values)} "
                f"FROM (SELECT DISTINCT {quoted(link.column)} AS id FROM {self.staging.path(rules.table)} AS s "
                f"JOIN {_THESE} ON s.{SEQUENCE} = these.row) AS missing, "
                f"jsonb_populate_record(CAST(NULL AS {parent.target}), CAST(:values AS jsonb)) AS given"
            ),
            {"rows": list(rows), "values": orjson.dumps(values).decode()},
        )
        self.placeholders[parent.name] += made.rowcount


_THESE = "unnest(CAST(:rows AS bigint[])) AS these(row)"


def _reason(fact: Fact | None, found: Broken) -> str:
    if fact is not None:
        return fact.reason
    return "'" + str(found.meta["reason"]).replace("'", "''").replace(":", r"\:") + "'"
