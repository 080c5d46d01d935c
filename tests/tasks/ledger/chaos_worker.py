"""One process of the chaos test: its share of the questions, asked as a run that another process can go on with."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID

from pydantic import BaseModel

from schemas.calls import ChatParameters
from schemas.errors import BudgetExceeded
from tasks.ledger import retries
from tasks.ledger.calls import complete
from tasks.ledger.runs import RunRequest, open_run, resuming
from tasks.ledger.steps import step
from tests.tasks.ledger.worker_process import MODEL, say

SHARES = 8
OWN, IN_COMMON = 190, 60
COMMON = 120
"""Questions that several shares ask, and some of them twice."""
THRIFTY = 10
"""Further questions of each share, under a budget that has no room for all of them."""
PARALLEL = 16
PARAMETERS = ChatParameters(max_tokens=100)


def questions_of(share: int, seed: int) -> list[str]:
    """The questions of a share, in its order."""
    chance = random.Random(f"{seed}:{share}")
    own = [f"Share {share} asks {number}?" for number in range(OWN)]
    common = [f"Everybody asks {chance.randrange(COMMON)}?" for _ in range(IN_COMMON)]
    thrifty = [f"Share {share} asks thriftily {number}?" for number in range(THRIFTY)]
    return chance.sample([*own, *common, *thrifty], OWN + IN_COMMON + THRIFTY)


class Noted(BaseModel):
    """What came of a question; no answer where the budget had no room."""

    prompt: str
    answer: str | None


@step("ask", version="1")
async def ask(place: int, prompt: str) -> Noted:
    """The answer to the question at this place of the share."""
    project = "thrifty" if "thriftily" in prompt else None
    try:
        answer = await complete(prompt, model=MODEL, parameters=PARAMETERS, project=project)
    except BudgetExceeded:
        return Noted(prompt=prompt, answer=None)
    return Noted(prompt=prompt, answer=answer.text)


async def answer_share(share: int, seed: int, resume: str | None = None) -> None:
    """Asks all of the share, `PARALLEL` at once, in a run of its own or in one that goes on; says when it is done."""
    retries.FIRST_PAUSE_SECONDS = 0.01
    resuming.set(UUID(resume) if resume else None)
    places = iter(enumerate(questions_of(share, seed)))

    async def work() -> None:
        for place, prompt in places:
            await ask(place, prompt)

    request = RunRequest(flow="chaos", subject=f"share {share}", project="default", parameters={})
    async with open_run(request) as run:
        say({"run": str(run.id)})
        async with asyncio.TaskGroup() as tasks:
            for _ in range(PARALLEL):
                tasks.create_task(work())
    say({"done": share})
