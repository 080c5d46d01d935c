"""What a contestant is told, and what is measured of it."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

Name = Literal["bare", "bare-httpx", "langgraph", "langgraph-sync", "headrace", "prefect", "headrace-prefect"]
NAMES: tuple[Name, ...] = get_args(Name)
ON_PREFECT: frozenset[Name] = frozenset({"prefect", "headrace-prefect"})
ON_LEDGER: frozenset[Name] = frozenset({"headrace", "headrace-prefect"})

TITLES: dict[Name, str] = {
    "bare": "openai client",
    "bare-httpx": "openai client, its default httpx",
    "langgraph": "LangGraph, Postgres checkpointer",
    "langgraph-sync": "LangGraph, durability=sync",
    "headrace": "Headrace, bare",
    "prefect": "Prefect alone, one flow run",
    "headrace-prefect": "Headrace, one Prefect flow run",
}


class Trial(BaseModel):
    """One contestant's turn: `documents` documents, `at_once` at once, labels that begin with `label`."""

    model_config = ConfigDict(frozen=True)

    contestant: Name
    label: str
    documents: int
    at_once: int
    home: str
    provider_url: str
    checkpoint_database: str
    ledger_database: str
    prefect_api: str | None = None
    profile: str | None = None

    @property
    def project(self) -> str:
        """Whom Headrace's calls are counted for; of this contestant alone, so that nobody's answers are replayed."""
        return f"benchmark-{self.contestant}"

    def labels(self) -> list[str]:
        """The documents that are measured."""
        return [f"{self.label}-{number}" for number in range(self.documents)]

    def warm_up_labels(self) -> list[str]:
        """Documents analysed before: one for every place, so that all connections are open."""
        return [f"{self.label}-warm-up-{number}" for number in range(self.at_once)]


class Measurement(BaseModel):
    """One turn, measured inside the contestant's process.

    Attributes:
        milliseconds: wall time of a document: that of all, divided by their number.
        cpu_milliseconds: processor time of a document in the contestant's own process.
        imported_mib: resident memory once everything is imported, connected and warm.
        peak_mib: largest resident memory, the warm-up included.
        transport: what the contestant speaks HTTP with.
        answers: digest of the last findings.
    """

    model_config = ConfigDict(frozen=True)

    milliseconds: float
    cpu_milliseconds: float
    imported_mib: float
    peak_mib: float
    transport: str
    answers: str
