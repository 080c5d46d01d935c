"""What a report says, read from the ledger; what is concluded on the way is on record."""

from __future__ import annotations

import asyncio

from sqlalchemy import Connection

from blocks.database import database_errors
from schemas.errors import NotFound
from schemas.sweep_reports import ReportContents
from schemas.sweep_statistics import SweepAnalysis
from tasks.ledger.session import open_ledger
from tasks.sweep.analysis import find_analysis, store_analysis
from tasks.sweep.reports.contents import conclude, read_stored


async def read_report(experiment: str, *, analysis_version: str = "") -> ReportContents:
    """What a report of `experiment` says; its conclusions are those on record, brought up to date where they were not.

    Args:
        experiment: its id or name.
        analysis_version: of the scores; by default those of today, or else the version most of them have.

    Raises:
        NotFound: there is no such experiment, or it has no scores of that version.
        BadInput: there are several of that name.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                snapshot = await connection.execution_options(isolation_level="REPEATABLE READ")
                stored = await snapshot.run_sync(read_stored, experiment, analysis_version)
        contents = await asyncio.to_thread(conclude, stored)
        with database_errors():
            async with ledger.engine.begin() as connection:
                await connection.run_sync(_conclude, contents.analysis)
    return contents


def _conclude(connection: Connection, analysis: SweepAnalysis) -> None:
    """`analysis` is on record."""
    try:
        stored = find_analysis(connection, analysis.experiment_id, analysis.analysis_version)
    except NotFound:
        stored = None
    if stored != analysis:
        store_analysis(connection, analysis)
