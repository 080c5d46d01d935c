"""The lines of standard input, as a conversation takes them."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator

from schemas.errors import BadInput
from tasks.answering.ask import LONGEST_QUESTION

READ_BYTES = 65536
MOST_BYTES = 4 * LONGEST_QUESTION
"""Of a line that may be short enough: a character has at most four. Blanks around it count here, and else do not."""


async def spoken_lines(prompt: str) -> AsyncIterator[bytes]:
    """The lines of standard input as they come, without their ends; of one that is too long, enough to see that.

    They are read by a thread that dies with the process: one that waits for a terminal cannot be stopped, and the
    event loop must go on renewing its lease while nobody types.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[bytes | None] = asyncio.Queue()

    def read() -> None:
        for line in split_lines(_pieces()):
            _hand_over(loop, arrived, line)
        _hand_over(loop, arrived, None)

    threading.Thread(target=read, name="standard-input", daemon=True).start()
    _ask(prompt)
    while (line := await arrived.get()) is not None:
        yield line
        _ask(prompt)
    if prompt:
        print()


def said_in(line: bytes) -> str:
    """What a line says.

    Raises:
        BadInput: nothing, or nothing that can be kept; the message goes on from the name of the line.
    """
    if len(line) > MOST_BYTES:
        raise BadInput(f"is too long; at most {LONGEST_QUESTION:,} characters can be said at once")
    try:
        said = line.decode().strip()
    except UnicodeDecodeError:
        raise BadInput("is not UTF-8") from None
    if not said:
        raise BadInput("is empty")
    if "\0" in said:
        raise BadInput("has a NUL in it")
    if len(said) > LONGEST_QUESTION:
        raise BadInput(f"has {len(said):,} characters; at most {LONGEST_QUESTION:,} can be said at once")
    return said


def split_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The lines that `pieces` make together, the last also without an end; each cut where it is surely too long."""
    rest = b""
    for piece in pieces:
        *ended, begun = piece.split(b"\n")
        for line in ended:
            yield (rest + line)[: MOST_BYTES + 1]
            rest = b""
        rest = (rest + begun)[: MOST_BYTES + 1]
    if rest:
        yield rest


def _ask(prompt: str) -> None:
    sys.stdout.write(prompt)
    sys.stdout.flush()


def _pieces() -> Iterator[bytes]:
    """What stands on standard input, piece by piece; nothing where there is none."""
    try:
        while piece := os.read(sys.stdin.fileno(), READ_BYTES):
            yield piece
    except OSError:
        return


def _hand_over(loop: asyncio.AbstractEventLoop, arrived: asyncio.Queue[bytes | None], line: bytes | None) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(arrived.put_nowait, line)
