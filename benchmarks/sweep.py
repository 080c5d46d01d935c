"""A sweep of parameters by Headrace, beside bare aiohttp, inspect_ai and promptfoo.

    python -m benchmarks.sweep [--calls 1000] [--at-once 64] [--latency-ms 0 200] [--repeats 3] [--large 100000]

See README.md beside this file for what is measured and how, and for how the peers are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from benchmarks.servers import PROJECT, Provider, Servers, package_versions, running_provider, running_servers
from benchmarks.sweep_work import MAX_TOKENS, MODEL, SETTINGS, TEMPERATURES, TOP_PS, SweepMeasurement, SweepTrial

TURN_SECONDS = 3600
ANSWERS = "benchmarks.sweep_work:answer"
TITLES = {
    "bare": "bare aiohttp",
    "headrace": "Headrace",
    "inspect": "inspect_ai",
    "promptfoo": "promptfoo, whole process",
}
TIMES_BARE = 1.25
LARGE_MIB = 200.0
REPORTED_CALLS, REPORT_SECONDS = 450, 30.0


class Turn(BaseModel):
    """One measured turn."""

    contestant: str
    latency_ms: float
    repeat: int
    calls: int
    measured: SweepMeasurement
    paid: int


class Verdict(BaseModel):
    """One bar and what was measured."""

    what: str
    measured: float
    at_most: float


class Outcome(BaseModel):
    """All that was measured; `faults` are turns that did not make the calls they should have."""

    versions: dict[str, str]
    turns: list[Turn]
    reported: Turn
    large: Turn | None
    verdicts: list[Verdict]
    faults: list[str]


def main() -> None:
    """Runs what the command line says; exit code 1 when a turn made more or fewer calls than it should."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help=f"a multiple of {SETTINGS}")
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0.0, 200.0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", type=int, default=100_000, help="calls of the sweep whose memory is measured, or 0")
    parser.add_argument("--promptfoo", default=shutil.which("promptfoo"), help="its program")
    parser.add_argument("--inspect-python", default=None, help="the Python of an environment with inspect_ai")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    given = parser.parse_args()
    outcome = run(given)
    if given.json:
        print(outcome.model_dump_json(indent=2))
    else:
        show(outcome)
    sys.exit(1 if outcome.faults else 0)


def run(given: argparse.Namespace) -> Outcome:
    """Every contestant takes its turns, at each latency and in each repeat in another order; then the large sweep."""
    contestants = ["bare", "headrace"]
    contestants += ["inspect"] if given.inspect_python else []
    contestants += ["promptfoo"] if given.promptfoo else []
    turns, large = list[Turn](), None
    with running_servers(with_prefect=False) as servers:
        for latency_ms in given.latency_ms:
            with running_provider(servers.home, latency_ms, respond=ANSWERS) as provider:
                for repeat in range(given.repeats):
                    first = repeat % len(contestants)
                    for contestant in [*contestants[first:], *contestants[:first]]:
                        trial = _trial(given, servers, provider, contestant, f"{latency_ms:g} ms {repeat}", given.calls)
                        turns.append(_take_turn(given, trial, provider, latency_ms, repeat))
        with running_provider(servers.home, 2.0, respond=ANSWERS) as provider:
            trial = _trial(given, servers, provider, "headrace", "reported", REPORTED_CALLS)
            reported = _take_turn(given, trial.model_copy(update={"reported": True}), provider, 2.0, 0)
        if given.large:
            with running_provider(servers.home, 1.0) as provider:
                trial = _trial(given, servers, provider, "headrace", "large", given.large)
                large = _take_turn(given, trial, provider, 1.0, 0)
    everybody = [*turns, reported, *([large] if large else [])]
    return Outcome(
        versions=package_versions(("aiohttp", "headrace")) | _peers(given),
        turns=turns,
        reported=reported,
        large=large,
        verdicts=_verdicts(turns, reported, large),
        faults=[
            f"{turn.contestant} at {turn.latency_ms:g} ms paid for {turn.paid} answers, not {turn.calls}"
            for turn in everybody
            if turn.paid < turn.calls
        ],
    )


