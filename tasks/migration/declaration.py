"""How a kind of source is declared: its tables, what their records look like, and what refers to what.

A kind is one module in `tasks/migration/kinds/` with a `KIND`. The record model of a table has one field for each
column that is filled, named as the column is, its alias the source's name; every other field of a record is kept in
`attributes`. Conversions are validators of the model, described in `conversions`. Nothing in the engine knows a kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from schemas.errors import BadInput
from schemas.migration import POLICIES, Policy
from schemas.tables import Base
from tasks.migration.emptiness import may_be_empty
from tasks.migration.suites import read_suite

if TYPE_CHECKING:
    from sqlalchemy import Column
    from sqlalchemy import Table as SqlTable

    from blocks.sources.records import Source

ATTRIBUTES = "attributes"


class SourceRecord(BaseModel):
    """A record whose fields are columns, read by their names in camel case; the rest is kept as attributes."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel)


@dataclass(frozen=True)
class Reference:
    """`column` names a row of the table `to`, which must be in the source or here already."""

    column: str
    to: str
    policy: Policy = "reject"


@dataclass(frozen=True)
class Lookup:
    """`column` is found: the row of `to` whose `match` is this row's `by`, among those that agree in `within`."""

    column: str
    to: str
    by: str
    match: str
    within: str | None = None
    policy: Policy = "null"


@dataclass(frozen=True)
class Counted:
    """`column` says how many rows of the table `of` name this one in their column `by`."""

    column: str
    of: str
    by: str
    policy: Policy = "report"


@dataclass(frozen=True)
class Nested:
    """The list in a record's `field` becomes records of the table `table`.

    Attributes:
        inherits: fields that each of them gets, and the fields of the outer record they are taken from.
        ordinal: the field that gets its place in the list, from 1.
        scope: its id is only unique within the outer record, whose id is put before it.
    """

    field: str
    table: str
    inherits: Mapping[str, str]
    ordinal: str = "ordinal"
    scope: bool = True


@dataclass(frozen=True)
class Table:
    """One table of the source.

    Attributes:
        name: as policies and reports call it.
        aliases: other names that sources give it.
        only_rejects: none of its records becomes a row: it has those that belong to no other.
        placeholder: columns of a row that stands in for a missing one; None where none may.
        prepare: changes a record, given the name of the source, before anything else is done to it: opens JSON that is
            kept as text, so that no secret hides there, and gives it the id that its row has here. Never raises.
        conversions: sentences on what the model changes.
    """

    name: str
    model: type[SourceRecord]
    target: str
    aliases: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    counted: tuple[Counted, ...] = ()
    nested: tuple[Nested, ...] = ()
    only_rejects: bool = False
    placeholder: Mapping[str, Any] | None = None
    prepare: Callable[[dict[str, Any], str], None] | None = None
    conversions: tuple[str, ...] = ()

    @cached_property
    def sql(self) -> SqlTable:
        """The target."""
        return Base.metadata.tables[self.target]

    @cached_property
    def columns(self) -> tuple[Column[Any], ...]:
        """The columns that are filled from the source, the key first."""
        names = [*self.model.model_fields, *(lookup.column for lookup in self.lookups)]
        names += [ATTRIBUTES] if ATTRIBUTES in self.sql.columns else []
        names = list(dict.fromkeys(names))
        return tuple(self.sql.columns[name] for name in sorted(names, key=lambda name: name != "id"))

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns that are filled."""
        return tuple(column.name for column in self.columns)

    @property
    def links(self) -> tuple[Reference | Lookup, ...]:
        """Its columns that name rows of other tables."""
        return (*self.references, *self.lookups)

    def alias(self, column: str) -> str:
        """What the source calls the column."""
        known = self.model.model_fields.get(column)
        return (known.alias or column) if known else to_camel(column)


@dataclass(frozen=True)
class Kind:
    """A kind of source.

    Attributes:
        version: raise it when a conversion changes what is loaded.
        tables: in the order in which they are loaded, what is referred to first.
        open_source: opens a path or URL.
        secrets: fields that hold secrets, beside those whose name says so.
        ignored: values of the source that are no records.
    """

    name: str
    version: str
    description: str
    tables: tuple[Table, ...]
    open_source: Callable[[str], Source]
    secrets: frozenset[str] = field(default_factory=frozenset)
    ignored: frozenset[str] = field(default_factory=frozenset)

    def table(self, name: str) -> Table | None:
        """The table with this name or alias; letter case, `-` and `_` do not matter."""
        return self._by_name.get(_plain(name))

    @cached_property
    def _by_name(self) -> dict[str, Table]:
        return {_plain(name): table for table in self.tables for name in (table.name, *table.aliases)}

    @cached_property
    def default_policies(self) -> dict[str, Policy]:
        """The policy of every rule that has a choice, as `table.field`."""
        policies: dict[str, Policy] = {}
        for table in self.tables:
            for link in (*table.links, *table.counted):
                policies[rule_name(table, link.column)] = link.policy
            for expectation in read_suite(self.name, table.name):
                policies[expectation["meta"]["rule"]] = expectation["meta"].get("policy", "reject")
        return policies

    def policies(self, chosen: Mapping[str, Policy]) -> dict[str, Policy]:
        """The policy of every rule, with those `chosen` in place of the defaults.

        Raises:
            BadInput: there is no such rule, or the policy cannot be carried out there.
        """
        policies = dict(self.default_policies)
        for rule, policy in chosen.items():
            name, allowed = self._rule(rule)
            if policy not in allowed:
                raise BadInput(f"the policy of {name} can be {', '.join(allowed)}, not {policy}")
            policies[name] = policy
        return policies

    def _rule(self, rule: str) -> tuple[str, list[Policy]]:
        """The rule's full name, and what its policy may be."""
        wanted, _, column = rule.rpartition(".")
        table = self.table(wanted)
        if table is not None:
            for link in table.links:
                if _plain(column) in (_plain(link.column), _plain(table.alias(link.column))):
                    return rule_name(table, link.column), self._allowed(table, link)
            for name in self.default_policies:
                if _plain(name) == _plain(f"{table.name}.{column}"):
                    return name, ["reject", "report", "abort"]
        raise BadInput(f"{self.name} has no rule {rule}; there are {', '.join(sorted(self.default_policies))}")

    def _allowed(self, table: Table, link: Reference | Lookup) -> list[Policy]:
        target = self.table(link.to)
        assert target is not None
        refused = {"report"}  # the database itself would refuse the row
        if not may_be_empty(table.sql.columns[link.column]):
            refused.add("null")
        if isinstance(link, Lookup) or target.placeholder is None:
            refused.add("create-placeholder")
        return [policy for policy in POLICIES if policy not in refused]


def rule_name(table: Table, column: str) -> str:
    """How a rule about a column is called: `conversations.courseId`."""
    return f"{table.name}.{table.alias(column)}"


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
