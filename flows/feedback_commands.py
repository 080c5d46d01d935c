"""The command about feedback: `headrace feedback`."""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import UUID

from cyclopts import App, Parameter

from flows.command_options import AtLeastOne, Bare, Json
from schemas.choices import Rating
from schemas.errors import BadInput

feedback = App(name="feedback", help="Say what you think of a response, or read what was said.")


@feedback.default
def give(
    response: UUID | None = None,
    rating: Rating | None = None,
    *,
    note: Annotated[str, Parameter(name=["--note", "--notes"])] = "",
    category: Annotated[list[str] | None, Parameter(negative="")] = None,
    correction: str = "",
    user: str = "",
    from_file: Annotated[str, Parameter(name="--from")] = "",
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Say what you think of a response; what the same user said of it before is replaced.

    Parameters
    ----------
    response
        The request id that came with the answer.
    rating
        What you think of it.
    note
        Why.
    category
        A short label; give it more than once for several.
    correction
        What the response should have been, in full.
    user
        Who thinks so; the user of the request when not given. Nobody else may rate it.
    from_file
        CSV file with many: response and rating, and any of user, notes, categories (a;b) and correction.
    """
    from flows.feedback_presentation import show_feedback, show_feedback_report
    from flows.feedback_recording import record_feedback
    from flows.running import run_flow

    if not from_file and (response is None or rating is None):
        raise BadInput("feedback needs a RESPONSE and a RATING, or --from FILE.csv")
    said = {"user": user, "notes": note, "categories": category or [], "correction": correction, "file": from_file}
    parameters = {"response": response, "rating": rating or "", **said}
    given = asyncio.run(run_flow(record_feedback, parameters, bare=bare))
    if from_file:
        return show_feedback_report(given, as_json=json)
    return show_feedback(given, as_json=json)


@feedback.command
def show(response: UUID | None = None, *, user: str = "", limit: AtLeastOne = 20, json: Json = False) -> int:
    """What was said of a response, by a user, or lately by all; the newest first.

    Parameters
    ----------
    response
        The request id that came with the answer.
    user
        Only what this user said.
    limit
        How much is listed.
    """
    from flows.feedback_presentation import show_all_feedback
    from tasks.ledger import read_feedback

    found = asyncio.run(read_feedback(response_id=response, user=user or None, limit=limit))
    return show_all_feedback(found, as_json=json)
