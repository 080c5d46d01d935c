"""The analysis as a person reads it, and as it is stored."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blocks.database import database_errors, dump_json
from schemas.analysis import BillReport
from schemas.canonical import postgres_json, postgres_text
from schemas.identifiers import new_id
from tasks.analysis.drafting import PROMPTS
from tasks.ledger.operations import Attempt
from tasks.ledger.prompts import Prompt
from tasks.ledger.runs import hold_run

REPORT = Prompt(PROMPTS / "report.md")


def render_report(report: BillReport) -> str:
    """The report as Markdown."""
    facts = {name: getattr(report, name) for name in BillReport.model_fields if name not in {"report", "rounds"}}
    return REPORT.render(**facts, rounds=len(report.rounds)) + "\n"


_STORE = text("""
    INSERT INTO bill_analyses (id, run_id, bill_id, models, research, analysis, review, rounds, coverage, passed,
                               quality_score, report)
    VALUES (:id, :run_id, :bill_id, CAST(:models AS jsonb), CAST(:research AS jsonb), CAST(:analysis AS jsonb),
            CAST(:review AS jsonb), CAST(:rounds AS jsonb), CAST(:coverage AS jsonb), :passed, :quality_score, :report)
    ON CONFLICT (run_id) DO UPDATE SET models = excluded.models, research = excluded.research,
        analysis = excluded.analysis, review = excluded.review, rounds = excluded.rounds,
        coverage = excluded.coverage, passed = excluded.passed, quality_score = excluded.quality_score,
        report = excluded.report
""")


async def store_analysis(engine: AsyncEngine, report: BillReport, attempt: Attempt) -> None:
    """The report is the run's row in `bill_analyses`; storing it twice is storing it once.

    Raises:
        LeaseLost: another attempt has taken the run over, whose report is the one that counts.
    """
    whole: dict[str, Any] = report.model_dump(mode="json")
    values: dict[str, Any] = {name: dump_json(postgres_json(whole[name])) for name in _JSON_COLUMNS}
    values |= {
        "id": new_id(),
        "run_id": report.run_id,
        "bill_id": report.bill.id,
        "passed": report.passed,
        "quality_score": report.quality_score,
        "report": postgres_text(report.report),
    }
    with database_errors():
        async with engine.begin() as connection:
            await hold_run(connection, attempt)
            await connection.execute(_STORE, values)


_JSON_COLUMNS = ("models", "research", "analysis", "review", "rounds", "coverage")
