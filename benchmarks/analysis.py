"""Documents analysed in four dependent structured calls each: by the openai client, LangGraph, Prefect and Headrace.

    python -m benchmarks.analysis [--documents 50] [--at-once 8] [--latency-ms 0 100] [--repeats 5] [--json]

See README.md beside this file for what is measured and how.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel

from benchmarks.presentation import report_text, show, show_turn
from benchmarks.records import count_task_runs, read_ledger
from benchmarks.results import Comparison, Row, Turn, compare_with_aims, disagreements, summarize
from benchmarks.servers import PROJECT, Provider, Servers, package_versions, running_provider, running_servers
from benchmarks.trial import NAMES, ON_LEDGER, ON_PREFECT, Measurement, Name, Trial
from benchmarks.workload import QUESTIONS

PACKAGES = (
    "openai",
    "httpx-aiohttp",
    "httpx",
    "langgraph",
    "langgraph-checkpoint-postgres",
    "prefect",
    "headrace",
)
TURN_SECONDS = 600


class Plan(BaseModel):
    """What is run."""

    documents: int
    at_once: int
    latencies_ms: list[float]
    repeats: int
    contestants: list[Name]
    profile: Path | None


class Outcome(BaseModel):
    """All that was measured and checked; `faults` are records that do not agree with the work done."""

    plan: Plan
    versions: dict[str, str]
    rows: list[Row]
    aims: list[Comparison]
    records: list[str]
    faults: list[str]
    turns: list[Turn]


def main() -> None:
    """Runs what the command line says; exit code 1 when a record is missing or wrong."""
    plan, as_json = read_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped then too
    outcome = run(plan)
    if as_json:
        print(report_text(outcome))
    else:
        show(outcome)
    sys.exit(1 if outcome.faults else 0)


def read_arguments() -> tuple[Plan, bool]:
    """The plan, and whether the result is wanted as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysis", description=__doc__)
    parser.add_argument("--documents", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0.0, 100.0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--contestants", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--profile", type=Path, help="folder for a cProfile file of each turn (slows it down)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    given = parser.parse_args()
    contestants = [name for name in given.contestants if find_spec("langgraph") or not name.startswith("langgraph")]
    if len(contestants) < len(given.contestants):
        print("LangGraph is not installed and is left out: see benchmarks/README.md", file=sys.stderr)
    plan = Plan(
        documents=given.documents,
        at_once=given.at_once,
        latencies_ms=given.latency_ms,
        repeats=given.repeats,
        contestants=contestants,
        profile=given.profile,
    )
    return plan, given.json


def run(plan: Plan) -> Outcome:
    """Every contestant takes its turns, at each latency and in each repeat in another order."""
    with running_servers(with_prefect=bool(ON_PREFECT & set(plan.contestants))) as servers:
        turns = [turn for latency_ms in plan.latencies_ms for turn in _turns(plan, servers, latency_ms)]
        records, faults = _check_records(plan, servers, turns)
    return Outcome(
        plan=plan,
        versions=package_versions(PACKAGES),
        rows=summarize(turns),
        aims=compare_with_aims(turns),
        records=records,
        faults=faults + disagreements(turns),
        turns=turns,
    )


def _turns(plan: Plan, servers: Servers, latency_ms: float) -> list[Turn]:
    found = []
    with running_provider(servers.home, latency_ms) as provider:
        for repeat in range(plan.repeats):
            first = repeat % len(plan.contestants)
            for contestant in [*plan.contestants[first:], *plan.contestants[:first]]:
                found.append(_take_turn(plan, servers, provider, contestant, latency_ms, repeat))
                show_turn(found[-1])
    return found


def _take_turn(
    plan: Plan, servers: Servers, provider: Provider, contestant: Name, latency_ms: float, repeat: int
) -> Turn:
    label = f"{latency_ms:g}ms-{repeat}"
    trial = Trial(
        contestant=contestant,
        label=label,
        documents=plan.documents,
        at_once=plan.at_once,
        home=str(servers.home),
        provider_url=provider.url,
        checkpoint_database=servers.checkpoint_database,
        ledger_database=servers.ledger_database,
        prefect_api=servers.prefect_api if contestant in ON_PREFECT else None,
        profile=str((plan.profile / f"{contestant}-{label}.prof").resolve()) if plan.profile else None,
    )
    paid, cpu = provider.paid(), servers.cpu_seconds()
    measured = _measure(trial)
    spent = servers.cpu_seconds() - cpu
    return Turn(
        contestant=contestant,
        latency_ms=latency_ms,
        repeat=repeat,
        measured=measured,
        servers_cpu_milliseconds=spent * 1000 / _documents_of_a_turn(plan),
        paid=provider.paid() - paid,
    )


def _measure(trial: Trial) -> Measurement:
    command = [sys.executable, "-m", "benchmarks.contestant", trial.model_dump_json()]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=TURN_SECONDS, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{trial.contestant} failed:\n{done.stderr[-4000:]}")
    return Measurement.model_validate_json(done.stdout.strip().splitlines()[-1])


def _documents_of_a_turn(plan: Plan) -> int:
    return plan.documents + plan.at_once


def _check_records(plan: Plan, servers: Servers, turns: Sequence[Turn]) -> tuple[list[str], list[str]]:
    """What is on record, in words, and what of it is wrong."""
    records, faults = [], []
    for contestant in plan.contestants:
        own = [turn for turn in turns if turn.contestant == contestant]
        documents, paid = len(own) * _documents_of_a_turn(plan), sum(turn.paid for turn in own)
        calls = documents * len(QUESTIONS)
        said = f"{contestant}: {documents} documents, {paid} answers paid for"
        if contestant in ON_LEDGER:
            project = f"benchmark-{contestant}"
            record = read_ledger(servers.ledger_database, project)
            said += (
                f", {record.succeeded} rows succeeded ({record.replayable} with answer and bodies), {record.runs} runs"
                f" and {record.steps} steps completed, {record.spent_usd.normalize():f} USD spent,"
                f" {record.reserved_usd.normalize():f} reserved"
            )
            faults += [f"{contestant}: {fault}" for fault in record.faults(documents=documents, calls=calls, paid=paid)]
        elif paid != calls:
            faults.append(f"{contestant}: {paid} answers were paid for, not {calls}")
        records.append(said)
    _check_task_runs(plan, servers, turns, records, faults)
    return records, faults


def _check_task_runs(
    plan: Plan, servers: Servers, turns: Sequence[Turn], records: list[str], faults: list[str]
) -> None:
    turns_on_prefect = sum(turn.contestant in ON_PREFECT for turn in turns)
    if not turns_on_prefect:
        return
    wanted = turns_on_prefect * _documents_of_a_turn(plan) * len(QUESTIONS)
    found = count_task_runs(servers.prefect_database, wanted)
    records.append(f"Prefect's database: {found} task runs completed of {wanted}")
    if found != wanted:
        faults.append(f"Prefect's database holds {found} completed task runs, not {wanted}")


if __name__ == "__main__":
    main()
