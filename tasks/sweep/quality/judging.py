"""A model as judge of answers, two at a time and in both orders; off unless asked for.

One call compares two answers to one prompt, quoted behind a fence that neither can close. Each pair is asked twice,
the answers in either order; where the verdicts disagree the pair is a tie. An answer's score, *judge*, is the chance
that it is preferred to an average one, by Bradley and Terry's model over its pairs; it compares answers to one prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, Field

from schemas.calls import ChatParameters, Message
from schemas.errors import AnswerRejected, ContentRefused, ContextLengthExceeded
from tasks.ledger.calls import complete_structured
from tasks.ledger.fan_out import for_each
from tasks.ledger.fencing import fence_for, quote
from tasks.ledger.prompts import Prompt
from tasks.ledger.session import Ledger, open_ledger
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

    The answers stand in a circle, in an order drawn by `seed`, and each meets those that follow it. Where one more
    comes in, all others stay in their order, and most pairs with them. An odd number of opponents is raised to the next
    even one. Asking costs two calls a pair.
    """
    circle = sorted(names, key=lambda name: sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest())
    count, reach = len(circle), max(1, -(-opponents // 2))
    steps = range(1, min(reach, (count - 1) // 2) + 1)
    pairs = [(name, circle[(place + step) % count]) for step in steps for place, name in enumerate(circle)]
    if count % 2 == 0 and reach >= count // 2 > 0:  # the ones opposite, who meet once
        pairs += [(circle[place], circle[place + count // 2]) for place in range(count // 2)]
    return pairs


def count_pairs(count: int, opponents: int = OPPONENTS) -> int:
    """How many pairs `draw_pairs` draws of `count` answers."""
    reach = max(1, -(-opponents // 2))
    across = count // 2 if count % 2 == 0 and reach >= count // 2 > 0 else 0
    return max(0, count * min(reach, (count - 1) // 2)) + across


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
    async with open_ledger() as ledger:
        bench = await open_bench(ledger, model, project)

        async def compare(pair: tuple[str, str]) -> Comparison:
            first, second = await bench.compare(prompt, answers[pair[0]], answers[pair[1]])
            return Comparison(*pair, first.verdict, second.verdict)

        pairs = draw_pairs(list(answers), opponents=opponents, seed=seed)
        comparisons = await for_each(pairs, compare, at_once=at_once)
    scores = judge_scores(list(answers), comparisons)
    return Judged(judge_version(bench.model), scores, tuple(comparisons))


def judge_scores(names: Sequence[str], comparisons: Sequence[Comparison]) -> dict[str, float]:
    """The score of each answer; 0.5 for one that was not judged."""
    number = {name: place for place, name in enumerate(names)}
    games = [
        Game(number[each.first], number[each.second], POINTS[each.verdict]) for each in comparisons if each.is_judged
    ]
    return dict(zip(names, bradley_terry(len(names), games), strict=True))


@dataclass(frozen=True)
class Ruling:
    """What a judge said of two answers in one order.

    Attributes:
        verdict: None where it gave none.
        request_id: row of `llm_requests`; None where it was not asked, the answers being equal.
    """

    verdict: Verdict | None
    request_id: UUID | None


async def open_bench(ledger: Ledger, model: str | None = None, project: str | None = None) -> Bench:
    """A judge, by default the one configured; as long for its verdict as models of its kind need."""
    judge = model or ledger.settings.model_for("judge")
    reasons = (await ledger.providers.describe(judge)).reasoning
    return Bench(judge, project, judge_parameters(reasons=reasons))


def judge_parameters(*, reasons: bool) -> ChatParameters:
    """What a judge is called with; one that `reasons` first needs tokens for that."""
    most = VERDICT_TOKENS + (REASONING_TOKENS if reasons else 0)
    return ChatParameters(max_tokens=most, temperature=0.0)


@dataclass(frozen=True)
class Bench:
    """A judge who answers."""

    model: str
    project: str | None
    parameters: ChatParameters

    async def compare(self, prompt: str, one: str, other: str) -> tuple[Ruling, Ruling]:
        """The rulings with `one` shown first and with `other` shown first, both in terms of `one` as "first"."""
        asked, first, second = as_unicode(prompt), as_unicode(one), as_unicode(other)
        backward = await self._rule(asked, second, first)
        swapped = Ruling(SWAPPED[backward.verdict] if backward.verdict else None, backward.request_id)
        return await self._rule(asked, first, second), swapped

    async def _rule(self, prompt: str, first: str, second: str) -> Ruling:
        """The ruling in this order. Equal answers are a tie without asking."""
        if first == second:
            return Ruling("tie", None)
        try:
            done = await complete_structured(
                judge_messages(prompt, first, second),
                Judgement,
                model=self.model,
                role="judge",
                parameters=self.parameters,
                project=self.project,
                purpose=PURPOSE,
            )
        except (AnswerRejected, ContentRefused, ContextLengthExceeded):  # on record; of this pair nothing is known
            return Ruling(None, None)
        return Ruling(done.value.better, done.request_id)


def judge_messages(prompt: str, first: str, second: str) -> list[Message]:
    """Instructions in the system message alone; in the user's, behind a fence, what is judged."""
    fence = fence_for(prompt, (first, second))
    quoted = [quote("request", prompt, fence), quote("first", first, fence), quote("second", second, fence)]
    return [
        Message(role="system", content=INSTRUCTIONS.render(fence=fence)),
        Message(role="user", content="\n".join(quoted)),
    ]
