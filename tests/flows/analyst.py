"""A model that analyses whatever bill it is shown: its answers depend on the request alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Prompt:
    """What a request says of a bill."""

    text: str
    sentences: dict[str, list[tuple[str, str]]]
    """Numbered sentences (`S1`, text) by the title of their section."""

    @classmethod
    def of(cls, request: Json) -> Prompt:
        """The bill and the task in the messages of `request`."""
        text = request["messages"][1]["content"]
        sentences: dict[str, list[tuple[str, str]]] = {}
        title = ""
        for line in text.partition("</bill>")[0].splitlines():
            if line.startswith("## "):
                title = line[3:]
            elif found := re.fullmatch(r"\[(S\d+)\] (.*)", line):
                sentences.setdefault(title, []).append((found[1], found[2]))
        return cls(text, sentences)

    @property
    def sections(self) -> list[tuple[str, str, str]]:
        """Title, number and text of the first sentence worth citing of each section."""
        worth = (
            (title, next((s for s in said if len(s[1].split()) >= 6), None)) for title, said in self.sentences.items()
        )
        return [(title, *sentence) for title, sentence in worth if sentence]

    @property
    def draft(self) -> int:
        """How many drafts were written before this request."""
        return max(map(int, re.findall(r"Draft (\d+)\.", self.text)), default=0)


def impact(section: str, *evidence: Json, **more: Any) -> Json:
    """An impact as the model gives it."""
    return {
        "section": section,
        "evidence": list(evidence),
        "affected": "tenants",
        "description": "They are protected.",
        "direction": "benefit",
        "causality": "The section says so.",
        "confidence": 80,
        "amounts": None,
        **more,
    }


def cite(number: str, quote: str | None = None) -> Json:
    """A citation as the model gives it."""
    return {"cite": number, "quote": quote}


def review(*, passed: bool, errors: tuple[str, ...] = (), score: int = 4) -> Json:
    """A review as the model gives it."""
    return {
        "factual_errors": list(errors),
        "missing_impacts": [],
        "critique": "Sound." if passed else "Not yet.",
        "rubric": dict.fromkeys(("accuracy", "completeness", "evidence", "clarity"), score),
        "passed": passed,
    }


def first_impacts(prompt: Prompt) -> list[Json]:
    """An impact for each of the first three sections, citing a sentence of each."""
    return [impact(title, cite(number)) for title, number, _ in prompt.sections[:3]]


@dataclass
class ScriptedAnalyst:
    """Answers every question of an analysis.

    Attributes:
        passes_at: number of the draft, from 1, from which on the review lets it pass.
        queries: what research asks.
        impacts: of a draft.
        review: of a draft; overrides `passes_at`.
    """

    passes_at: int = 1
    queries: list[str] = field(default_factory=lambda: ["rent limits for tenants", "relocation payments by landlords"])
    impacts: Callable[[Prompt], list[Json]] = first_impacts
    review: Callable[[Prompt], Json] | None = None

    def __call__(self, request: Json) -> Json:
        """The answer to one request, by the schema it asks for."""
        prompt = Prompt.of(request)
        match request["response_format"]["json_schema"]["name"]:
            case "SearchQueries":
                return {"queries": self.queries}
            case "DraftAnalysis":
                return {"impacts": self.impacts(prompt), "summary": f"Draft {prompt.draft + 1}. It protects tenants."}
            case "DraftReview":
                return self.review(prompt) if self.review else review(passed=prompt.draft >= self.passes_at)
            case "DraftSummary":
                return {"summary": f"Draft {prompt.draft}. The parts together."}
        raise AssertionError(f"nothing asks for {request['response_format']}")
