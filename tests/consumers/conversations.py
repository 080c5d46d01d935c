"""Real conversations, asked and answered again through the ledger, with what people thought of the answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.calls import Message
from schemas.choices import Rating
from tasks.ledger import complete, give_feedback, open_ledger
from tests.scripted_provider import Reply

MODELS = ("gpt-4o-mini", "gpt-4o")
AT_ONCE = 16
Turns = list[dict[str, str]]


@dataclass(frozen=True)
class Answered:
    """A prompt with an answer; the second answer to a prompt is another model's."""

    prompt: Turns
    answer: str
    rating: Rating | None = None
    second: bool = False

    @property
    def model(self) -> str:
        """Who gives it."""
        return MODELS[self.second]


def read_answers(folder: Path) -> list[Answered]:
    """Every answer in the files, once for each prompt and model."""
    found = {}
    for answered in (*_ranked(folder), *_compared(folder), *_threads(folder)):
        found.setdefault((json.dumps(answered.prompt), answered.model), answered)
    return list(found.values())


def responder(answers: list[Answered]) -> Any:
    """The provider that gives them."""
    known = {(json.dumps(each.prompt), each.model): each.answer for each in answers}

    def respond(request: dict[str, Any]) -> Reply:
        prompt = [{"role": turn["role"], "content": turn["content"]} for turn in request["messages"]]
        answer = known.get((json.dumps(prompt), request["model"]))
        return Reply(answer) if answer is not None else Reply(status=400)

    return respond


async def ask_all(answers: list[Answered]) -> None:
    """Each was asked for through the ledger, and rated by who asked."""
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(answered: Answered, user: str) -> None:
        async with places:
            prompt = [Message.model_validate(turn) for turn in answered.prompt]
            made = await complete(prompt, model=answered.model, user=user)
            if answered.rating is not None:
                await give_feedback(made.request_id, answered.rating, user=user)

    async with open_ledger(), asyncio.TaskGroup() as group:
        for number, answered in enumerate(answers):  # of many users: each may ask so much a minute
            group.create_task(ask(answered, f"user-{number}"))


def _rows(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _ranked(folder: Path) -> Iterator[Answered]:
    for row in _rows(folder / "oasst2_human_ranked_pairs.jsonl"):
        yield Answered(_turns(row["prompt"]), row["chosen"], "positive")
        yield Answered(_turns(row["prompt"]), row["rejected"], "negative", second=True)


def _compared(folder: Path) -> Iterator[Answered]:
    ratings: dict[int, tuple[Rating, Rating]] = {
        0: ("neutral", "neutral"),
        1: ("positive", "negative"),
        2: ("negative", "positive"),
    }
    for row in _rows(folder / "pandalm_human_comparisons.jsonl"):
        verdict, _ = Counter(row[f"annotator{number}"] for number in (1, 2, 3)).most_common(1)[0]
        prompt = [{"role": "user", "content": f"{row['instruction']}\n\n{row['input']}"}]
        for second, text in enumerate((row["response1"], row["response2"])):
            if text.strip():
                yield Answered(prompt, text, ratings[verdict][second], second=bool(second))


def _threads(folder: Path) -> Iterator[Answered]:
    for row in _rows(folder / "oasst2_threads.jsonl"):
        turns = _turns(row["messages"])
        for place, turn in enumerate(turns):
            if turn["role"] == "assistant" and turns[place - 1]["role"] == "user":
                yield Answered(turns[:place], turn["content"])


def _turns(said: list[dict[str, Any]]) -> Turns:
    return [{"role": turn["role"], "content": turn["content"]} for turn in said]