def _trial(
    given: argparse.Namespace, servers: Servers, provider: Provider, contestant: str, label: str, calls: int
) -> SweepTrial:
    return SweepTrial(
        contestant=contestant,
        label=f"Sweep {label} of {contestant}",
        calls=calls,
        at_once=given.at_once,
        home=str(servers.home),
        provider_url=provider.url,
        ledger_database=servers.ledger_database,
    )


def _take_turn(
    given: argparse.Namespace, trial: SweepTrial, provider: Provider, latency_ms: float, repeat: int
) -> Turn:
    paid = provider.paid()
    if trial.contestant == "promptfoo":
        measured = _promptfoo(given.promptfoo, trial)
    else:
        python = given.inspect_python if trial.contestant == "inspect" else sys.executable
        measured = _in_process(python, trial)
    turn = Turn(
        contestant=trial.contestant,
        latency_ms=latency_ms,
        repeat=repeat,
        calls=trial.calls,
        measured=measured,
        paid=provider.paid() - paid,
    )
    said = f"{latency_ms:>4g} ms  repeat {repeat + 1}  {trial.contestant:<10} {measured.seconds:7.2f} s"
    print(said, file=sys.stderr)
    return turn


def _in_process(python: str, trial: SweepTrial) -> SweepMeasurement:
    """What the process of a turn printed last."""
    done = subprocess.run(
        [python, "-m", "benchmarks.sweep_turn", trial.model_dump_json()],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=TURN_SECONDS,
        check=True,
    )
    return SweepMeasurement.model_validate_json(done.stdout.strip().splitlines()[-1])


def _promptfoo(program: str, trial: SweepTrial) -> SweepMeasurement:
    """A provider for each setting, a test for each prompt, one assertion, the results as JSON: a process of its own."""
    folder = Path(trial.home) / "promptfoo"
    folder.mkdir(exist_ok=True)
    config = {
        "prompts": ["{{question}}"],
        "providers": [
            {
                "id": f"openai:chat:{MODEL}",
                "label": f"{temperature}-{top_p}",
                "config": {
                    "apiBaseUrl": trial.provider_url,
                    "apiKey": "benchmark",
                    "temperature": temperature,
                    "top_p": top_p,
                    "max_tokens": MAX_TOKENS,
                },
            }
            for temperature in TEMPERATURES
            for top_p in TOP_PS
        ],
        "tests": [
            {"vars": {"question": prompt}, "assert": [{"type": "icontains", "value": "water"}]}
            for prompt in trial.prompts()
        ],
    }
    (folder / "config.json").write_text(json.dumps(config))
    command = [program, "eval", "-c", "config.json", "-j", str(trial.at_once), "--no-cache", "--no-table"]
    quiet = {
        "PROMPTFOO_CONFIG_DIR": str(folder / "home"),
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
        "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
    }
    before, began = _children_seconds(), time.perf_counter()
    done = subprocess.run(
        [*command, "--no-progress-bar", "-o", "results.json"],
        cwd=folder,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        timeout=TURN_SECONDS,
    )
    seconds, cpu = time.perf_counter() - began, _children_seconds() - before
    results = folder / "results.json"
    if not results.exists():
        raise SystemExit(f"promptfoo has no results: {done.stderr[-500:] or done.stdout[-500:]}")
    found = json.loads(results.read_text())["results"]["results"]
    results.unlink()
    answered = sum(bool(one.get("response", {}).get("output")) for one in found)
    if answered != trial.calls:
        raise SystemExit(f"promptfoo has answers to {answered} of {trial.calls} calls")
    return SweepMeasurement(seconds=seconds, process_seconds=seconds, cpu_milliseconds=1000 * cpu / trial.calls)


