"""One turn of one contestant, as a process of its own.

    python -m benchmarks.contestant '{"contestant": "bare", …}'

prints a `Measurement` as JSON on the last line.
"""

from __future__ import annotations

import asyncio
import cProfile
import importlib
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from benchmarks.memory import peak_mib, resident_mib
from benchmarks.trial import Measurement, Trial
from benchmarks.workload import Analyse, Finding, digest

MODULES = {
    "bare": "bare_openai",
    "bare-httpx": "bare_openai",
    "langgraph": "langgraph_checkpoints",
    "langgraph-sync": "langgraph_checkpoints",
    "headrace": "headrace_steps",
    "prefect": "prefect_tasks",
    "headrace-prefect": "headrace_steps",
}


def main() -> None:
    """The trial of the first argument is run, its measurement printed."""
    trial = Trial.model_validate_json(sys.argv[1])
    print(asyncio.run(measure(trial)).model_dump_json())


async def measure(trial: Trial) -> Measurement:
    """The trial's documents are analysed; imports, connecting and a warm-up are over when the clock starts."""
    module = importlib.import_module(f"benchmarks.contestants.{MODULES[trial.contestant]}")
    opened: AbstractAsyncContextManager[Analyse] = module.open_contestant(trial)
    async with opened as analyse:
        await analyse(trial.warm_up_labels())
        imported = resident_mib()
        profiler = _profiler(trial)
        cpu, began = time.process_time(), time.perf_counter()
        findings = await analyse(trial.labels())
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
        _store(profiler, trial)
    _require_answers(findings, trial)
    return Measurement(
        milliseconds=seconds * 1000 / trial.documents,
        cpu_milliseconds=cpu_seconds * 1000 / trial.documents,
        imported_mib=imported,
        peak_mib=peak_mib(),
        transport=module.transport(trial),
        answers=digest(findings),
    )


def _require_answers(findings: list[Finding], trial: Trial) -> None:
    if len(findings) != trial.documents:
        raise RuntimeError(f"{trial.contestant} gave {len(findings)} findings for {trial.documents} documents")


def _profiler(trial: Trial) -> cProfile.Profile | None:
    if trial.profile is None:
        return None
    profiler = cProfile.Profile()
    profiler.enable()
    return profiler


def _store(profiler: cProfile.Profile | None, trial: Trial) -> None:
    if profiler is not None and trial.profile is not None:
        profiler.disable()
        Path(trial.profile).parent.mkdir(parents=True, exist_ok=True)
        profiler.dump_stats(trial.profile)


if __name__ == "__main__":
    main()
