"""The `headrace` command as a process of its own, without each of them importing Prefect anew.

`python -m tests.flows.command_server` imports everything once; for each line of JSON on its standard input
it forks, and the child is the command. It answers the child's process id, and its exit status when it has ended.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
from typing import Any

IMPORTED_ON_FIRST_USE = ("aiohttp", "jinja2", "psycopg", "rapidfuzz.fuzz")

MIGRATING = ("migrate", "resume")
"""Commands that may need what takes longest to import, so that it is there once one of them was asked for."""


def serve() -> None:
    """Forks one command after the other until standard input ends."""
    import flows.analysis
    import flows.comparison
    import flows.doctor
    import flows.maintenance
    import flows.presentation  # noqa: F401

    for name in IMPORTED_ON_FIRST_USE:
        importlib.import_module(name)
    logging.root.handlers.clear()  # Prefect's, which a command finds its own before
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        if order["arguments"][0] in MIGRATING:
            importlib.import_module("great_expectations")
        child = os.fork()
        if child == 0:
            answers.close()
            sys.exit(be_command(order))
        answers.write(f"{child}\n")
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")


def be_command(order: dict[str, Any]) -> int:
    """This process is `headrace ARGUMENTS` in the environment and with the files of the order."""
    from flows.command_line import run_command

    for place, (name, mode) in enumerate((("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))):
        opened = os.open(order[name], mode)
        os.dup2(opened, place)
        os.close(opened)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run_command(order["arguments"])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve()
