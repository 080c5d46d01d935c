"""The commands about versions of models, tests between them, and how satisfied users are."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from flows.command_options import Bare, Json
from schemas.errors import BadInput

if TYPE_CHECKING:
    from schemas.versions import Variant, VersionRecord

Switch = Parameter(negative="")

versions = App(name="versions", help="Versions of the model for a purpose; calls name it as version:PURPOSE.")
ab_test = App(name="ab-test", help="Tests that divide users among variants of a model or prompt.")


@versions.command(name="list")
def versions_list(purpose: str = "", *, json: Json = False) -> int:
    """The versions of a purpose, or of all; which is in charge, and what each was made of."""
    from flows.version_presentation import show_versions
    from tasks.versions import list_versions

    return show_versions(asyncio.run(list_versions(purpose or None)), as_json=json)


@versions.command(name="register")
def versions_register(
    purpose: str,
    model: str,
    *,
    base: str = "",
    training_file: str = "",
    export: str = "",
    notes: str = "",
    json: Json = False,
) -> int:
    """Add a model as the newest version for a purpose; nothing calls it until it is promoted.

    Parameters
    ----------
    purpose
        What the model is for, as radar.
    model
        LiteLLM name or named model.
    base
        What it was trained on.
    training_file
        The file it learned from, whose hash and rows are kept; or folder or id of a training export.
    export
        Id of the training export that the file is of; when not given, it is found by the file's hash.
    notes
        Whatever there is to say of it.
    """
    from flows.version_presentation import show_version
    from tasks.versions.exports import lineage_of
    from tasks.versions.registry import register_version

    async def register() -> VersionRecord:
        lineage = await lineage_of(training_file, base_model=base or None, export_id=export or None)
        return await register_version(purpose, model, lineage=lineage, notes=notes or None)

    made = asyncio.run(register())
    return show_version(made, f"version {made.number} of {purpose} is {model}", as_json=json)


@versions.command(name="promote")
def versions_promote(purpose: str, number: int, *, json: Json = False) -> int:
    """Put a version in charge: calls of version:PURPOSE go to it from now on."""
    from flows.version_presentation import show_version
    from tasks.versions import promote_version

    made = asyncio.run(promote_version(purpose, number))
    return show_version(made, f"version {number} of {purpose}, {made.model}, is in charge", as_json=json)


@versions.command(name="rollback")
def versions_rollback(purpose: str, *, json: Json = False) -> int:
    """Put the version in charge again that was before the present one."""
    from flows.version_presentation import show_version
    from tasks.versions import roll_back_version

    made = asyncio.run(roll_back_version(purpose))
    return show_version(made, f"version {made.number} of {purpose}, {made.model}, is in charge again", as_json=json)


@ab_test.command(name="create")
def ab_test_create(
    name: str,
    *,
    variant: Annotated[list[str], Parameter(negative="")],
    weight: Annotated[list[int] | None, Parameter(negative="")] = None,
    purpose: str = "",
    effect: float = 0.05,
    error_rate: float = 0.05,
    notes: str = "",
    json: Json = False,
) -> int:
    """Begin a test; the first variant is the control.

    Parameters
    ----------
    name
        Of the test; never used again.
    variant
        NAME=MODEL, or NAME=NUMBER for a version of the purpose; only NAME where the application itself asks
        `variant_for` and does the rest. Once for each variant.
    weight
        Of each variant in turn; all have the same when not given.
    purpose
        Calls of version:PURPOSE get the model of their user's variant.
    effect
        The difference in the rate of positive feedback that is worth knowing.
    error_rate
        How likely the test may see a difference where there is none, however often it is read.
    notes
        What it is about.
    """
    from flows.version_presentation import show_test
    from tasks.versions import create_test

    variants = _variants(variant, weight or [])
    made = asyncio.run(
        create_test(
            name,
            variants,
            purpose=purpose or None,
            minimum_effect=effect,
            error_rate=error_rate,
            notes=notes or None,
        )
    )
    return show_test(made, as_json=json)


def _variants(given: list[str], weights: list[int]) -> list[Variant]:
    """`NAME`, `NAME=MODEL` or `NAME=NUMBER`, each with its weight.

    Raises:
        BadInput: one is written otherwise, or there are not as many weights.
    """
    from pydantic import ValidationError

    from schemas.versions import Variant

    if weights and len(weights) != len(given):
        raise BadInput(f"there are {len(given)} variants and {len(weights)} weights: give one for each, or none")
    made = []
    for place, each in enumerate(given):
        name, equals, model = each.partition("=")
        is_number = model.isascii() and model.isdigit()
        try:
            made.append(
                Variant(
                    name=name,
                    weight=weights[place] if weights else 1,
                    model=model if equals and not is_number else None,
                    version=int(model) if is_number else None,
                )
            )
        except ValidationError as error:
            what = ".".join(map(str, error.errors()[0]["loc"]))
            raise BadInput(f"variant {each!r}: {what}: {error.errors()[0]['msg']}") from None
    return made


@ab_test.command(name="list")
def ab_test_list(*, json: Json = False) -> int:
    """All tests, oldest first."""
    from flows.version_presentation import show_tests
    from tasks.versions import list_tests

    return show_tests(asyncio.run(list_tests()), as_json=json)


@ab_test.command(name="assign")
def ab_test_assign(test: str, user: str, *, json: Json = False) -> int:
    """Which variant of a test a user has: the same one every time."""
    from flows.version_presentation import show_assignment
    from tasks.versions import variant_for

    return show_assignment(asyncio.run(variant_for(user, test)), as_json=json)


@ab_test.command(name="report")
def ab_test_report(test: str, *, project: str = "", bare: Bare = False, json: Json = False) -> int:
    """What the test has shown so far; it may be read as often as you like.

    Parameters
    ----------
    test
        Name of the test.
    project
        Which project the run belongs to; HEADRACE_PROJECT when not given.
    """
    from flows.ab_report import show_ab_report
    from flows.ab_testing import report_ab_test
    from flows.running import run_flow

    report = asyncio.run(run_flow(report_ab_test, {"test": test, "project": project}, bare=bare))
    return show_ab_report(report, as_json=json)


@ab_test.command(name="stop")
def ab_test_stop(test: str, *, promote: str = "", json: Json = False) -> int:
    """End a test: calls go to the version in charge, and the report stays as it is.

    Parameters
    ----------
    test
        Name of the test.
    promote
        The variant whose version is put in charge in the same moment.
    """
    from flows.version_presentation import show_test
    from tasks.versions import stop_test

    return show_test(asyncio.run(stop_test(test, promote=promote or None)), as_json=json)


def feedback_stats(
    *,
    since: date | None = None,
    until: date | None = None,
    period: Literal["day", "week", "month", "all"] = "week",
    project: str = "",
    unrated: Annotated[bool, Switch] = False,
    json: Json = False,
) -> int:
    """How satisfied users are over time, by model and insight type, with intervals.

    Parameters
    ----------
    since
        First day, in UTC.
    until
        Last day, included.
    period
        What is added up; weeks begin on Monday.
    project
        Only answers of this project.
    unrated
        Also lines of answers that nobody has rated.
    """
    from flows.version_presentation import show_satisfaction
    from tasks.versions import read_satisfaction

    found = asyncio.run(
        read_satisfaction(since=since, until=until, period=period, project=project or None, unrated=unrated)
    )
    return show_satisfaction(found, as_json=json)
