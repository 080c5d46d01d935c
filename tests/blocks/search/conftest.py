"""A search server and the engines that ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from blocks.providers.registry import Providers
from blocks.search.catalogue import ENGINES
from blocks.search.engines import SearchEngines
from schemas.settings import Settings
from tests.scripted_search import ScriptedSearch


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedSearch]:
    """A scripted server, with the environment that leads to it and to nowhere else."""
    monkeypatch.chdir(tmp_path)
    for engine in ENGINES.values():
        for name in (engine.key, engine.address):
            monkeypatch.delenv(name, raising=False)
    with ScriptedSearch() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
async def engines(server: ScriptedSearch) -> AsyncIterator[SearchEngines]:
    """The engines as a ledger has them."""
    async with Providers(Settings(_env_file=None), None) as providers:
        yield providers.web
        await asyncio.sleep(0)
