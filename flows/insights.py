"""Insights of the keyword service: a market brief, a radar, an advertising split or a list of risks.

from flows.insights import generate_insight
from flows.running import run_flow

report = await run_flow(generate_insight, {"insight_type": "radar", "context": context})
"""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow
from pydantic import ValidationError

from flows.running import note_run, prefect_flow_run_id
from schemas.choices import InsightType
from schemas.errors import BadInput
from schemas.insights import InsightContext, InsightReport
from tasks.insights.daily_cap import PROJECT, hold_daily_cap
from tasks.insights.switches import require_insights, tell_of_grave_risks
from tasks.insights.writing import WRITERS
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import open_ledger

GENERATE_INSIGHT = "generate-insight"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@flow(name=GENERATE_INSIGHT, flow_run_name="{insight_type}", persist_result=False)
async def generate_insight(
    insight_type: InsightType,
    context: InsightContext,
    model: str = "",
    user: str = "",
    project: str = PROJECT,
    fresh: bool = False,
) -> InsightReport:
    """Make one insight from a market's figures, or say that they are too thin; an earlier one is used while fresh.

    Args:
        insight_type: What to make: market_brief, radar, ad_insight or risk
        context: The market, its niche and its keywords with their figures
        model: LiteLLM name of the model; empty: HEADRACE_CHAT_MODEL
        user: Whose insight it is; empty: nobody's in particular
        project: Whose budget pays; LEXYBRAIN_DAILY_COST_CAP is the daily cap of project lexybrain
        fresh: Ask the model anew instead of using a stored answer

    Raises:
        BudgetExceeded: the daily cap leaves no room; nothing was spent.
        RetriesExhausted, AnswerRejected, ConfigurationError: the model could not be used; the run can be resumed.
        ConfigurationError: LEXYBRAIN_ENABLE is false; nothing was begun.
    """
    async with open_ledger() as ledger:
        require_insights(ledger.settings)
        model = model or ledger.settings.model_for("chat")
        cap = await hold_daily_cap(ledger.settings, project)
        parameters = {"insight_type": insight_type, "model": model, "user": user, "project": project, "fresh": fresh}
        request = RunRequest(
            flow=GENERATE_INSIGHT,
            subject=f"{insight_type} {context.market}",
            project=project,
            parameters={**parameters, "context": context.model_dump(mode="json")},
            user=user or None,
            fresh=fresh,
            prefect_flow_run_id=prefect_flow_run_id(),
        )
        async with open_run(request) as run:
            note_run(run)
            too_thin = context.why_too_thin
            answer = None if too_thin else await WRITERS[insight_type](context, model)
            run.result = {"reliable": answer is not None, "request_id": str(answer.request_id) if answer else None}
        tell_of_grave_risks(ledger.settings, context.market, answer)
    return InsightReport(
        run_id=run.id,
        insight_type=insight_type,
        market=context.market,
        reliable=answer is not None,
        message=f"no reliable data: {too_thin}" if too_thin else None,
        answer=answer,
        daily_cap_usd=cap.limit_usd if cap else None,
    )


def read_context(source: str) -> InsightContext:
    """The context in a JSON file, or on standard input for `-`.

    Raises:
        BadInput: it cannot be read, or is no context; the message names the field.
    """
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise BadInput(f"{source} cannot be read: {error.strerror or error}") from error
    try:
        return InsightContext.model_validate_json(content.removeprefix(BYTE_ORDER_MARK))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'JSON'}: {fault['msg']}" for fault in error.errors()]
        raise BadInput(f"{source} is no context of an insight: {'; '.join(faults[:5])}") from None
