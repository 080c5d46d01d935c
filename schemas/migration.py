"""What a migration is asked and what it reports."""

from __future__ import annotations

from typing import Literal, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict

Policy = Literal["reject", "null", "create-placeholder", "report", "abort"]
"""What becomes of a row that breaks a rule: it is left out, loses the value, gets what it lacks, is loaded and named in
the report, or ends the run."""

POLICIES: tuple[Policy, ...] = get_args(Policy)
SHOWN = 5
"""How many examples of rows a report gives."""
NAMED = 50
"""How many of the rows that broke a rule a report names."""


class Reported(BaseModel):
    """Part of a report."""

    model_config = ConfigDict(frozen=True)


class RuleOutcome(Reported):
    """Rows that broke one rule, and what became of them."""

    table: str
    rule: str
    policy: Policy
    count: int
    sentence: str
    samples: tuple[str, ...] = ()
    """Natural ids or places of the first of them."""


class Refused(Reported):
    """A field whose values were thrown away unread: they are secrets."""

    table: str
    field: str
    count: int


class Staying(Reported):
    """Rows that the source no longer has and that a prune leaves, for one reason.

    Attributes:
        samples: ids of some of them.
        referred_by: our table whose rows refer to them; empty where somebody changed them here.
        referring: ids of some of the rows that refer to them.
    """

    count: int
    samples: tuple[str, ...]
    referred_by: str = ""
    referring: tuple[str, ...] = ()


class TableReport(Reported):
    """One table of the source on its way into one of ours.

    Attributes:
        read: records of the source, unreadable ones included.
        placeholders: rows made because others refer to them.
        inserted, updated, unchanged: of the accepted rows; in a dry run what would become of them.
        gone: rows of an earlier migration that the source no longer has.
        pruned: those of them that were deleted; in a dry run that would be.
        staying: those that a prune leaves; a row that does not go for two reasons is counted for each.
        source_checksum, target_checksum: sums of the hashes of the rows staged and of the same rows read back.
    """

    table: str
    target: str
    read: int = 0
    rejected: int = 0
    placeholders: int = 0
    accepted: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    gone: int = 0
    pruned: int = 0
    staying: tuple[Staying, ...] = ()
    source_checksum: str = ""
    target_checksum: str | None = None
    """None in a dry run."""
    repairs: int = 0
    conversions: tuple[str, ...] = ()
    samples: dict[str, tuple[str, ...]] = {}
    """Ids of some rows that are inserted, updated, gone."""

    @property
    def reconciled(self) -> bool:
        """The rows in the target are those that were staged."""
        return self.target_checksum == self.source_checksum


class MigrationReport(Reported):
    """What a migration did, or in a dry run would do."""

    run_id: UUID
    status: str
    kind: str
    kind_version: str = ""
    policies: dict[str, Policy] = {}
    source: str
    source_name: str
    fingerprint: str
    dry_run: bool = False
    already_done: bool = False
    """The same source was loaded before and the tables still hold it: nothing was read again."""
    loaded_by: UUID | None = None
    """Of a run that found everything done: the run that did it, under which its rejects are kept."""
    held: dict[str, str] = {}
    """By target: checksum of all rows of the source there when the run ended."""
    others: dict[str, str] = {}
    """By target that a rule looked at where rows broke it: checksum of the rows there that are not of the source."""
    tables: tuple[TableReport, ...] = ()
    rules: tuple[RuleOutcome, ...] = ()
    unfit: tuple[RuleOutcome, ...] = ()
    """Records that could not be read, or whose values are not what their table holds, by rule."""
    refused: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    rows_per_second: float = 0.0

    def timed(self) -> MigrationReport:
        """The report with the pace that its rows and seconds come to."""
        return self.model_copy(update={"rows_per_second": round(self.rows / max(self.seconds, 1e-3), 1)})

    @property
    def rows(self) -> int:
        """Records read."""
        return sum(table.read for table in self.tables)


class RollbackTable(Reported):
    """What a rollback did to one table."""

    target: str
    deleted: int
    restored: int


class RollbackReport(Reported):
    """A run that was taken back."""

    run_id: UUID
    status: str
    of_run: UUID
    source_name: str
    tables: tuple[RollbackTable, ...] = ()