def _children_seconds() -> float:
    """Processor time of processes of ours that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peers(given: argparse.Namespace) -> dict[str, str]:
    found = {}
    if given.promptfoo:
        said = subprocess.run([given.promptfoo, "--version"], capture_output=True, text=True, check=True)
        found["promptfoo"] = said.stdout.strip().splitlines()[0]
    if given.inspect_python:
        asked = "import inspect_ai; print(inspect_ai.__version__)"
        said = subprocess.run([given.inspect_python, "-c", asked], capture_output=True, text=True, check=True)
        found["inspect_ai"] = said.stdout.strip()
    return found


def ratio(turns: Sequence[Turn], latency_ms: float, contestant: str) -> float | None:
    """Median over the repeats of its time by that of bare aiohttp in the same repeat; None where one is missing."""
    times = {(turn.contestant, turn.repeat): turn.measured.seconds for turn in turns if turn.latency_ms == latency_ms}
    pairs = [
        seconds / times["bare", repeat]
        for (name, repeat), seconds in times.items()
        if name == contestant and ("bare", repeat) in times
    ]
    return median(pairs) if pairs else None


def _verdicts(turns: Sequence[Turn], reported: Turn, large: Turn | None) -> list[Verdict]:
    found = []
    times = ratio(turns, 200.0, "headrace")
    if times is not None:
        what = "asked, scored and stored at 200 ms, in times of bare aiohttp"
        found.append(Verdict(what=what, measured=times, at_most=TIMES_BARE))
    cpu = {name: _cpu(turns, 0.0, name) for name in ("headrace", "promptfoo")}
    if cpu["headrace"] is not None and cpu["promptfoo"] is not None:
        what = "processor time of a call at 0 ms, in times of promptfoo's"
        found.append(Verdict(what=what, measured=cpu["headrace"] / cpu["promptfoo"], at_most=1.0))
    what = f"s that a report of {reported.calls} responses takes in all formats"
    found.append(Verdict(what=what, measured=reported.measured.more_seconds["report"], at_most=REPORT_SECONDS))
    if large and large.measured.peak_mib is not None and large.measured.imported_mib is not None:
        what = f"MiB that {large.calls:,} calls take above the imports"
        found.append(
            Verdict(what=what, measured=large.measured.peak_mib - large.measured.imported_mib, at_most=LARGE_MIB)
        )
    return found


def _cpu(turns: Sequence[Turn], latency_ms: float, contestant: str) -> float | None:
    mine = [
        turn.measured.cpu_milliseconds
        for turn in turns
        if turn.latency_ms == latency_ms and turn.contestant == contestant
    ]
    return median(mine) if mine else None


def show(outcome: Outcome) -> None:
    """Tables, bars and what was wrong, on stdout."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(", ".join(f"{name} {version}" for name, version in outcome.versions.items()), style="dim")
    for latency_ms in dict.fromkeys(turn.latency_ms for turn in outcome.turns):
        console.print(_table(latency_ms, [turn for turn in outcome.turns if turn.latency_ms == latency_ms]))
    if outcome.large:
        measured = outcome.large.measured
        console.print(
            f"{outcome.large.calls:,} calls: {measured.seconds:.0f} s, {measured.imported_mib:.0f} MiB when imported, "
            f"{measured.peak_mib:.0f} at most"
        )
    for verdict in outcome.verdicts:
        said = "reached" if verdict.measured <= verdict.at_most else "[bold]missed[/bold]"
        console.print(f"{verdict.what}: {verdict.measured:.2f}, at most {verdict.at_most:g}: {said}")
    for fault in outcome.faults:
        console.print(f"WRONG: {fault}", style="bold red")


def _table(latency_ms: float, turns: Sequence[Turn]) -> Table:
    table = Table(title=f"provider answers after {latency_ms:g} ms", title_justify="left")
    table.add_column("")
    for name in ("s", "× aiohttp", "CPU ms a call", "MiB", "peak", "statistics s"):
        table.add_column(name, justify="right")
    for contestant in dict.fromkeys(turn.contestant for turn in turns):
        own = [turn.measured for turn in turns if turn.contestant == contestant]
        times = ratio(turns, latency_ms, contestant)
        table.add_row(
            TITLES[contestant],
            f"{median(one.seconds for one in own):.2f}",
            "" if times is None else f"{times:.2f}",
            f"{median(one.cpu_milliseconds for one in own):.2f}",
            *(_shown([getattr(one, name) for one in own]) for name in ("imported_mib", "peak_mib")),
            _shown([one.more_seconds.get("statistics") for one in own], digits=2),
        )
    return table


def _shown(values: Sequence[float | None], digits: int = 0) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.{digits}f}" if known else ""


if __name__ == "__main__":
    main()
