"""What was asked and what was answered, in memory and as JSON lines for other processes."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True)
class ServedRequest:
    """One request as this provider saw it.

    Attributes:
        number: order of arrival, from 1.
        sha256: of the body as canonical JSON (sorted keys); equal requests share it.
        paid: an answer was made in full and would be billed, whether or not it arrived.
        fault: kind of the fault it met, if any.
        started_at / finished_at: seconds since the epoch.
        body: the parsed request; not in the file.
    """

    number: int
    path: str
    sha256: str
    status: int
    paid: bool
    fault: str | None
    model: str | None
    input_tokens: int
    output_tokens: int
    started_at: float
    finished_at: float
    body: Any = None


def body_sha256(body: Any) -> str:
    """SHA-256 of `body` as JSON with sorted keys."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


class RequestLog:
    """The served requests in the order they ended; each line reaches the file before its answer is sent."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._served: list[ServedRequest] = []

    def append(self, served: ServedRequest) -> None:
        """`served` is in the log, and in the file where there is one."""
        with self._lock:
            self._served.append(served)
            if self._path is not None:
                row = {name: value for name, value in asdict(served).items() if name != "body"}
                with self._path.open("ab") as file:
                    file.write(orjson.dumps(row) + b"\n")

    def snapshot(self) -> list[ServedRequest]:
        """The log so far."""
        with self._lock:
            return list(self._served)


def read_log(path: Path) -> list[ServedRequest]:
    """The log that a provider, perhaps in another process, has written to `path`."""
    if not path.exists():
        return []
    return [ServedRequest(**orjson.loads(line)) for line in path.read_bytes().splitlines()]
