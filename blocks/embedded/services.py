"""Which services a HOME has, and how each is made."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

import psutil

from blocks.embedded.folders import read_json
from blocks.embedded.model_server import ModelServer
from blocks.embedded.postgres import PostgresService
from blocks.embedded.service import Service
from blocks.embedded.weights import Weights

CHAT_START_SECONDS = 300.0
EMBEDDING_START_SECONDS = 90.0


def chat_service(home: Path, weights: Weights, context: int) -> ModelServer:
    """The chat server for these weights; others run beside it under another name."""
    distinct = hashlib.sha256(f"{weights.path}\n{weights.identity}\n{context}".encode()).hexdigest()[:8]
    return ModelServer(
        home,
        f"chat-{distinct}",
        title=f"the chat model {weights.model}",
        module="blocks.embedded.chat_server",
        arguments=["--weights", str(weights.path), "--model", weights.model, "--context", str(context)],
        start_seconds=CHAT_START_SECONDS,
    )


def embedding_service(home: Path) -> ModelServer:
    """The embedding server."""
    return ModelServer(
        home,
        "embedding",
        title="the embedding model",
        module="blocks.embedded.embedding_server",
        arguments=[],
        start_seconds=EMBEDDING_START_SECONDS,
    )


def wanted_services(home: Path) -> list[Service]:
    """The services that were started in HOME and not stopped since, whether or not they are alive."""
    found: list[Service] = []
    for path in sorted((home / "run").glob("*.wanted.json")):
        name = path.name.removesuffix(".wanted.json")
        wanted = read_json(path)
        if wanted is None:
            continue
        found.append(PostgresService(home) if name == "postgres" else ModelServer(home, name, **wanted))
    return found


def stop_services(home: Path) -> None:
    """Nothing that was started in HOME runs any more; Postgres goes last.

    Raises:
        TransientError: something outlived every signal.
    """
    for service in sorted(wanted_services(home), key=lambda service: service.name == "postgres"):
        service.stop()


def processes_of(home: Path) -> list[tuple[psutil.Process, signal.Signals]]:
    """The services that run in HOME, found by their command lines, each with the signal that ends it at once.

    For a HOME that no longer exists; while it does, its locks and notes know better.
    """
    found = []
    for process in psutil.process_iter(["cmdline"]):
        arguments: list[str] = process.info["cmdline"] or []
        if str(home / "postgres" / "data") in arguments and arguments[0].endswith("/postgres"):
            found.append((process, signal.SIGQUIT))
        elif "--announce" in arguments and any(part.startswith(f"{home / 'run'}/") for part in arguments):
            found.append((process, signal.SIGTERM))
    return found
