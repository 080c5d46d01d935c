"""What is expected of a staged table: the rules that follow from its declaration, and those of its suite.

The rules are checked on a view over the staging table with one column of truth values for each fact that needs other
rows: whether a reference is known, whether an id is the first of its kind, whether the row here is ours to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from schemas.errors import ConfigurationError
from tasks.migration.declaration import Counted, Kind, Lookup, Reference, Table, rule_name
from tasks.migration.reading import SEQUENCE
from tasks.migration.staging import HASH, Staging, hash_of, literal, quoted
from tasks.migration.suites import read_suite


@dataclass(frozen=True)
class Fact:
    """A column of the view that says whether something holds of a row.

    Attributes:
        joins: what the view joins to know it.
        reason: why a row is rejected of which it does not hold; SQL of text over `s`.
    """

    name: str
    rule: str
    expression: str
    joins: str
    sentence: str
    reason: str
    link: Reference | Lookup | Counted | None = None

    def expectation(self) -> dict[str, Any]:
        """It holds of every row."""
        kwargs = {"column": self.name, "value_set": [True]}
        return {"type": "expect_column_values_to_be_in_set", "kwargs": kwargs, "meta": {"rule": self.rule}}


def taken_rule(table: Table) -> str:
    """The rule that no row of another source or of an application has an id of the table."""
    return f"{table.name}.taken"


def untouched_placeholder(table: Table) -> str:
    """SQL of whether the row `t` stands in for a missing one and is as it was loaded."""
    return f"(t.attributes @> '{{\"placeholder\": true}}' AND t.{HASH} = {hash_of(table.column_names, 't')})"


@dataclass(frozen=True)
class Expectations:
    """The rules of one table of a kind."""

    kind: Kind
    table: Table
    staging: Staging
    source_name: str

    @cached_property
    def facts(self) -> list[Fact]:
        """What is known of each row, in the order in which it matters."""
        return list(self._facts())

    @property
    def suite(self) -> tuple[dict[str, Any], ...]:
        """The expectations of the table's suite."""
        return read_suite(self.kind.name, self.table.name)

    def all(self) -> list[dict[str, Any]]:
        """Every expectation, as JSON."""
        return [*(fact.expectation() for fact in self.facts), *self.suite]

    def view(self) -> str:
        """SQL that makes the view."""
        facts = "".join(f", {fact.expression} AS {quoted(fact.name)}" for fact in self.facts)
        joins = " ".join(fact.joins for fact in self.facts)
        return (
            f"CREATE OR REPLACE VIEW {self.staging.view_path(self.table)} AS "
            f"SELECT s.*{facts} FROM {self.staging.path(self.table)} AS s {joins}"
        )

    def _facts(self) -> Iterator[Fact]:
        yield self._first()
        yield from self._ours()
        for number, link in enumerate(self.table.references):
            yield self._known(link, f"p{number}")
        for lookup in self.table.lookups:
            yield self._found(lookup)
        for number, counted in enumerate(self.table.counted):
            yield self._right(counted, f"c{number}")

    def _first(self) -> Fact:
        path = self.staging.path(self.table)
        id_hash = "hashtextextended(id::text, 0)"
        return Fact(
            "id_is_first",
            f"{self.table.name}.duplicate",
            "(later._seq IS NULL)",
            # Grouped by hash, which takes half the memory of grouping by id; only what shares one is looked at closer.
            f"LEFT JOIN (SELECT {SEQUENCE} FROM (SELECT d.{SEQUENCE}, row_number() OVER (PARTITION BY d.id "
            f"ORDER BY d.{SEQUENCE}) AS nth FROM {path} AS d JOIN (SELECT {id_hash} AS hash FROM {path} GROUP BY 1 "
            f"HAVING count(*) > 1) AS twice ON twice.hash = {id_hash}) AS numbered WHERE nth > 1 GROUP BY 1) "
            f"AS later USING ({SEQUENCE})",
            "the id stands twice; the first record counts",
            "'the id ' || s.id || ' stands twice; the first record counts'",
        )

    def _ours(self) -> Iterator[Fact]:
        target, names = self.table.target, self.table.column_names
        yield Fact(
            "id_is_free",
            taken_rule(self.table),
            "(other.id IS NULL)",
            f"LEFT JOIN {target} AS other ON other.id = s.id AND other.source IS DISTINCT FROM "
            + literal(self.source_name),
            "a row of another source or of an application has the id",
            f"'{target} ' || s.id || ' belongs to another source or to an application'",
        )
        yield Fact(
            "row_is_untouched",
            f"{self.table.name}.changed here",
            "(touched.id IS NULL)",
            f"LEFT JOIN {target} AS touched ON touched.id = s.id AND touched.source = "
            f"{literal(self.source_name)} AND touched.{HASH} <> {hash_of(names, 'touched')}",
            "the row was changed here after it was loaded and is left as it is",
            f"'{target} ' || s.id || ' was changed here after it was loaded and is left as it is'",
        )

    def _known(self, link: Reference, alias: str) -> Fact:
        parent = self._parent(link)
        column, field = quoted(link.column), self.table.alias(link.column)
        return Fact(
            f"{link.column}_is_known",
            rule_name(self.table, link.column),
            f"(s.{column} IS NULL OR {alias}.id IS NOT NULL)",
            f"LEFT JOIN (SELECT id FROM {self.staging.path(parent)} UNION SELECT id FROM {parent.target} AS t"
            f"{self._no_stand_in(parent)}) AS {alias} ON {alias}.id = s.{column}",
            f"{field} names no row of {parent.name}",
            f"'{field} ' || s.{column} || ' is in no {parent.name}'",
            link,
        )

    def _no_stand_in(self, parent: Table) -> str:
        """SQL that leaves out rows that stand in for missing ones: what refers to those breaks the rule every time."""
        if parent.placeholder is None:
            return ""
        return f" WHERE (t.source = {literal(self.source_name)} AND {untouched_placeholder(parent)}) IS NOT TRUE"

    def _found(self, link: Lookup) -> Fact:
        return Fact(
            f"{link.column}_is_found",
            rule_name(self.table, link.column),
            f"(s.{quoted(link.column)} IS NOT NULL)",
            "",
            f"no row of {link.to} has its {link.by}" + ("" if link.by == link.match else f" as {link.match}"),
            f"'no {link.to} with {link.match} ' || coalesce(quote_literal(left(s.{quoted(link.by)}, 100)), 'null')",
            link,
        )

    def _right(self, counted: Counted, alias: str) -> Fact:
        child = self._named(counted.of)
        column, by = f"s.{quoted(counted.column)}", quoted(counted.by)
        return Fact(
            f"{counted.column}_is_right",
            rule_name(self.table, counted.column),
            f"({column} IS NULL OR {column} = coalesce({alias}.rows, 0))",
            f"LEFT JOIN (SELECT {by} AS id, count(*) AS rows FROM {self.staging.path(child)} GROUP BY {by}) AS {alias} "
            f"ON {alias}.id = s.id",
            f"{self.table.alias(counted.column)} is not the number of its {child.name} in the source",
            f"'{self.table.alias(counted.column)} is not the number of its {child.name}'",
            counted,
        )

    def _parent(self, link: Reference | Lookup) -> Table:
        return self._named(link.to)

    def _named(self, name: str) -> Table:
        found = self.kind.table(name)
        if found is None:
            raise ConfigurationError(f"{self.kind.name} has no table {name}, which {self.table.name} names")
        return found

    def resolve(self) -> Iterator[str]:
        """SQL that fills the columns that are looked up, from what is staged and what is here."""
        for link in self.table.lookups:
            parent = self._parent(link)
            names = [link.match, *([link.within] if link.within else [])]
            columns, same = ", ".join(map(quoted, dict.fromkeys(["id", *names]))), ", ".join(map(quoted, names))
            agree = f" AND p.{quoted(link.within)} = s.{quoted(link.within)}" if link.within else ""
            yield (
                f"UPDATE {self.staging.path(self.table)} AS s SET {quoted(link.column)} = p.id FROM "
                f"(SELECT DISTINCT ON ({same}) {columns} FROM (SELECT {columns} FROM {self.staging.path(parent)} "
                f"UNION SELECT {columns} FROM {parent.target}) AS found ORDER BY {same}, id) AS p "
                f"WHERE p.{quoted(link.match)} = s.{quoted(link.by)}{agree} AND s.{quoted(link.column)} IS NULL"
            )
