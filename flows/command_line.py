"""The `headrace` command.

What a person reads goes to the terminal, what a machine reads (`--json`) to standard output, logs to
standard error. Exit codes: 0 done, 1 the work failed, 2 bad usage or bad input, 3 budget exceeded,
130 interrupted. Heavy imports are inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from cyclopts import App, CycloptsError, Parameter

from flows.answering_commands import ask, chat
from flows.command_options import AtLeastOne, Bare, Fresh, Json
from flows.cost_commands import budget, costs
from flows.database_commands import database
from flows.embedding_commands import embed, embeddings
from flows.feedback_commands import feedback
from flows.fine_tuning_commands import cancel_fine_tuning, fine_tune
from flows.insight_commands import generate_insight
from flows.media_commands import estimate, image, rerank
from flows.migration_commands import migrate, rejects, rollback
from flows.quality_commands import add_quality_commands
from flows.search_commands import search
from flows.sweep_commands import add_sweep_commands
from flows.sweep_report_commands import add_sweep_report_commands
from flows.training_commands import add_training_commands
from flows.version_commands import ab_test, feedback_stats, versions
from schemas.errors import BadInput, HeadraceError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tasks.ledger.run_records import RunRecord


def _version() -> str:
    from importlib.metadata import version

    return version("headrace")


app = App(
    name="headrace",
    help="The back office of LLM applications: Prefect flows over one Postgres ledger.",
    version=_version,
    suppress_keyboard_interrupt=False,  # `run_command` says what was interrupted
)
app.command(database)
app.command(budget)
app.command(costs)
app.command(
    "flows.web_commands:web", name="web", help="Search the web; what was found is shared and not paid for twice."
)
app.command(generate_insight)
app.command(feedback)
app.command(feedback_stats)
add_training_commands(app)
app.command(versions)
app.command(ab_test)
app.command(fine_tune)
app.command(cancel_fine_tuning)
app.command(image)
app.command(rerank)
app.command(estimate)
app.command(migrate)
app.command(rollback)
app.command(rejects)
app.command(ask)
app.command(chat)
app.command(
    "flows.answering_commands:threads",
    name="threads",
    help="Threads of the forum: list, read, ask, answer, change, make of a conversation.",
)
app.command(
    "flows.answering_commands:conversations",
    name="conversations",
    help="Conversations with the assistant: list, read, clean up.",
)
app.command(search)
app.command(embed)
app.command(embeddings)
app.command(
    "flows.material_commands:materials", name="materials", help="Course materials: what search and answers work on."
)
add_quality_commands(app)
add_sweep_commands(app)
add_sweep_report_commands(app)
log = logging.getLogger("headrace")

INTERRUPTED = 130
OWN_LOGGERS = ("headrace", "tasks", "blocks")


@app.command
def analyze(
    *sources: Annotated[str, Parameter(allow_leading_hyphen=True)],
    jurisdiction: str = "",
    bill_id: str = "",
    session: str = "",
    research_model: str = "",
    generate_model: str = "",
    review_model: str = "",
    max_rounds: int = 1,
    queries: int = 6,
    project: str = "",
    research_of: UUID | None = None,
    at_once: AtLeastOne = 4,
    fresh: Fresh = False,
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Analyse bills: files, folders, URLs, `-` for standard input, or stored bills.

    Parameters
    ----------
    sources
        What to analyse; several are analysed in one go, each with a run of its own.
    jurisdiction
        Of the bill, e.g. US or NY; taken from the bill when not given.
    bill_id
        Number of the bill, e.g. "HR 5"; taken from the bill when not given.
    session
        Session of the bill, e.g. 118; taken from the bill when not given.
    research_model
        Writes the search queries; HEADRACE_RESEARCH_MODEL when not given.
    generate_model
        Drafts and refines; HEADRACE_GENERATE_MODEL when not given.
    review_model
        Audits the drafts; HEADRACE_REVIEW_MODEL when not given.
    max_rounds
        Refinements after a failed review, at most.
    queries
        Search queries that research writes.
    project
        Whose budget pays; HEADRACE_PROJECT when not given.
    research_of
        A run whose research is used instead of doing it again.
    at_once
        How many bills are worked on at the same time.
    """
    _refuse_options(sources)
    from flows import analysis
    from flows.presentation import show_outcomes, show_report

    shared: dict[str, Any] = {
        "models": {"research": research_model, "generate": generate_model, "review": review_model},
        "max_rounds": max_rounds,
        "queries": queries,
        "project": project,
        "fresh": fresh,
    }
    single = {"jurisdiction": jurisdiction, "bill_id": bill_id, "session": session, "research_of": research_of}
    if len(sources) == 1 and not Path(sources[0]).is_dir():
        report = _run_flow(analysis.analyze_bill, {"source": sources[0], **single, **shared}, bare=bare)
        return show_report(report, as_json=json)
    if given := [f"--{name.replace('_', '-')}" for name, value in single.items() if value]:
        raise BadInput(f"{', '.join(given)} is for one bill: analyse that bill by itself")
    many = {"sources": list(sources), "at_once": at_once, **shared}
    return show_outcomes(_run_flow(analysis.analyze_bills, many, bare=bare), as_json=json)


