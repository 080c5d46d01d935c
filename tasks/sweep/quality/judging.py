"""A model as judge of answers, two at a time and in both orders; off unless asked for.

One call compares two answers to one prompt, quoted behind a fence that neither can close. Each pair is asked twice,
the answers in either order; where the verdicts disagree the pair is a tie. An answer's score, *judge*, is the chance
that it is preferred to an average one, by Bradley and Terry's model over its pairs; it compares answers to one prompt.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field

from schemas.calls import ChatParameters, Message
from schemas.errors import AnswerRejected, ContentRefused, ContextLengthExceeded
from tasks.ledger.calls import complete_structured
from tasks.ledger.fan_out import for_each
from tasks.ledger.fencing import fence_for, quote
from tasks.ledger.prompts import Prompt
from tasks.ledger.session import open_ledger
from tasks.sweep.quality.agreement import SWAPPED, Comparison, SwapAgreement, Verdict, swap_agreement
from tasks.sweep.quality.bradley_terry import Game, bradley_terry
from tasks.sweep.quality.texts import as_unicode

JUDGE = "judge"
"""The metric's name."""
JUDGE_VERSION = "judge-1"
"""Raised when the prompt or the model of strengths changes."""
INSTRUCTIONS = Prompt(Path(__file__).parents[1] / "prompts" / "judge.md")
OPPONENTS = 4
VERDICT_TOKENS = 300
REASONING_TOKENS = 8000
PURPOSE = "judging"
POINTS: Mapping[Verdict, float] = {"first": 1.0, "second": 0.0, "tie": 0.5}


class Judgement(BaseModel):
    """What the judge is asked for; the reason first, so that the verdict follows from it."""

    reason: str = Field(max_length=1000)
    better: Verdict


@dataclass(frozen=True)
class Judged:
    """What a judge says of the answers to one prompt.

    Attributes:
        version: the `analysis_version` of the scores.
        scores: by the answer's name, 0 to 1.
        comparisons: every pair, from which `swap_agreement` is told, over several prompts together too.
    """

    version: str
    scores: Mapping[str, float]
    comparisons: tuple[Comparison, ...]

    @property
    def agreement(self) -> SwapAgreement:
        """Of the judge with itself when the answers change places."""
        return swap_agreement(self.comparisons)


def judge_version(model: str) -> str:
    """The `analysis_version` of scores by `model`."""
    return f"{JUDGE_VERSION}+{model}"


def draw_pairs(names: Sequence[str], *, opponents: int = OPPONENTS, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs in which every answer meets `opponents` others, or all if there are no more; any two are linked by pairs.

    The answers stand in a circle, in an order drawn by `seed`, and each meets those that follow it. An odd number of
    opponents is raised to the next even one. Asking costs two calls a pair.
    """
    circle = sorted(names)
    random.Random(seed).shuffle(circle)
    count, reach = len(circle), max(1, -(-opponents // 2))
    steps = range(1, min(reach, (count - 1) // 2) + 1)
    pairs = [(name, circle[(place + step) % count]) for step in steps for place, name in enumerate(circle)]
    if count % 2 == 0 and reach >= count // 2 > 0:  # the ones opposite, who meet once
        pairs += [(circle[place], circle[place + count // 2]) for place in range(count // 2)]
    return pairs


async def judge_answers(
    prompt: str,
    answers: Mapping[str, str],
    *,
    opponents: int = OPPONENTS,
    seed: int = 0,
    model: str | None = None,
    project: str | None = None,
    at_once: int = 8,
) -> Judged:
    """The score of each of `answers` (by name) to `prompt`, from pairwise comparisons in both orders.

    Calls are on record and replayed: the same answers again cost nothing.

    Args:
        opponents: how many others each answer is compared with, about; see `draw_pairs`.
        seed: of the draw of pairs.
        model: LiteLLM name; by default HEADRACE_JUDGE_MODEL, else the chat model.

    Raises:
        BudgetExceeded, ConfigurationError, RetriesExhausted, BadInput: as `complete`. What is judged by then is on
            record and is not paid again.
    """
    named = {name: as_unicode(answer) for name, answer in answers.items()}
    async with open_ledger() as ledger:
        judge = model or ledger.settings.model_for("judge")
        reasons = (await ledger.providers.describe(judge)).reasoning
        most = VERDICT_TOKENS + (REASONING_TOKENS if reasons else 0)
        bench = _Bench(as_unicode(prompt), judge, project, ChatParameters(max_tokens=most, temperature=0.0))

        async def compare(pair: tuple[str, str]) -> Comparison:
            first, second = named[pair[0]], named[pair[1]]
            backward = await bench.better(second, first)
            return Comparison(*pair, await bench.better(first, second), SWAPPED[backward] if backward else None)

        pairs = draw_pairs(list(named), opponents=opponents, seed=seed)
        comparisons = await for_each(pairs, compare, at_once=at_once)
    return Judged(judge_version(judge), judge_scores(list(named), comparisons), tuple(comparisons))


def judge_scores(names: Sequence[str], comparisons: Sequence[Comparison]) -> dict[str, float]:
    """The score of each answer; 0.5 for one that was not judged."""
    number = {name: place for place, name in enumerate(names)}
    games = [
        Game(number[each.first], number[each.second], POINTS[each.verdict]) for each in comparisons if each.is_judged
    ]
    return dict(zip(names, bradley_terry(len(names), games), strict=True))


@dataclass(frozen=True)
class _Bench:
    """A judge with a prompt before it."""

    prompt: str
    model: str
    project: str | None
    parameters: ChatParameters

    async def better(self, first: str, second: str) -> Verdict | None:
        """The verdict in this order; None where the judge gives none. Equal answers are a tie without asking."""
        if first == second:
            return "tie"
        try:
            done = await complete_structured(
                judge_messages(self.prompt, first, second),
                Judgement,
                model=self.model,
                role="judge",
                parameters=self.parameters,
                project=self.project,
                purpose=PURPOSE,
            )
        except (AnswerRejected, ContentRefused, ContextLengthExceeded):  # on record; of this pair nothing is known
            return None
        return done.value.better


def judge_messages(prompt: str, first: str, second: str) -> list[Message]:
    """Instructions in the system message alone; in the user's, behind a fence, what is judged."""
    fence = fence_for(prompt, (first, second))
    quoted = [quote("request", prompt, fence), quote("first", first, fence), quote("second", second, fence)]
    return [
        Message(role="system", content=INSTRUCTIONS.render(fence=fence)),
        Message(role="user", content="\n".join(quoted)),
    ]
