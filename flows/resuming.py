"""How a run of each flow is gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module
from typing import Any
from uuid import UUID

from schemas.errors import BadInput
from tasks.ledger.run_records import RunRecord

GO_ON: Mapping[str, str] = {
    "analyze-bill": "flows.resuming:_go_on_with_analysis",
    "answer-question": "flows.answering_commands:go_on_with_answer",
    "export-training-data": "flows.training_commands:go_on_with_export",
    "fine-tune": "flows.fine_tuning_commands:go_on_with_fine_tuning",
    "generate-insight": "flows.insight_commands:go_on_with_insight",
    "migrate-data": "flows.migration_commands:go_on_with_migration",
    "refresh-embeddings": "flows.embedding_commands:go_on_with_refresh",
    "rollback-migration": "flows.migration_commands:go_on_with_rollback",
    "sweep-parameters": "flows.sweep_commands:go_on_with_sweep",
}
"""By flow: a function of the run's parameters and id, `bare` and `as_json`, that gives an exit code."""


def go_on(record: RunRecord, *, bare: bool, as_json: bool) -> int:
    """The run is done and shown.

    Raises:
        BadInput: it is of a flow that is begun anew instead.
    """
    if record.flow not in GO_ON:
        raise BadInput(f"run {record.id} is of {record.flow}, which this command cannot go on with")
    module, function = GO_ON[record.flow].split(":")
    done: int = getattr(import_module(module), function)(record.parameters, record.id, bare=bare, as_json=as_json)
    return done


def _go_on_with_analysis(parameters: dict[str, Any], run: UUID, *, bare: bool, as_json: bool) -> int:
    from flows.analysis import analyze_bill
    from flows.presentation import show_report
    from flows.running import run_flow

    if "source" not in parameters:
        raise BadInput(f"run {run} was migrated: its bill is not here; `headrace analyze` begins a new one")
    return show_report(asyncio.run(run_flow(analyze_bill, parameters, resume=run, bare=bare)), as_json=as_json)
