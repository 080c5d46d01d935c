"""The row of an experiment: made when a sweep begins, ended with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from schemas.canonical import postgres_json, postgres_text
from schemas.errors import BadInput, HeadraceError
from schemas.sweep import ParameterName, SweepSpec, ValueRange
from schemas.sweep_results import ExperimentStatus
from tasks.ledger.rows import insert_rows
from tasks.ledger.runs import Run, hold_run_here
from tasks.sweep.grid import Grid
from tasks.sweep.strategies import most_calls

_RANGED: tuple[ParameterName, ...] = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_STEPPED = frozenset({"temperature", "top_p"})
_END = text("""
    UPDATE experiments SET status = :status, error_message = :error, updated_at = clock_timestamp(),
        completed_at = CASE WHEN :status = 'running' THEN NULL ELSE clock_timestamp() END
    WHERE id = :id
""")

STATUS_NOW = """
    CASE WHEN experiments.status = 'running' AND runs.id IS NOT NULL
              AND coalesce(workers.lease_until < clock_timestamp(), runs.status <> 'running')
         THEN 'failed' ELSE experiments.status END
"""
"""Whoever is killed leaves the experiment as running: whether it is, the lease of its worker tells."""
WHO_ASKS = """
    LEFT JOIN runs ON runs.id = experiments.run_id
    LEFT JOIN run_attempts ON run_attempts.id = runs.attempt_id
    LEFT JOIN workers ON workers.id = run_attempts.worker_id
"""
"""Tables of `STATUS_NOW`."""


class ExperimentDeleted(BadInput):
    """The run's experiment was deleted: sweep the same spec again, which finds the answers in the ledger."""

    code = "experiment_deleted"
    resumable = False

    def __init__(self, run: UUID, when: str) -> None:
        said = f"the experiment of run {run} was deleted on {when[:10]}: there is nothing to go on with"
        super().__init__(f"{said}; `headrace sweep` begins a new one and finds the answers in the ledger")


def deleted_at(result: Mapping[str, Any] | None) -> str | None:
    """When the experiment of a run with this result was deleted, as ISO 8601; None: it was not."""
    return (result or {}).get("experiment_deleted_at")


def begin_experiment(connection: Connection, run: Run, grid: Grid) -> str:
    """The experiment of `run` is on record as running; returns its id, which is the run's.

    Raises:
        ExperimentDeleted: it was there and was deleted.
    """
    hold_run_here(connection, run.attempt)
    if (when := deleted_at(run.result)) is not None:
        raise ExperimentDeleted(run.id, when)
    experiment_id = str(run.id)
    insert_rows(connection, "experiments", [_row(experiment_id, run, grid)], suffix="ON CONFLICT (id) DO NOTHING")
    connection.execute(_END, {"id": experiment_id, "status": "running", "error": None})
    return experiment_id


def end_experiment(connection: Connection, run: Run, status: ExperimentStatus, error: BaseException | None) -> None:
    """The experiment is on record as ended, unless another attempt has taken the run over."""
    hold_run_here(connection, run.attempt)
    said = str(error) if isinstance(error, HeadraceError) else error and f"unexpected {type(error).__name__}"
    connection.execute(_END, {"id": str(run.id), "status": status, "error": postgres_text(said) if said else None})


def _row(experiment_id: str, run: Run, grid: Grid) -> Mapping[str, Any]:
    spec = grid.spec
    calls = most_calls(grid)
    return {
        "id": experiment_id,
        "name": postgres_text(spec.name),
        "description": spec.description and postgres_text(spec.description),
        "prompt": postgres_text(spec.prompts[0]),
        "status": "running",
        "model": ", ".join(str(model) for model in spec.models),
        **_bounds(spec),
        "max_tokens": _only_max_tokens(spec),
        "response_count": spec.response_count,
        "created_at": datetime.now(UTC).isoformat(),
        "run_id": str(run.id),
        "project": run.project,
        "spec": postgres_json(spec.model_dump(mode="json")),
        "total_combinations": calls // spec.response_count,
        "total_calls": calls,
    }


def _bounds(spec: SweepSpec) -> dict[str, float | None]:
    """The columns of the older laboratory: the ends of each range, and its step where there is one."""
    columns: dict[str, float | None] = {}
    for name in _RANGED:
        values = spec.parameter_ranges.get(name)
        ends = (None, None) if values is None else (
            (values.min, values.max) if isinstance(values, ValueRange) else (min(values), max(values))
        )  # fmt: skip
        columns |= {f"{name}_{bound}": None if end is None else float(end)
                    for bound, end in zip(("min", "max"), ends, strict=True)}  # fmt: skip
        if name in _STEPPED:
            columns[f"{name}_step"] = float(values.step) if isinstance(values, ValueRange) else None
    return columns


def _only_max_tokens(spec: SweepSpec) -> int | None:
    values = spec.parameter_ranges.get("max_tokens")
    return int(values[0]) if values is not None and len(values) == 1 else None
