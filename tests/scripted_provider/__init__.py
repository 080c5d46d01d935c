"""A scripted OpenAI-compatible HTTP server: real HTTP, answers and faults on demand.

In a test of asynchronous code, on the loop of the test::

    async with ScriptedProvider(respond=lambda request: "yes") as provider:
        ...  # OPENAI_BASE_URL = provider.url

In a synchronous test, or for subprocesses, in a thread of its own::

    with ScriptedProvider(faults={"429": 0.3, "500": 0.1}, seed=7) as provider:
        ...

As a process of its own, which prints its address::

    python -m tests.scripted_provider --port 0 --latency-ms 100
"""

from __future__ import annotations

from tests.scripted_provider.faults import Fault
from tests.scripted_provider.log import ServedRequest
from tests.scripted_provider.replies import Reply
from tests.scripted_provider.server import ScriptedProvider

__all__ = ["Fault", "Reply", "ScriptedProvider", "ServedRequest"]
