"""Local models, each served over HTTP on loopback by a background process of its own.

The parent's half (`ModelServer`) and what both served modules say about themselves (`Announcement`).
"""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from blocks.embedded.file_lock import FileLock
from blocks.embedded.folders import read_json, write_json
from blocks.embedded.service import Service, command_line_names, python_module, spawn
from schemas.errors import ProviderUnavailable

LOOPBACK = "127.0.0.1"
HEALTH_SECONDS = 10.0


@dataclass(frozen=True)
class Announcement:
    """What a serving process says about itself: `address` stays None until it takes requests."""

    pid: int
    address: str | None = None
    context_window: int | None = None


def announce(path: Path, address: str | None = None, context_window: int | None = None) -> None:
    """`path` tells where this process serves."""
    write_json(path, asdict(Announcement(os.getpid(), address, context_window)))


def free_port(preferred: int) -> int:
    """`preferred` when nothing listens there, else 0, which lets the system choose.

    A server that comes back at its old address is found again by those who know that address.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, preferred))
        except OSError:
            return 0
    return preferred


class ModelServer(Service):
    """A module run as `python -m MODULE --announce FILE --port PORT ARGUMENTS…`."""

    unavailable = ProviderUnavailable

    def __init__(
        self, home: Path, name: str, *, title: str, module: str, arguments: Sequence[str], start_seconds: float
    ) -> None:
        super().__init__(home, name)
        self.title = title
        self.module = module
        self.arguments = tuple(arguments)
        self.start_seconds = start_seconds
        self._announced = self.run / f"{name}.json"

    @property
    def wanted(self) -> dict[str, object]:
        return {
            "title": self.title,
            "module": self.module,
            "arguments": list(self.arguments),
            "start_seconds": self.start_seconds,
        }

    def announcement(self) -> Announcement | None:
        """What the process said about itself, or None before it did."""
        found = read_json(self._announced)
        return Announcement(**found) if found else None

    def pid(self) -> int | None:
        found = self.announcement()
        # An announcement survives its process: its number and its port may be anybody's by now.
        return found.pid if found and command_line_names(found.pid, self._announced) else None

    def address(self) -> str | None:
        found = self.announcement()
        return found.address if found else None

    def answers(self) -> bool:
        address = self.address()
        return address is not None and self.pid() is not None and responds(address)

    def _launch(self, lock: FileLock) -> None:
        port = urlsplit(self.address() or "").port or 0
        self._announced.unlink(missing_ok=True)
        own = ["--announce", str(self._announced), "--port", str(port)]
        spawn(python_module(self.module, *own, *self.arguments), lock, self.log)

    def _forget(self) -> None:
        super()._forget()
        self._announced.unlink(missing_ok=True)


def responds(address: str) -> bool:
    """True when `GET /health` at `address` is answered with 200."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or LOOPBACK, parts.port, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
