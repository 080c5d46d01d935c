"""What is done with the answers of a sweep once they are all there, where the spec wants it."""

from __future__ import annotations

from schemas.sweep import SweepSpec
from tasks.ledger.runs import Run
from tasks.sweep.passes.judge import Judging
from tasks.sweep.passes.meaning import measure_meaning
from tasks.sweep.progress import Progress


async def look_back(run: Run, experiment_id: str, spec: SweepSpec, progress: Progress) -> None:
    """The answers are measured and judged as `spec` says; what was before is not done again.

    Args:
        spec: whose models are all named.

    Raises:
        BudgetExceeded, ConfigurationError, RetriesExhausted, BadInput: the run can be gone on with.
        LeaseLost: another attempt has taken the run over.
    """
    if spec.meaning is not None:
        assert spec.meaning.model is not None
        await measure_meaning(run, experiment_id, spec.meaning.model, progress)
    if spec.judge is not None:
        at_once = run.ledger.settings.parallel_calls
        await Judging(run, experiment_id, spec.judge, progress, seed=spec.seed, at_once=at_once).judge()
