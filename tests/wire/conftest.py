"""What the tests of wire formats share: an environment that leads to one server and holds no other key."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.wire.server import WireServer

FOREIGN = ("ANTHROPIC_", "AWS_", "GEMINI_", "GOOGLE_", "OPENROUTER_", "AZURE_", "OLLAMA_", "OR_", "COHERE_", "JINA_")

LeadTo = Callable[[WireServer], None]


@pytest.fixture
def lead_to(monkeypatch: pytest.MonkeyPatch) -> LeadTo:
    """Sets the variables that lead calls to a server."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)

    def lead(server: WireServer) -> None:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)

    return lead
