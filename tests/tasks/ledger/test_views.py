"""The tables that the replaced applications query are views over the ledger, with the right numbers."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from schemas.errors import AnswerRejected
from schemas.identifiers import new_id
from tasks.ledger.calls import complete
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import Ledger
from tasks.ledger.steps import step
from tests.scripted_provider import Reply
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
MODELS = {"research": "r-model", "generate": "g-model", "review": "v-model"}
REQUEST = RunRequest(flow="analyze-bill", subject="bill.txt", project="default", parameters={"models": MODELS})


class Said(BaseModel):
    """A model's words."""

    text: str


@step("generate", version="1")
async def generate(model: str) -> Said:
    """A step with one call."""
    return Said(text=(await complete("Draft.", model=model)).text)


@step("read", version="1")
async def read() -> Said:
    """A step that the old pipeline did not have."""
    return Said(text="a bill")


def store_analysis(look: Look, run_id: UUID) -> None:
    """The run has an analysis of a bill."""
    bill = new_id()
    look(
        """
        INSERT INTO bills (id, jurisdiction, bill_id, session, source, media_type, text, text_sha256)
        VALUES (:bill, 'US', 'HR 5', '118', 'bill.txt', 'text/plain', 'A bill.', 'sha')
        """,
        bill=bill,
    )
    look(
        """
        INSERT INTO bill_analyses (id, run_id, bill_id, models, research, analysis, review, rounds, coverage,
                                   passed, quality_score, report)
        VALUES (:id, :run, :bill, '{}', '{}', '{"summary": "s"}', '{"passed": true}', '[]', '{}', true, 0.8765, '')
        """,
        id=new_id(),
        run=run_id,
        bill=bill,
    )


async def test_a_run_of_the_pipeline_is_a_row_of_its_old_table(ledger: Ledger, look: Look) -> None:
    async with open_run(REQUEST) as run:
        store_analysis(look, run.id)
    (row,) = look("SELECT * FROM pipeline_runs")
    assert (row.id, row.bill_id, row.jurisdiction) == (run.id, "HR 5", "US")
    assert (row.research_model, row.generate_model, row.review_model) == ("r-model", "g-model", "v-model")
    assert (row.status, row.error_message, row.review_passed) == ("completed", None, True)
    assert (row.analysis_json, row.review_json) == ({"summary": "s"}, {"passed": True})
    assert row.quality_score == Decimal("0.88")
    assert row.started_at <= row.completed_at


@pytest.mark.parametrize(
    ("status", "old"),
    [
        ("running", "running"),
        ("completed", "completed"),
        ("failed", "failed"),
        ("cancelled", "failed"),
        ("crashed", "failed"),
    ],
)
async def test_statuses_are_those_the_old_table_knew(ledger: Ledger, look: Look, status: str, old: str) -> None:
    async with open_run(REQUEST):
        pass
    look("UPDATE runs SET status = :status", status=status)
    assert look("SELECT status FROM pipeline_runs") == [(old,)]


async def test_a_run_that_failed_before_its_bill_was_read_is_there_with_its_reason(ledger: Ledger, look: Look) -> None:
    with pytest.raises(AnswerRejected):
        async with open_run(REQUEST):
            raise AnswerRejected("it did not fit")
    assert look("SELECT status, bill_id, error_message, review_passed FROM pipeline_runs") == [
        ("failed", None, "it did not fit", None)
    ]


async def test_only_steps_that_the_old_table_knew_are_in_it(ledger: Ledger, look: Look) -> None:
    async with open_run(REQUEST) as run:
        await read()
        said = await generate(model=MODEL)
    async with open_run(REQUEST.model_copy(update={"flow": "another"})):
        await generate(model=MODEL)
    rows = look("SELECT run_id, step, model, output, timestamp IS NOT NULL AS timed FROM pipeline_steps")
    assert rows == [(run.id, "generate", MODEL, {"text": said.text}, True)]
    assert look("SELECT count(*) FROM pipeline_runs") == [(1,)]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(faults={1: "500", 2: "reset"}, respond=lambda _: Reply("yes", usage={"cost": 0.125}))
async def test_costs_are_those_of_every_call_that_was_paid_or_may_have_been(ledger: Ledger, look: Look) -> None:
    answer = await complete("Why?", model=MODEL, project="p", purpose="generate")
    await complete("Why?", model=MODEL, project="p", purpose="generate")  # a replay costs nothing and is no row
    rows = look("SELECT id, model, step, cost_usd, tokens_used, project FROM cost_tracking ORDER BY id")
    worst = look("SELECT reserved_usd FROM llm_requests ORDER BY id LIMIT 1")[0].reserved_usd
    assert [row[1:] for row in rows] == [
        (MODEL, "generate", 0, 0, "p"),
        (MODEL, "generate", worst, 0, "p"),
        (MODEL, "generate", Decimal("0.125"), answer.usage.input_tokens + answer.usage.output_tokens, "p"),
    ]
    spent = look("SELECT spent_usd FROM budget_usage WHERE period = 'day'")[0].spent_usd
    assert sum(row.cost_usd for row in rows) == spent


async def test_a_call_without_a_purpose_is_named_by_its_kind(ledger: Ledger, look: Look) -> None:
    await complete("Why?", model="house-model")
    assert look("SELECT step, cost_usd FROM cost_tracking") == [("chat", None)]


@pytest.mark.parametrize("view", ["pipeline_runs", "pipeline_steps"])
def test_the_old_names_cannot_be_written(database: Engine, view: str) -> None:
    with pytest.raises(DBAPIError), database.begin() as connection:
        connection.execute(text(f"INSERT INTO {view} (id) VALUES (:id)"), {"id": new_id()})


def test_a_reader_sees_through_a_view_only_what_it_may_read(database: Engine, look: Look) -> None:
    look("CREATE ROLE onlooker")
    look("GRANT SELECT ON cost_tracking TO onlooker")
    try:
        with database.connect() as connection:
            connection.execute(text("SET ROLE onlooker"))
            with pytest.raises(DBAPIError, match="permission denied for table llm_requests"):
                connection.execute(text("SELECT * FROM cost_tracking"))
    finally:
        look("DROP OWNED BY onlooker")
        look("DROP ROLE onlooker")