def _refuse_options(sources: tuple[str, ...]) -> None:
    """No source is a misspelt option; `-` alone is standard input."""
    if not sources:
        raise BadInput("analyze needs a bill: a file, a folder, a URL, or - for standard input")
    for source in sources:
        if source.startswith("-") and source != "-":
            raise BadInput(f"there is no option {source}; `headrace analyze --help` lists those there are")


@app.command
def compare(
    *bills: str,
    generate: Annotated[list[str], Parameter(negative="")],
    research_model: str = "",
    review_model: str = "",
    max_rounds: int = 1,
    queries: int = 6,
    project: str = "",
    at_once: AtLeastOne = 4,
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Analyse each bill with each model on identical research and show them side by side.

    Parameters
    ----------
    bills
        Files, folders, URLs or stored bills.
    generate
        A model that drafts; give it twice or more.
    research_model
        Writes the search queries; HEADRACE_RESEARCH_MODEL when not given.
    review_model
        Audits the drafts; HEADRACE_REVIEW_MODEL when not given.
    max_rounds
        Refinements after a failed review, at most.
    queries
        Search queries that research writes.
    project
        Whose budget pays; HEADRACE_PROJECT when not given.
    at_once
        How many bills are worked on at the same time.
    """
    from flows.comparison import compare_models
    from flows.presentation import show_comparison

    parameters = {
        "sources": list(bills),
        "generate": generate,
        "research": research_model,
        "review": review_model,
        "max_rounds": max_rounds,
        "queries": queries,
        "project": project,
        "at_once": at_once,
    }
    return show_comparison(_run_flow(compare_models, parameters, bare=bare), as_json=json)


@app.command
def resume(run: UUID, *, bare: Bare = False, json: Json = False) -> int:
    """Go on with a run that failed, was interrupted or whose process died; finished steps are not repeated."""
    from flows.resuming import go_on

    return go_on(_run(_recorded(run, bare)), bare=bare, as_json=json)


async def _recorded(run: UUID, bare: bool) -> RunRecord:
    from flows.running import settings_for
    from tasks.ledger.run_records import read_run
    from tasks.ledger.session import open_ledger

    async with open_ledger(settings_for(bare)):
        return await read_run(run)


@app.command
def runs(run: UUID | None = None, *, limit: AtLeastOne = 20, json: Json = False) -> int:
    """The latest runs, or the steps and calls of one.

    Parameters
    ----------
    run
        Id of the run to look into.
    limit
        How many runs are listed.
    """
    from flows.presentation import show_run, show_runs
    from tasks.ledger.run_records import list_runs, read_run_detail

    if run is None:
        return show_runs(_run(list_runs(limit=limit)), as_json=json)
    return show_run(_run(read_run_detail(run)), as_json=json)


@app.command
def doctor(*, json: Json = False) -> int:
    """Check database, schema, models, keys, Prefect and disk; each line names the command that mends it."""
    from flows.doctor import examine
    from flows.presentation import show_findings

    return show_findings(_run(examine()), as_json=json)


@app.command
def models(*, json: Json = False) -> int:
    """List the models in use and those with a name: price, context window, limits, and whether they can be reached."""
    from flows.models import list_models, show_models

    return show_models(_run(list_models()), as_json=json)


@app.command
def up(*, port: int = 4200, workers: AtLeastOne = 1, json: Json = False) -> int:
    """Start the embedded stack, a Prefect server with its UI, a worker and the deployments; Ctrl-C stops it all.

    Parameters
    ----------
    port
        Of the Prefect UI on 127.0.0.1; a free one near it is taken when it is in use.
    workers
        How many flow runs may run at once.
    """
    from flows.up import serve_until_interrupted

    return serve_until_interrupted(port=port, limit=workers, as_json=json)


@app.command
def down(*, force: Annotated[bool, Parameter(negative="")] = False, json: Json = False) -> int:
    """Stop the embedded parts now instead of after their idle time.

    Parameters
    ----------
    force
        Even while another command uses them.
    """
    from flows.maintenance import stop_embedded

    return _say(stop_embedded(force=force), as_json=json)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def _run_flow(flow: Any, parameters: dict[str, Any], *, resume: UUID | None = None, bare: bool = False) -> Any:
    from flows.running import run_flow

    return asyncio.run(run_flow(flow, parameters, resume=resume, bare=bare))


def _say(result: BaseModel, *, as_json: bool) -> int:
    from flows.presentation import say

    return say(result, as_json=as_json)


def main(arguments: list[str] | None = None) -> None:
    """Entry of the `headrace` script; exits with the code the module's docstring lists."""
    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))


