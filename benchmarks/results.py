"""Many turns as a few numbers: medians, and ratios of turns that stood next to each other."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pydantic import BaseModel, ConfigDict

from benchmarks.trial import Measurement, Name

AIMS: tuple[tuple[float, Name, Name, float], ...] = (
    (0.0, "headrace", "langgraph", 1.0),
    (0.0, "headrace-prefect", "langgraph", 3.0),
    (100.0, "headrace", "bare", 1.25),
    (100.0, "headrace-prefect", "bare", 1.25),
)
"""Provider latency in ms, who, compared with whom, at most so many times."""


class Turn(BaseModel):
    """One measured turn."""

    model_config = ConfigDict(frozen=True)

    contestant: Name
    latency_ms: float
    repeat: int
    measured: Measurement
    servers_cpu_milliseconds: float
    """Of Postgres and the Prefect server, a document of the turn, warm-up and start included."""
    paid: int


class Row(BaseModel):
    """What the turns of one contestant at one latency come to; ratios are medians over repeats."""

    contestant: Name
    latency_ms: float
    repeats: int
    milliseconds: float
    least_milliseconds: float
    to_bare: float | None
    to_langgraph: float | None
    cpu_milliseconds: float
    servers_cpu_milliseconds: float
    imported_mib: float
    peak_mib: float
    transport: str


class Comparison(BaseModel):
    """One aim and what was measured."""

    latency_ms: float
    contestant: Name
    to: Name
    at_most: float
    ratio: float
    reached: bool


def ratio(turns: Sequence[Turn], latency_ms: float, contestant: Name, to: Name) -> float | None:
    """Median over the repeats of `contestant`'s time by that of `to` in the same repeat; None where one is missing.

    The two of a repeat ran within the same minute, so that what else the machine does falls on both.
    """
    times = {(turn.contestant, turn.repeat): turn.measured.milliseconds for turn in turns
             if turn.latency_ms == latency_ms}  # fmt: skip
    ratios = [times[contestant, repeat] / times[to, repeat] for name, repeat in times
              if name == contestant and (to, repeat) in times]  # fmt: skip
    return median(ratios) if ratios else None


def summarize(turns: Sequence[Turn]) -> list[Row]:
    """A row for each contestant and latency, in the order they first appear."""
    groups: dict[tuple[float, Name], list[Turn]] = {}
    for turn in sorted(turns, key=lambda turn: turn.latency_ms):
        groups.setdefault((turn.latency_ms, turn.contestant), []).append(turn)
    return [_row(turns, own) for own in groups.values()]


def _row(turns: Sequence[Turn], own: Sequence[Turn]) -> Row:
    first = own[0]
    milliseconds = [turn.measured.milliseconds for turn in own]
    return Row(
        contestant=first.contestant,
        latency_ms=first.latency_ms,
        repeats=len(own),
        milliseconds=median(milliseconds),
        least_milliseconds=min(milliseconds),
        to_bare=ratio(turns, first.latency_ms, first.contestant, "bare"),
        to_langgraph=ratio(turns, first.latency_ms, first.contestant, "langgraph"),
        cpu_milliseconds=median(turn.measured.cpu_milliseconds for turn in own),
        servers_cpu_milliseconds=median(turn.servers_cpu_milliseconds for turn in own),
        imported_mib=median(turn.measured.imported_mib for turn in own),
        peak_mib=median(turn.measured.peak_mib for turn in own),
        transport=first.measured.transport,
    )


def compare_with_aims(turns: Sequence[Turn]) -> list[Comparison]:
    """Each aim whose two contestants took part."""
    found = []
    for latency_ms, contestant, to, at_most in AIMS:
        measured = ratio(turns, latency_ms, contestant, to)
        if measured is not None:
            found.append(Comparison(latency_ms=latency_ms, contestant=contestant, to=to, at_most=at_most,
                                    ratio=measured, reached=measured <= at_most))  # fmt: skip
    return found


def disagreements(turns: Sequence[Turn]) -> list[str]:
    """Repeats in which contestants did not arrive at the same findings."""
    answers: dict[tuple[float, int], dict[str, str]] = {}
    for turn in turns:
        answers.setdefault((turn.latency_ms, turn.repeat), {})[turn.contestant] = turn.measured.answers
    return [f"findings differ at {latency:g} ms, repeat {repeat}: {given}" for (latency, repeat), given
            in answers.items() if len(set(given.values())) > 1]  # fmt: skip
