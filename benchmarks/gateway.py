"""Calls by the gateway, beside bare aiohttp, the openai client and LiteLLM.

    python -m benchmarks.gateway [--calls 1000] [--at-once 64] [--latency-ms 0 50 200] [--repeats 3] [--json]

See README.md beside this file for what is measured and how.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from benchmarks.calls import CALLERS, Caller, CallMeasurement, CallTrial
from benchmarks.pace import PaceMeasurement, PaceTrial
from benchmarks.servers import PROJECT, Provider, Servers, package_versions, running_provider, running_servers
from blocks.database import create_database, normal_url

PACKAGES = ("aiohttp", "openai", "httpx-aiohttp", "httpx", "litellm", "headrace")
TURN_SECONDS = 600
TITLES: dict[Caller, str] = {
    "aiohttp": "bare aiohttp",
    "openai-aiohttp": "openai client over aiohttp",
    "openai-httpx": "openai client over httpx",
    "litellm": "LiteLLM",
    "headrace": "Headrace",
}
AIMS: tuple[tuple[float, Caller, Caller, float, float], ...] = (
    (200.0, "headrace", "aiohttp", 1.2, 1.05),
    (0.0, "headrace", "litellm", 1.0, 0.5),
)
"""Provider latency in ms, who, compared with whom, at most so many times, and what is aimed at."""
PACE_MS, PACE_COMMITS = 3.0, 2.0
"""At a pace the 99th percentile of what is added is at most so many ms, plus so many times that of a commit."""


class Plan(BaseModel):
    """What is run."""

    calls: int
    at_once: int
    latencies_ms: list[float]
    repeats: int
    callers: list[Caller]
    calls_a_second: float
    pace_seconds: float


class Turn(BaseModel):
    """One measured turn."""

    caller: Caller
    latency_ms: float
    repeat: int
    measured: CallMeasurement
    paid: int


class Row(BaseModel):
    """What the turns of one caller at one latency come to: medians, the ratio that of pairs in the same repeat."""

    caller: Caller
    latency_ms: float
    seconds: float
    least_seconds: float
    to_aiohttp: float | None
    cpu_milliseconds: float
    imported_mib: float
    peak_mib: float


class Verdict(BaseModel):
    """One bar and what was measured."""

    what: str
    measured: float
    at_most: float
    reached: bool


class Outcome(BaseModel):
    """All that was measured and checked; `faults` are records that do not agree with the work done."""

    plan: Plan
    versions: dict[str, str]
    rows: list[Row]
    pace: list[PaceMeasurement]
    verdicts: list[Verdict]
    faults: list[str]
    turns: list[Turn]


def main() -> None:
    """Runs what the command line says; exit code 1 when a record is missing or wrong."""
    plan, as_json = read_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped then too
    outcome = run(plan)
    if as_json:
        print(outcome.model_dump_json(indent=2))
    else:
        show(outcome)
    sys.exit(1 if outcome.faults else 0)


def read_arguments() -> tuple[Plan, bool]:
    """The plan, and whether the result is wanted as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0.0, 50.0, 200.0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--callers", nargs="+", choices=CALLERS, default=list(CALLERS))
    parser.add_argument("--calls-a-second", type=float, default=200.0)
    parser.add_argument("--pace-seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    given = parser.parse_args()
    plan = Plan(
        calls=given.calls,
        at_once=given.at_once,
        latencies_ms=given.latency_ms,
        repeats=given.repeats,
        callers=given.callers,
        calls_a_second=given.calls_a_second,
        pace_seconds=given.pace_seconds,
    )
    return plan, given.json


def run(plan: Plan) -> Outcome:
    """Every caller takes its turns, at each latency and in each repeat in another order; then the pace is kept."""
    with running_servers(with_prefect=False) as servers:
        turns = [turn for latency_ms in plan.latencies_ms for turn in _turns(plan, servers, latency_ms)]
        pace = _paces(plan, servers) if "headrace" in plan.callers else []
        faults = _faults(plan, servers, turns)
    return Outcome(
        plan=plan,
        versions=package_versions(PACKAGES),
        rows=_rows(turns),
        pace=pace,
        verdicts=[*_compared(turns), *_paced(pace)],
        faults=faults,
        turns=turns,
    )


def _turns(plan: Plan, servers: Servers, latency_ms: float) -> list[Turn]:
    found = []
    with running_provider(servers.home, latency_ms) as provider:
        for repeat in range(plan.repeats):
            first = repeat % len(plan.callers)
            for caller in [*plan.callers[first:], *plan.callers[:first]]:
                found.append(_take_turn(plan, servers, provider, caller, latency_ms, repeat))
                said = f"{latency_ms:>4g} ms  repeat {repeat + 1}  {caller:<15}"
                print(f"{said} {found[-1].measured.seconds:6.2f} s", file=sys.stderr)
    return found


def _take_turn(
    plan: Plan, servers: Servers, provider: Provider, caller: Caller, latency_ms: float, repeat: int
) -> Turn:
    trial = CallTrial(
        caller=caller,
        label=f"{latency_ms:g}ms-{repeat}",
        calls=plan.calls,
        at_once=plan.at_once,
        home=str(servers.home),
        provider_url=provider.url,
        ledger_database=servers.ledger_database,
    )
    paid = provider.paid()
    measured = CallMeasurement.model_validate_json(_last_line("benchmarks.calls", trial))
    return Turn(caller=caller, latency_ms=latency_ms, repeat=repeat, measured=measured, paid=provider.paid() - paid)


def _paces(plan: Plan, servers: Servers) -> list[PaceMeasurement]:
    """The steady pace, as often as the turns were repeated, at the shortest latency there is."""
    found = []
    with running_provider(servers.home, min(plan.latencies_ms)) as provider:
        for repeat in range(plan.repeats):
            trial = PaceTrial(
                home=str(servers.home),
                provider_url=provider.url,
                ledger_database=servers.ledger_database,
                label=str(repeat),
                calls_a_second=plan.calls_a_second,
                seconds=plan.pace_seconds,
            )
            found.append(PaceMeasurement.model_validate_json(_last_line("benchmarks.pace", trial)))
    return found


def _last_line(module: str, trial: BaseModel) -> str:
    """What the process of a turn printed last."""
    done = subprocess.run(
        [sys.executable, "-m", module, trial.model_dump_json()],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=TURN_SECONDS,
        check=True,
    )
    return done.stdout.strip().splitlines()[-1]


def ratio(turns: Sequence[Turn], latency_ms: float, caller: Caller, to: Caller) -> float | None:
    """Median over the repeats of `caller`'s time by that of `to` in the same repeat; None where one is missing."""
    times = {(turn.caller, turn.repeat): turn.measured.seconds for turn in turns if turn.latency_ms == latency_ms}
    pairs = [
        times[caller, repeat] / times[to, repeat] for name, repeat in times if name == caller and (to, repeat) in times
    ]
    return median(pairs) if pairs else None


def _rows(turns: Sequence[Turn]) -> list[Row]:
    groups: dict[tuple[float, Caller], list[Turn]] = {}
    for turn in turns:
        groups.setdefault((turn.latency_ms, turn.caller), []).append(turn)
    return [
        Row(
            caller=caller,
            latency_ms=latency_ms,
            seconds=median(turn.measured.seconds for turn in own),
            least_seconds=min(turn.measured.seconds for turn in own),
            to_aiohttp=ratio(turns, latency_ms, caller, "aiohttp"),
            cpu_milliseconds=median(turn.measured.cpu_milliseconds for turn in own),
            imported_mib=median(turn.measured.imported_mib for turn in own),
            peak_mib=median(turn.measured.peak_mib for turn in own),
        )
        for (latency_ms, caller), own in groups.items()
    ]


def _compared(turns: Sequence[Turn]) -> list[Verdict]:
    found = []
    for latency_ms, caller, to, at_most, aim in AIMS:
        measured = ratio(turns, latency_ms, caller, to)
        if measured is not None:
            what = f"{TITLES[caller]} at {latency_ms:g} ms in times of {TITLES[to]} (aim {aim:g})"
            found.append(Verdict(what=what, measured=measured, at_most=at_most, reached=measured <= at_most))
    return found


def _paced(pace: Sequence[PaceMeasurement]) -> list[Verdict]:
    """The median over the repeats of what is added, in times of what may be: the machine's noise falls on both."""
    if not pace:
        return []
    ratios = [one.added_p99_ms / (PACE_MS + PACE_COMMITS * one.commit_p99_ms) for one in pace]
    what = (
        f"99th percentile of what recorder and budget add at a steady pace, "
        f"in times of {PACE_MS:g} ms and {PACE_COMMITS:g} bare commits"
    )
    measured = median(ratios)
    return [Verdict(what=what, measured=measured, at_most=1.0, reached=measured <= 1.0)]


def _faults(plan: Plan, servers: Servers, turns: Sequence[Turn]) -> list[str]:
    """What the ledger has must be what the provider was paid for, and everybody was answered alike."""
    answers: dict[tuple[float, int], set[str]] = {}
    for turn in turns:
        answers.setdefault((turn.latency_ms, turn.repeat), set()).add(turn.measured.answers)
    faults = [f"answers differ at {latency:g} ms, repeat {repeat}" for (latency, repeat), given
              in answers.items() if len(given) > 1]  # fmt: skip
    expected = plan.calls + plan.at_once
    faults += [f"{turn.caller} paid for {turn.paid} answers, not {expected}" for turn in turns
               if turn.paid != expected]  # fmt: skip
    recorded = _recorded(servers)
    wanted = expected * sum(turn.caller == "headrace" for turn in turns)
    if recorded != (wanted, wanted):
        faults.append(f"{recorded[0]} rows and {recorded[1]} answers with bodies are on record, not {wanted}")
    return faults


def _recorded(servers: Servers) -> tuple[int, int]:
    """Succeeded rows of the turns, and how many of them have their answer and bodies."""
    engine = create_database(normal_url(servers.ledger_database))
    with engine.connect() as connection:
        counted = connection.execute(
            text("""
                SELECT count(*) AS succeeded, count(llm_bodies.reply) AS kept FROM llm_requests
                LEFT JOIN llm_bodies ON llm_bodies.request_id = llm_requests.id
                WHERE project = 'benchmark-gateway' AND status = 'succeeded'
            """)
        ).one()
    engine.dispose()
    return counted.succeeded, counted.kept


def show(outcome: Outcome) -> None:
    """Tables, bars and what was wrong, on stdout."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    plan = outcome.plan
    console.print(f"{plan.calls} distinct calls, {plan.at_once} at once, {plan.repeats} repeats")
    console.print(", ".join(f"{name} {version}" for name, version in outcome.versions.items()), style="dim")
    for latency_ms in plan.latencies_ms:
        console.print(_table(latency_ms, [row for row in outcome.rows if row.latency_ms == latency_ms]))
    for one in outcome.pace:
        console.print(
            f"{plan.calls_a_second:g} calls a second: recorder and budget add {one.added_median_ms:.1f} ms (99 %: "
            f"{one.added_p99_ms:.1f}), a call outside the provider {one.outside_median_ms:.1f} "
            f"({one.outside_p99_ms:.1f}), a bare commit {one.commit_median_ms:.1f} ({one.commit_p99_ms:.1f})"
        )
    for verdict in outcome.verdicts:
        said = "reached" if verdict.reached else "[bold]missed[/bold]"
        console.print(f"{verdict.what}: {verdict.measured:.2f}, at most {verdict.at_most:.2f}: {said}")
    for fault in outcome.faults:
        console.print(f"WRONG: {fault}", style="bold red")


def _table(latency_ms: float, rows: list[Row]) -> Table:
    table = Table(title=f"provider answers after {latency_ms:g} ms", title_justify="left")
    table.add_column("")
    for name in ("s", "least", "× aiohttp", "CPU ms a call", "MiB", "peak"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            TITLES[row.caller],
            f"{row.seconds:.2f}",
            f"{row.least_seconds:.2f}",
            "" if row.to_aiohttp is None else f"{row.to_aiohttp:.2f}",
            f"{row.cpu_milliseconds:.2f}",
            f"{row.imported_mib:.0f}",
            f"{row.peak_mib:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
