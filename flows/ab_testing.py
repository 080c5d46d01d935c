"""What a test between variants has shown so far, as a report.

from flows.ab_testing import report_ab_test
from flows.running import run_flow

report = await run_flow(report_ab_test, {"test": "shorter-briefs"})
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from prefect import flow

from flows.ab_report import as_markdown
from flows.artifacts import publish_page
from flows.running import note_run, prefect_flow_run_id
from schemas.ab_reports import TestReport
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import open_ledger
from tasks.versions.reporting import report_test

AB_REPORT = "ab-report"


class AbReport(TestReport):
    """A reading of a test, kept as the result of its run."""

    run_id: UUID
    status: Literal["completed"] = "completed"


@flow(name=AB_REPORT, flow_run_name="report {test}", persist_result=False)
async def report_ab_test(test: str, project: str = "") -> AbReport:
    """Read a test between variants: rates, intervals, a comparison that may be read every day, cost and latency.

    Args:
        test: Name of the test
        project: Which project the run belongs to; empty: HEADRACE_PROJECT

    Raises:
        NotFound: there is no such test.
    """
    async with open_ledger() as ledger:
        request = RunRequest(
            flow=AB_REPORT,
            subject=test,
            project=project or ledger.settings.project,
            parameters={"test": test, "project": project},
            prefect_flow_run_id=prefect_flow_run_id(),
        )
        async with open_run(request) as run:
            note_run(run)
            found = await report_test(test)
            report = AbReport(run_id=run.id, **dict(found))
            run.result = report.model_dump(mode="json")
    await publish_page(as_markdown(report), report.run_id, AB_REPORT, test)
    return report
