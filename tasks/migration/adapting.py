"""Sources shown otherwise than they are: one table of many, or tables made of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from blocks.sources.records import RecordChunk, Source, SourceTable
from schemas.errors import BadInput

SHOWN_TABLES = 20


@dataclass(slots=True)
class AdaptedSource:
    """A source with other tables than its own.

    Attributes:
        said: sentences about what was adapted, for the report.
    """

    source: Source
    shown: Mapping[str, SourceTable]
    said: Sequence[str] = ()

    @property
    def fingerprint(self) -> str:
        """That of the source."""
        return self.source.fingerprint

    @property
    def description(self) -> str:
        """That of the source."""
        return self.source.description

    @property
    def problems(self) -> Sequence[str]:
        """Those of the source, and what was adapted."""
        return [*self.source.problems, *self.said]

    def tables(self) -> Mapping[str, SourceTable]:
        """The tables that are shown."""
        return self.shown

    def close(self) -> None:
        """The source is closed."""
        self.source.close()


@dataclass(slots=True)
class WatchedTable:
    """A table of which is said, once it was read, which fields none of its records had.

    Attributes:
        wanted: what is said of each field; a field that was met is wanted no longer.
        said: where it is said.
    """

    table: SourceTable
    wanted: dict[str, str]
    said: list[str]

    @property
    def name(self) -> str:
        """That of the table."""
        return self.table.name

    def place(self, index: int) -> str:
        """That of the table."""
        return self.table.place(index)

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """Those of the table."""
        wanted, any_read = dict(self.wanted), False
        for chunk in self.table.chunks(size, start):
            for record in chunk.records if wanted else ():
                any_read = True
                for met in wanted.keys() & record.keys():
                    del wanted[met]
                if not wanted:
                    break
            yield chunk
        if any_read:
            self.said += wanted.values()


def only_table(source: Source, name: str, shown_as: str = "", *, by_any_name: bool) -> AdaptedSource:
    """`source` with its table `name` alone, or with its only table, which may be called otherwise.

    Args:
        name: empty for the only table.
        by_any_name: where the source has but one table, it is taken whatever it is called.

    Raises:
        BadInput: it has no table of that name, and no other may be taken; the source is closed.
    """
    tables = source.tables()
    taken = next((each for each in tables if each.casefold() == name.casefold()), None)
    if taken is None and len(tables) == 1 and (by_any_name or not name):
        taken = next(iter(tables))
    if taken is None:
        source.close()
        listed = ", ".join(list(tables)[:SHOWN_TABLES]) or "none"
        raise BadInput(f"{source.description} has no table {name or 'that is its only one'}; it has {listed}")
    left_out = [each for each in tables if each != taken]
    said = [f"of the source only {taken} was read, not {', '.join(left_out[:SHOWN_TABLES])}"] if left_out else []
    return AdaptedSource(source, {shown_as or name: tables[taken]}, said)
