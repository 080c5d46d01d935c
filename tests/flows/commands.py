"""Commands as tests run them: started, waited for, killed; and what they said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @cached_property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be exactly one JSON object on a line of its own."""
        (line,) = self.out.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found

    @property
    def reason(self) -> str:
        """The last line of standard error."""
        return self.err.strip().splitlines()[-1]


class Command:
    """A `headrace` command that is running as a process."""

    def __init__(self, server: subprocess.Popen[bytes], folder: Path) -> None:
        self._server = server
        self._folder = folder
        assert server.stdout is not None
        self.pid = int(server.stdout.readline())

    def send(self, number: signal.Signals) -> None:
        """The process gets the signal."""
        os.kill(self.pid, number)

    def wait(self) -> Done:
        """It has ended; negative codes are signals."""
        assert self._server.stdout is not None
        code = int(self._server.stdout.readline())
        return Done(code, (self._folder / "stdout").read_text(), (self._folder / "stderr").read_text())

    def kill(self) -> Done:
        """It was killed without a chance to tidy up."""
        with suppress(ProcessLookupError):  # it may have ended by itself
            self.send(signal.SIGKILL)
        return self.wait()


class CommandServer:
    """Starts commands, one at a time; see `command_server`."""

    def __init__(self) -> None:
        program = [sys.executable, "-m", "tests.flows.command_server"]
        self._server = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT)

    def start(self, folder: Path, *arguments: str, stdin: bytes = b"", cwd: Path = PROJECT) -> Command:
        """`headrace ARGUMENTS` runs in the environment that this process has now; its output goes to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stdin").write_bytes(stdin)
        files = {name: str(folder / name) for name in ("stdin", "stdout", "stderr")}
        for name in ("stdout", "stderr"):
            (folder / name).write_bytes(b"")
        order = {"arguments": arguments, "environment": dict(os.environ), "folder": str(cwd), **files}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        self._server.stdin.flush()
        return Command(self._server, folder)

    def close(self) -> None:
        """The server has ended."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(30)
