"""The scripted provider as a process: prints its base URL, serves until it is ended."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
from pathlib import Path

import orjson

from tests.scripted_provider.server import Responder, ScriptedProvider


def main() -> None:
    """Reads the command line and serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.scripted_provider", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--faults", default="{}", help='JSON, e.g. {"429": 0.3, "hang": 0.05}')
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--api-key")
    parser.add_argument("--models", help="comma-separated; others are unknown")
    parser.add_argument("--context-window", type=int)
    parser.add_argument("--log", type=Path, help="file for one JSON line per request")
    parser.add_argument("--respond", help="module:function, from the parsed request to the answer")
    given = parser.parse_args()
    provider = ScriptedProvider(
        _responder(given.respond),
        faults=orjson.loads(given.faults),
        seed=given.seed,
        latency_ms=given.latency_ms,
        api_key=given.api_key,
        models=given.models.split(",") if given.models else None,
        context_window=given.context_window,
        log_path=given.log,
        keep_bodies=False,
        port=given.port,
    )
    asyncio.run(_serve(provider))


def _responder(name: str | None) -> Responder | None:
    if name is None:
        return None
    module, _, function = name.partition(":")
    found: Responder = getattr(importlib.import_module(module), function)
    return found


async def _serve(provider: ScriptedProvider) -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with provider:
        print(provider.url, flush=True)
        await ended.wait()


if __name__ == "__main__":
    main()
