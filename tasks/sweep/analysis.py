"""An experiment analysed, and what was concluded kept, each time in place of what was concluded before."""

from __future__ import annotations

import asyncio

from sqlalchemy import Connection, delete, insert, select, text

from blocks.database import database_errors
from schemas.errors import NotFound
from schemas.identifiers import new_id
from schemas.sweep_statistics import ParameterInsight, SweepAnalysis
from schemas.tables.laboratory_statistics import ParameterInsightRow, SweepAnalysisRow
from tasks.ledger.session import open_ledger
from tasks.sweep.finding import find_experiment
from tasks.sweep.observing import ObservedExperiment, read_experiment
from tasks.sweep.quality.scoring import VERSION
from tasks.sweep.quality_sums import sum_experiments
from tasks.sweep.statistics.analysis import analyse
from tasks.sweep.statistics.sentences import level_of


async def analyze_experiment(experiment: str, *, analysis_version: str = "") -> SweepAnalysis:
    """The statistics of `experiment` are computed and stored; equal scores give equal statistics, to the last bit.

    Args:
        experiment: its id or name.
        analysis_version: of the scores; by default those of today, or else the version most of them have.

    Raises:
        NotFound: there is no such experiment, or it has no scores of that version.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                observed = await connection.run_sync(read_experiment, experiment, analysis_version)
        analysis = await asyncio.to_thread(_analyse, observed)
        with database_errors():
            async with ledger.engine.begin() as connection:
                await connection.run_sync(store_analysis, analysis)
    return analysis


def _analyse(observed: ObservedExperiment) -> SweepAnalysis:
    return analyse(
        observed.observations,
        experiment_id=observed.id,
        name=observed.name,
        analysis_version=observed.analysis_version,
    )


def store_analysis(connection: Connection, analysis: SweepAnalysis) -> None:
    """`analysis` stands in place of an earlier one, its insights and the sums of its days too."""
    lock = text("SELECT 1 FROM experiments WHERE id = :experiment FOR NO KEY UPDATE")
    if connection.execute(lock, {"experiment": analysis.experiment_id}).one_or_none() is None:
        raise NotFound(f"experiment {analysis.experiment_id} was deleted meanwhile")
    for table in (SweepAnalysisRow, ParameterInsightRow):
        connection.execute(
            delete(table).where(
                table.experiment_id == analysis.experiment_id, table.analysis_version == analysis.analysis_version
            )
        )
    connection.execute(
        insert(SweepAnalysisRow).values(
            experiment_id=analysis.experiment_id,
            analysis_version=analysis.analysis_version,
            analysis=analysis.model_dump(mode="json"),
        )
    )
    if analysis.insights:
        connection.execute(insert(ParameterInsightRow), [_row(analysis, insight) for insight in analysis.insights])
    sum_experiments(connection, [analysis.experiment_id])


def _row(analysis: SweepAnalysis, insight: ParameterInsight) -> dict[str, object]:
    levels = [mean.value for mean in insight.means]
    best = next((mean for mean in insight.means if mean.value == insight.best_value), None)
    if insight.best_probability is None:
        best = None
    pearson, spearman = insight.pearson, insight.spearman
    around = pearson.interval if pearson else None
    return {
        "id": new_id(),
        "experiment_id": analysis.experiment_id,
        "analysis_version": analysis.analysis_version,
        **insight.model_dump(
            include={
                *("parameter", "metric", "unit", "responses", "p_value", "p_adjusted", "significant"),
                *("best_probability", "difference", "more_responses", "sentence"),
            }
        ),
        "sample_size": insight.units,
        "pearson": pearson.coefficient if pearson else None,
        "pearson_low": around.low if around else None,
        "pearson_high": around.high if around else None,
        "pearson_p_adjusted": pearson.p_adjusted if pearson else None,
        "spearman": spearman.coefficient if spearman else None,
        "spearman_p_adjusted": spearman.p_adjusted if spearman else None,
        "strength": insight.strength,
        "best_value": level_of(insight.parameter, best.value, levels) if best else None,
        "best_mean": best.mean if best else None,
        "best_low": best.interval.low if best and best.interval else None,
        "best_high": best.interval.high if best and best.interval else None,
        "recommended": [level_of(insight.parameter, value, levels) for value in insight.recommended],
    }


async def read_analysis(experiment: str, *, analysis_version: str = "") -> SweepAnalysis:
    """What was concluded from `experiment` last, as it was stored; by default from the scores of today if there are.

    Raises:
        NotFound: it was not analysed.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                return await connection.run_sync(find_analysis, experiment, analysis_version)


def find_analysis(connection: Connection, experiment: str, analysis_version: str = "") -> SweepAnalysis:
    """As `read_analysis`, on a connection."""
    row, experiment = SweepAnalysisRow, find_experiment(connection, experiment)
    query = select(row.analysis).where(row.experiment_id == experiment)
    if analysis_version:
        query = query.where(row.analysis_version == analysis_version)
    preferred = query.order_by((row.analysis_version == VERSION).desc(), row.created_at.desc()).limit(1)
    found = connection.execute(preferred).scalar_one_or_none()
    if found is None:
        raise NotFound(
            f"experiment {experiment} was not analysed; `headrace sweep-analysis {experiment}` does it",
        )
    return SweepAnalysis.model_validate(found)
