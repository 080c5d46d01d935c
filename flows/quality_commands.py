"""The commands about the quality of answers: what a sweep says, how scores go over time, which model does better."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated

from cyclopts import App, Parameter

from flows.command_options import Bare, Json

Several = Annotated[list[str], Parameter(negative="")]


def add_quality_commands(app: App) -> None:
    """`app` has the commands of this module."""
    for command in (sweep_analysis, quality_trends, compare_models):
        app.command(command)


def sweep_analysis(
    experiment: str,
    *,
    metric: Several = [],  # noqa: B006 - nobody changes it
    analysis_version: str = "",
    stored: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> int:
    """Say what an experiment shows: which parameters matter and how surely, what is best, what it costs.

    Parameters
    ----------
    experiment
        Id or name of the experiment.
    metric
        Only tell of these metrics; of overall when not given. All of them are analysed.
    analysis_version
        Of the scores; headrace-1 when not given, or what the experiment has.
    stored
        What was concluded last, without looking at the responses anew.
    """
    from flows.quality_report import show_analysis
    from schemas.errors import BadInput
    from tasks.sweep.analysis import analyze_experiment, read_analysis

    find = read_analysis if stored else analyze_experiment
    analysis = asyncio.run(find(experiment, analysis_version=analysis_version))
    if unknown := [name for name in metric if name not in analysis.metrics]:
        raise BadInput(f"there are no scores of {unknown[0]}; there are {', '.join(analysis.metrics)}")
    return show_analysis(analysis, metric, as_json=json)


def quality_trends(
    *,
    since: date | None = None,
    until: date | None = None,
    model: Several = [],  # noqa: B006
    metric: Several = [],  # noqa: B006
    analysis_version: str = "",
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Say how scores went from day to day, by model and metric, over all experiments.

    Parameters
    ----------
    since
        First day in UTC, as 2026-03-01; that of the first response when not given.
    until
        Last day, included; that of the last response when not given.
    model
        Only this model; can be given more than once.
    metric
        Only this metric; can be given more than once.
    analysis_version
        Only scores of this version; all, each by itself, when not given.
    """
    from flows import quality_trends as flows_of_trends
    from flows.quality_report import show_trends
    from flows.running import run_flow

    parameters = {
        "since": since,
        "until": until,
        "models": model,
        "metrics": metric,
        "analysis_version": analysis_version,
    }
    report = asyncio.run(run_flow(flows_of_trends.quality_trends, parameters, bare=bare))
    return show_trends(report, as_json=json)


def compare_models(
    *experiments: str,
    model: Several = [],  # noqa: B006
    metric: str = "overall",
    since: date | None = None,
    until: date | None = None,
    analysis_version: str = "",
    json: Json = False,
) -> int:
    """Compare models on the prompts and parameters that they share, each pair by a paired test.

    Parameters
    ----------
    experiments
        Ids of experiments; all when not given.
    model
        Only these models; give it twice or more.
    metric
        What they are compared by.
    since
        First day in UTC, as 2026-03-01.
    until
        Last day, included.
    analysis_version
        Of the scores; headrace-1 when not given, or what most have.
    """
    from flows.quality_report import show_comparison
    from tasks.sweep.model_comparison import ComparisonQuestion, compare_models_paired

    asked = ComparisonQuestion(tuple(experiments), tuple(model), metric, since, until, analysis_version)
    return show_comparison(asyncio.run(compare_models_paired(asked)), as_json=json)
