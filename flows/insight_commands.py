"""The commands of the keyword service."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from uuid import UUID

from cyclopts import Parameter

from flows.command_options import Bare, Fresh, Json
from schemas.choices import InsightType


def generate_insight(
    insight_type: InsightType,
    context: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    model: str = "",
    user: str = "",
    project: str = "lexybrain",
    fresh: Fresh = False,
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Make a market brief, a radar, an advertising split or a list of risks from keyword figures.

    Parameters
    ----------
    insight_type
        What to make.
    context
        JSON file with market, niche_terms, keywords and their figures; - for standard input.
    model
        Writes the insight; HEADRACE_CHAT_MODEL when not given.
    user
        Whose insight it is.
    project
        Whose budget pays; LEXYBRAIN_DAILY_COST_CAP is the daily cap of lexybrain.
    """
    from flows.insights import read_context

    parameters = {"insight_type": insight_type, "context": read_context(context), "model": model, "user": user}
    return _run_and_show(parameters | {"project": project, "fresh": fresh}, None, bare=bare, as_json=json)


def go_on_with_insight(parameters: dict[str, Any], run: UUID, *, bare: bool, as_json: bool) -> int:
    """The run that was begun with `parameters` goes on and is shown."""
    return _run_and_show(parameters, run, bare=bare, as_json=as_json)


def _run_and_show(parameters: dict[str, Any], resume: UUID | None, *, bare: bool, as_json: bool) -> int:
    from flows import insights
    from flows.insight_presentation import show_insight
    from flows.running import run_flow

    report = asyncio.run(run_flow(insights.generate_insight, parameters, resume=resume, bare=bare))
    return show_insight(report, as_json=as_json)
