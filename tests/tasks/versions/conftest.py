"""What tests of versions share: a look at the rows, and calls and ratings at moments of the test's choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, Row, text

from tests.scripted_provider import Reply, ScriptedProvider

Look = Callable[..., list[Row[Any]]]


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker of this folder."""
    config.addinivalue_line("markers", "scripted(replies): texts that the model answers, one after the other")


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> Iterator[ScriptedProvider]:
    """A scripted provider that answers as the test's marker `scripted` wants it."""
    marker = request.node.get_closest_marker("scripted")
    replies = iter(marker.kwargs["replies"]) if marker else None
    with ScriptedProvider(None if replies is None else lambda _: Reply(next(replies))) as server:
        yield server


@pytest.fixture
def look(database: Engine) -> Look:
    """Runs SQL on a connection of its own, so that it sees only what is durable; returns the rows."""

    def run(sql: str, **values: Any) -> list[Row[Any]]:
        with database.begin() as connection:
            result = connection.execute(text(sql), values)
            return list(result.all()) if result.returns_rows else []

    return run
