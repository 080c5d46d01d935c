"""One turn of one way to sweep parameters, as a process of its own.

    python -m benchmarks.sweep_turn '{"contestant": "bare", …}'

prints a `SweepMeasurement` as JSON on the last line.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_mib, resident_mib
from benchmarks.sweep_work import MAX_TOKENS, MODEL, SETTINGS, TEMPERATURES, TOP_PS, SweepMeasurement, SweepTrial

WARM_UP_CALLS = 100
PROJECT = "benchmark-sweep"


def main() -> None:
    """The trial of the first argument is run, its measurement printed."""
    trial = SweepTrial.model_validate_json(sys.argv[1])
    match trial.contestant:
        case "inspect":
            measured = inspect(trial)
        case "bare":
            measured = asyncio.run(bare(trial))
        case _:
            measured = asyncio.run(headrace(trial))
    print(measured.model_dump_json())


class _Clock:
    """Wall and processor time of this process, from now on."""

    def __init__(self) -> None:
        self.imported_mib = resident_mib()
        self._cpu, self._began = time.process_time(), time.perf_counter()

    def measured(self, calls: int, **more: Any) -> SweepMeasurement:
        """What it took until now."""
        seconds, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        return SweepMeasurement(
            seconds=seconds,
            cpu_milliseconds=1000 * cpu / calls,
            imported_mib=self.imported_mib,
            peak_mib=peak_mib(),
            **more,
        )


async def bare(trial: SweepTrial) -> SweepMeasurement:
    """Every request posted and the text of its answer taken out; nothing is scored or stored."""
    import aiohttp
    import orjson

    headers = {"Authorization": "Bearer benchmark", "Content-Type": "application/json"}
    url, slots = f"{trial.provider_url}/chat/completions", asyncio.Semaphore(trial.at_once)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=trial.at_once), headers=headers) as session:

        async def ask(body: dict[str, Any]) -> str:
            async with slots, session.post(url, data=orjson.dumps(body)) as reply:
                reply.raise_for_status()
                return str(orjson.loads(await reply.read())["choices"][0]["message"]["content"])

        warm_up = trial.model_copy(update={"label": f"{trial.label} warm-up", "calls": WARM_UP_CALLS})
        await asyncio.gather(*map(ask, warm_up.bodies()))
        clock = _Clock()
        answers = await asyncio.gather(*map(ask, trial.bodies()))
        return clock.measured(len(answers))


async def headrace(trial: SweepTrial) -> SweepMeasurement:
    """The flow of `headrace sweep` as the shell starts it, without Prefect, and its statistics told apart.

    Raises:
        SystemExit: not every call has its response.
    """
    from benchmarks.ledger_environment import configure_ledger

    configure_ledger(trial.home, trial.ledger_database, trial.provider_url, PROJECT)
    from flows.running import run_flow
    from flows.sweep import sweep_parameters
    from tasks.ledger.session import open_ledger
    from tasks.sweep.analysis import analyze_experiment

    async with open_ledger():
        warm_up = trial.model_copy(update={"label": f"{trial.label} warm-up", "calls": WARM_UP_CALLS})
        await run_flow(sweep_parameters, {"spec": warm_up.spec()})
        clock = _Clock()
        report = await run_flow(sweep_parameters, {"spec": trial.spec()})
        whole = clock.measured(trial.calls)
        if report.stored - report.failed != trial.calls:
            raise SystemExit(f"{report.stored - report.failed} of {trial.calls} calls have an answer")
        clock = _Clock()
        await analyze_experiment(report.experiment_id)
        statistics = clock.measured(trial.calls)
        clock = _Clock()
        if trial.reported:
            await _write_report(report.experiment_id, Path(trial.home) / "reports")
        reports = {"report": clock.measured(trial.calls).seconds} if trial.reported else {}
    return whole.model_copy(
        update={
            "seconds": report.seconds,
            "cpu_milliseconds": whole.cpu_milliseconds - statistics.cpu_milliseconds,
            "more_seconds": {"statistics": statistics.seconds, **reports},
        }
    )


async def _write_report(experiment: str, folder: Path) -> None:
    """As `headrace sweep-report` writes it."""
    from flows.running import run_flow
    from flows.sweep_report import sweep_report

    await run_flow(sweep_report, {"experiment": experiment, "out": str(folder)})


def inspect(trial: SweepTrial) -> SweepMeasurement:
    """A task for each setting, a sample for each prompt, scored by whether the answer has a word in it, and logged."""
    import os
    import tempfile

    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import Sample
    from inspect_ai.model import GenerateConfig
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate

    os.environ["OPENAI_API_KEY"] = "benchmark"

    def tasks(prompts: Sequence[str]) -> list[Any]:
        return [
            Task(
                name=f"setting-{temperature}-{top_p}",
                dataset=[Sample(input=prompt, target="water") for prompt in prompts],
                solver=generate(),
                scorer=includes(),
                config=GenerateConfig(temperature=temperature, top_p=top_p, max_tokens=MAX_TOKENS),
            )
            for temperature in TEMPERATURES
            for top_p in TOP_PS
        ]

    def run(prompts: Sequence[str], logs: str) -> int:
        done = evaluate(
            tasks(prompts),
            model=f"openai/{MODEL}",
            model_base_url=trial.provider_url,
            max_connections=trial.at_once,
            max_samples=trial.at_once,
            max_tasks=SETTINGS,
            display="none",
            log_dir=logs,
        )
        return sum(len(log.samples or ()) for log in done)

    with tempfile.TemporaryDirectory() as logs:
        run([f"{trial.label} warm-up"], logs)
        clock = _Clock()
        found = run(trial.prompts(), logs)
        measured = clock.measured(trial.calls)
    if found != trial.calls:
        raise SystemExit(f"{found} of {trial.calls} calls have an answer")
    return measured


if __name__ == "__main__":
    main()
