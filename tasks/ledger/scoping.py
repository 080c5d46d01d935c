"""What a caller says of a call, on top of the run in progress, and whether its texts can be sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from schemas.canonical import require_storable
from schemas.errors import BadInput
from tasks.ledger.scope import CallScope, current_scope
from tasks.ledger.session import Ledger


def scope_of(
    ledger: Ledger,
    project: str | None,
    user: str | None,
    purpose: str | None,
    repetition: int,
    context: dict[str, Any] | None,
    max_age: timedelta | None = None,
    insight_type: str | None = None,
) -> CallScope:
    """The scope of the run in progress, or of none, with what the caller says on top."""
    for name, text in (("project", project), ("user", user), ("purpose", purpose)):
        require_storable(text, name)
    scope = current_scope.get() or CallScope(project=ledger.settings.project)
    purpose = purpose or scope.purpose
    longest = max_age if max_age is not None else scope.max_age
    return replace(
        scope,
        project=project or scope.project,
        user=user or scope.user,
        purpose=purpose,
        context=context or scope.context,
        repetition=repetition,
        max_age=longest if longest is not None else ledger.settings.answer_ttl(purpose),
        insight_type=insight_type or scope.insight_type,
    )


def require_unicode(texts: Iterable[str]) -> None:
    """Every text can be sent; a lone surrogate, half of a character, cannot.

    Raises:
        BadInput: one of them holds one.
    """
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadInput(
                f"the text to send has half a character (a lone surrogate) at {error.start}", place=error.start
            ) from None
