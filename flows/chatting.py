"""A conversation on a terminal, or line by line from a pipe."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from flows import answering
from flows.answering_presentation import Chatted, show_turn
from flows.presentation import console, write_json
from flows.running import settings_for
from schemas.answering import ChatTurn
from schemas.errors import HeadraceError
from tasks.answering.chatting import chat
from tasks.answering.conversations import load_conversation
from tasks.ledger.session import open_ledger

log = logging.getLogger("headrace")

PROMPT = "you> "
READ_BYTES = 65536


@dataclass
class Session:
    """A conversation of one command; an operator, who names no `user`, may read every course."""

    user: str = ""
    conversation: str | None = None
    page: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    courses: Sequence[str] = ()
    history: int = 20
    begin_anew: bool = False
    model: str | None = None
    project: str | None = None
    turns: list[ChatTurn] = field(default_factory=list)

    async def say(self, text: str) -> ChatTurn:
        """One turn; those after it are in the same conversation."""
        turn = await chat(
            text,
            user=self.user or await self._owner(),
            conversation=self.conversation,
            page=self.page,
            facts=self.facts,
            courses=self.courses,
            search=answering.retrieval() if self.courses or self.conversation else None,
            reader=self.user or None,
            history=self.history,
            begin_anew=self.begin_anew,
            model=self.model,
            project=self.project,
        )
        self.conversation = turn.conversation_id
        self.turns.append(turn)
        return turn

    async def _owner(self) -> str:
        """Who has the conversation that goes on; else who is logged in here."""
        if self.conversation is not None:
            return (await load_conversation(self.conversation)).user_id
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a container's user may have no name
            return "local"


def hold_conversation(session: Session, *, bare: bool, as_json: bool) -> int:
    """What is said on standard input is answered until it ends; Ctrl-C ends it too, and nothing that was said is lost.

    Raises:
        HeadraceError: a turn from a pipe could not be answered; on a terminal it is said, and the next may be.
    """
    asyncio.run(_converse(session, bare=bare, as_json=as_json))
    if as_json:
        write_json(Chatted(conversation_id=session.conversation, turns=session.turns))
    return 0


async def _converse(session: Session, *, bare: bool, as_json: bool) -> None:
    interactive = sys.stdin.isatty() and not as_json
    out = console()
    try:
        async with open_ledger(settings_for(bare)):
            async for text in _lines(PROMPT if interactive else ""):
                try:
                    turn = await session.say(text)
                except HeadraceError as error:
                    if not interactive:
                        raise
                    out.print(f"headrace: {error}", soft_wrap=True, markup=False)
                    continue
                if not as_json:
                    show_turn(out, turn)
    finally:
        if session.conversation is not None:
            log.info("`headrace chat --conversation %s` goes on with it", session.conversation)


async def _lines(prompt: str) -> AsyncIterator[str]:
    """The lines of standard input that say something, as they come.

    They are read by a thread that dies with the process: one that waits for a terminal cannot be stopped, and the
    event loop must go on renewing its lease while nobody types.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        rest = b""
        while piece := _read_piece(sys.stdin.fileno()):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                _hand_over(loop, arrived, line.decode("utf-8", "replace"))
        _hand_over(loop, arrived, rest.decode("utf-8", "replace"))
        _hand_over(loop, arrived, None)

    threading.Thread(target=read, name="standard-input", daemon=True).start()
    _ask(prompt)
    while (line := await arrived.get()) is not None:
        if line.strip():
            yield line
        _ask(prompt)
    if prompt:
        print()


def _ask(prompt: str) -> None:
    sys.stdout.write(prompt)
    sys.stdout.flush()


def _read_piece(descriptor: int) -> bytes:
    """What stands on standard input next; nothing at its end, or where there is none."""
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError:
        return b""


def _hand_over(loop: asyncio.AbstractEventLoop, arrived: asyncio.Queue[str | None], line: str | None) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(arrived.put_nowait, line)