class Defect(HeadraceError):
    """What should not have happened; the log has its traceback."""

    code = "internal"


def run_command(arguments: list[str]) -> int:
    """The command's exit code; whatever goes wrong is one sentence on standard error."""
    as_json = "--json" in arguments
    _log_to_standard_error()
    # Also where the shell has them ignored, as for a job in the background: our children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return int(app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0)
    except CycloptsError as error:
        return _fail(BadInput(str(error)), as_json=as_json)
    except HeadraceError as error:
        return _fail(error, as_json=as_json)
    except KeyboardInterrupt:
        return _interrupted(as_json=as_json)
    except Exception as error:
        log.exception("this is a defect of Headrace:")
        return _fail(Defect(f"unexpected {type(error).__name__}; its traceback is above"), as_json=as_json)


def _log_to_standard_error() -> None:
    """What Headrace says of its progress, and warnings of everybody else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.startswith(OWN_LOGGERS))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


def _fail(error: HeadraceError, *, as_json: bool) -> int:
    """One line on standard error; with `--json` the failure as an object on standard output."""
    run = error.details.get("run_id")
    if as_json:
        _write_failure(run, "failed", error.code, str(error), error.details)
    resumable = error.resumable and error.exit_code != 2
    hint = f" (run {run}; `headrace resume {run}` goes on with it)" if run and resumable else ""
    print(f"headrace: {' '.join(str(error).split())}{hint}", file=sys.stderr)
    return error.exit_code


def _interrupted(*, as_json: bool) -> int:
    """What was begun is kept; where it is one run, the line says how to go on with it."""
    running = sys.modules.get("flows.running")
    runs = [str(run) for run in running.begun_runs] if running else []
    run = runs[0] if len(runs) == 1 else None
    if as_json:
        _write_failure(run, "cancelled", "interrupted", "interrupted", {"runs": runs})
    hint = f"; `headrace resume {run}` goes on with it" if run else ""
    print(f"headrace: interrupted{hint}", file=sys.stderr)
    return INTERRUPTED


def _write_failure(run: str | None, status: str, code: str, message: str, details: dict[str, Any]) -> None:
    failure = {"code": code, "message": message, "details": details}
    print(json.dumps({"run_id": run, "status": status, "error": failure}, default=str))
