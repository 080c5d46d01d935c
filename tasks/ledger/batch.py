"""A batch: operations that share one transaction, and what becomes of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tasks.ledger.budgets import Usage, UsageKey
from tasks.ledger.operations import Operation, Outcome
from tasks.ledger.user_windows import UserWindow

T = TypeVar("T", bound=Operation)


@dataclass
class Batch:
    """Operations of one transaction, with their outcomes by place.

    Attributes:
        refused: places of operations whose attempt has lost its run.
        usage: budget rows, locked, as they are to be written.
        windows: recent requests of users whose requests are limited, locked.
        counted_in: budget rows of each reservation, found once: a day may end while a batch is written.
        searched: rows of `web_search_cache` to be written.
        search_hits: how often each row of `web_search_cache` was used.
    """

    operations: Sequence[Operation]
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    usage: dict[UsageKey, Usage] = field(default_factory=dict)
    counted_in: dict[int, tuple[UsageKey, ...]] = field(default_factory=dict)
    searched: list[Mapping[str, Any]] = field(default_factory=list)
    search_hits: Counter[str] = field(default_factory=Counter)
    windows: dict[str, UserWindow] = field(default_factory=dict)

    def of(self, kind: type[T]) -> list[tuple[int, T]]:
        """The operations of one kind that are not refused, with their places, in order."""
        return [
            (place, item)
            for place, item in enumerate(self.operations)
            if isinstance(item, kind) and place not in self.refused
        ]
