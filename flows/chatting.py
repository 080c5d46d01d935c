"""A conversation on a terminal, or line by line from a pipe."""

from __future__ import annotations

import asyncio
import getpass
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flows import answering
from flows.answering_presentation import Chatted, RefusedLine, show_turn
from flows.presentation import console, write_json
from flows.running import settings_for
from flows.spoken_lines import said_in, spoken_lines
from schemas.answering import ChatTurn
from schemas.errors import BadInput, HeadraceError
from tasks.answering.chatting import chat
from tasks.answering.conversations import load_conversation
from tasks.ledger.session import open_ledger

log = logging.getLogger("headrace")

PROMPT = "you> "


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
    refused: list[RefusedLine] = field(default_factory=list)

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

    A line of a pipe that cannot be said is named on standard error, and the others are answered.

    Returns:
        The exit code: 1 where a line of a pipe could not be said.

    Raises:
        HeadraceError: a turn from a pipe could not be answered; on a terminal it is said, and the next may be.
    """
    asyncio.run(_converse(session, bare=bare, as_json=as_json))
    status = "failed" if session.refused else "completed"
    if as_json:
        chatted = Chatted(
            status=status, conversation_id=session.conversation, turns=session.turns, refused=session.refused
        )
        write_json(chatted)
    return 1 if session.refused else 0


async def _converse(session: Session, *, bare: bool, as_json: bool) -> None:
    interactive = sys.stdin.isatty() and not as_json
    out = console()
    try:
        async with open_ledger(settings_for(bare)):
            number = 0
            async for line in spoken_lines(PROMPT if interactive else ""):
                number += 1
                try:
                    turn = await _turn(session, number, line, interactive=interactive)
                except HeadraceError as error:
                    if not interactive:
                        raise
                    out.print(f"headrace: {error}", soft_wrap=True, markup=False)
                    continue
                if turn is not None and not as_json:
                    show_turn(out, turn)
    finally:
        if session.conversation is not None:
            log.info("`headrace chat --conversation %s` goes on with it", session.conversation)


async def _turn(session: Session, number: int, line: bytes, *, interactive: bool) -> ChatTurn | None:
    """The turn that a line makes; none for one that cannot be said, which is noted, or is blank on a terminal."""
    if interactive and not line.strip():
        return None
    try:
        said = said_in(line)
    except BadInput as error:
        if interactive:
            raise BadInput(f"what was typed {error}") from None
        session.refused.append(RefusedLine(line=number, reason=f"line {number} {error}"))
        print(f"headrace: line {number} {error}", file=sys.stderr)
        return None
    return await session.say(said)
