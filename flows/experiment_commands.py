"""`headrace experiments …`: experiments kept in order, compared and exported."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from flows.command_options import AtLeastOne, Json

if TYPE_CHECKING:
    from collections.abc import Coroutine

experiments = App(name="experiments", help="Experiments: list, show, tag, archive, rename, delete, compare, export.")

Several = Annotated[list[str], Parameter(negative="")]
Flag = Annotated[bool, Parameter(negative="")]
Status = Literal["pending", "running", "completed", "failed", "cancelled"]
Order = Literal["created", "name", "score", "cost", "responses"]


@experiments.command(name="list")
def list_experiments(
    *,
    name: str = "",
    tag: Several = [],  # noqa: B006 - nobody changes it
    status: Status | None = None,
    since: date | None = None,
    until: date | None = None,
    model: str = "",
    favourite: Flag = False,
    archived: Flag = False,
    order: Order = "created",
    limit: AtLeastOne = 20,
    after: str = "",
    csv: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    json: Json = False,
) -> int:
    """List experiments, the latest first; archived ones only when asked for.

    Parameters
    ----------
    name
        Only those with this text in their name.
    tag
        Only those with this tag; given more than once, with all of them.
    status
        Only those of this status.
    since
        Created on this day or later, in UTC, as 2026-03-01.
    until
        Created on this day or earlier.
    model
        Only those that asked this model.
    favourite
        Only favourites.
    archived
        Those that were archived, instead of the others.
    order
        By name from A on; by all else the latest, best, dearest or largest first.
    limit
        How many are listed.
    after
        Go on after the experiment with this id, in the same order.
    csv
        File to write what is listed to, as CSV; `-` for standard output.
    """
    from flows.experiment_presentation import show_page
    from schemas.experiments import ExperimentQuestion
    from tasks.sweep.housekeeping_listing import list_experiments

    asked = ExperimentQuestion(
        name=name,
        tags=tuple(tag),
        status=status,
        since=since,
        until=until,
        model=model,
        favourite=favourite,
        archived=archived,
        order=order,
        limit=limit,
        after=after,
    )
    return show_page(asyncio.run(list_experiments(asked)), csv_to=csv, as_json=json)


@experiments.command
def show(experiment: str, *, json: Json = False) -> int:
    """Show an experiment: what was asked, what it cost, best and mean scores, what failed, what was concluded.

    Parameters
    ----------
    experiment
        Its id, its exact name, or the beginning of its id.
    """
    from flows.experiment_presentation import show_detail
    from tasks.sweep.housekeeping_detail import show_experiment

    return show_detail(asyncio.run(show_experiment(experiment)), as_json=json)


@experiments.command
def tag(experiment: str, *tags: str, json: Json = False) -> int:
    """Give an experiment tags besides those it has.

    Parameters
    ----------
    experiment
        Its id, its exact name, or the beginning of its id.
    """
    from tasks.sweep.housekeeping import tag_experiment

    return _changed(tag_experiment(experiment, tags), "has the tags {tags}", json)


@experiments.command
def untag(experiment: str, *tags: str, json: Json = False) -> int:
    """Take tags from an experiment.

    Parameters
    ----------
    experiment
        Its id, its exact name, or the beginning of its id.
    """
    from tasks.sweep.housekeeping import untag_experiment

    return _changed(untag_experiment(experiment, tags), "has the tags {tags}", json)


@experiments.command
def favourite(experiment: str, *, json: Json = False) -> int:
    """Mark an experiment as a favourite."""
    from tasks.sweep.housekeeping import favourite_experiment

    return _changed(favourite_experiment(experiment), "is a favourite", json)


@experiments.command
def unfavourite(experiment: str, *, json: Json = False) -> int:
    """Mark an experiment as no favourite any more."""
    from tasks.sweep.housekeeping import unfavourite_experiment

    return _changed(unfavourite_experiment(experiment), "is no favourite", json)


@experiments.command
def archive(experiment: str, *, json: Json = False) -> int:
    """Put an experiment out of the way: it is listed only with --archived, and nothing of it is gone."""
    from tasks.sweep.housekeeping import archive_experiment

    return _changed(archive_experiment(experiment), "is archived: `list --archived` has it", json)


@experiments.command
def unarchive(experiment: str, *, json: Json = False) -> int:
    """Have an archived experiment listed again."""
    from tasks.sweep.housekeeping import unarchive_experiment

    return _changed(unarchive_experiment(experiment), "is listed again", json)


@experiments.command
def rename(experiment: str, name: str, *, json: Json = False) -> int:
    """Give an experiment another name."""
    from tasks.sweep.housekeeping import rename_experiment

    return _changed(rename_experiment(experiment, name), "is its name now", json)


def _changed(work: Coroutine[Any, Any, Any], what: str, as_json: bool) -> int:
    from flows.experiment_presentation import show_change

    return show_change(asyncio.run(work), what, as_json=as_json)


@experiments.command
def delete(experiment: str, *, yes: Flag = False, json: Json = False) -> int:
    """Delete an experiment with its responses, scores and all that was concluded from them.

    Says first what that is, and asks. Calls that were paid stay in the ledger; the same spec swept anew finds them.

    Parameters
    ----------
    experiment
        Its id, its exact name, or the beginning of its id.
    yes
        Do not ask.
    """
    from flows.asking import agreed
    from flows.experiment_presentation import say_what_goes, show_deletion
    from tasks.sweep.housekeeping_deletion import delete_experiment, plan_deletion

    if not yes:
        planned = asyncio.run(plan_deletion(experiment))
        say_what_goes(planned)
        if not agreed("Delete it?"):
            return 0
        experiment = planned.experiment_id
    return show_deletion(asyncio.run(delete_experiment(experiment)), as_json=json)


@experiments.command
def compare(first: str, second: str, *, responses: Flag = False, analysis_version: str = "", json: Json = False) -> int:
    """Compare two experiments metric by metric, on what both were asked alike where there is any.

    Parameters
    ----------
    first
        Id, exact name, or beginning of the id of an experiment; of a response with --responses.
    second
        The other; differences are of the second less the first.
    responses
        Compare two responses instead: `experiments show` and `experiments export` tell their ids.
    analysis_version
        Of the scores; headrace-1 when not given, or what both have most of.
    """
    from flows.experiment_comparison_presentation import show_compared_experiments, show_compared_responses
    from tasks.sweep.experiment_comparison import compare_experiments
    from tasks.sweep.response_comparison import compare_responses

    if responses:
        compared = asyncio.run(compare_responses(first, second, analysis_version=analysis_version))
        return show_compared_responses(compared, as_json=json)
    found = asyncio.run(compare_experiments(first, second, analysis_version=analysis_version))
    return show_compared_experiments(found, as_json=json)


@experiments.command
def export(
    out: Path,
    *,
    where: Several = [],  # noqa: B006
    experiment: Several = [],  # noqa: B006
    model: Several = [],  # noqa: B006
    tag: Several = [],  # noqa: B006
    since: date | None = None,
    until: date | None = None,
    archived: Flag = False,
    analysis_version: str = "",
    json: Json = False,
) -> int:
    """Write responses to a file, one row each, with what was asked, what came, its scores and its cost.

    Parameters
    ----------
    out
        File whose ending says the format: .csv, .json, .jsonl, .xlsx or .parquet.
    where
        A condition, as "temperature<=0.7", "overall>=0.8" or "content~lock"; all that are given must hold.
    experiment
        Only of this experiment; of all that are not archived when not given.
    model
        Only of this model; can be given more than once.
    tag
        Only of experiments with this tag; given more than once, with all of them.
    since
        Answered on this day or later, in UTC, as 2026-03-01.
    until
        Answered on this day or earlier.
    archived
        Of archived experiments too.
    analysis_version
        Of the scores; headrace-1 with those by embeddings and judges when not given, or what most have.
    """
    from flows.experiment_presentation import show_export
    from schemas.errors import BadInput
    from tasks.sweep.exporting import export_experiments
    from tasks.sweep.response_filter import ResponseFilter, parse_condition

    if since and until and since > until:
        raise BadInput(f"--since {since} is after --until {until}")
    chosen = ResponseFilter(
        experiments=tuple(experiment),
        tags=tuple(tag),
        models=tuple(model),
        since=since,
        until=until,
        where=tuple(parse_condition(each) for each in where),
        archived=archived,
        analysis_version=analysis_version,
    )
    return show_export(asyncio.run(export_experiments(out, chosen)), as_json=json)
