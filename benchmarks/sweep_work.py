"""The sweep that every contestant makes: the same prompts with the same parameters, and answers of a usual length."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

MODEL = "gpt-4o-mini"
MAX_TOKENS = 400
TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0)
TOP_PS = (0.2, 0.4, 0.6, 0.8, 1.0)
SETTINGS = len(TEMPERATURES) * len(TOP_PS)
ANSWER_WORDS = 150
SAID = """the water of a lock rises slowly because gates hold it back while boats wait inside and keepers open valves
for example each chamber needs as much as a small reservoir however pumps return most of it at night"""


class SweepTrial(BaseModel):
    """One contestant's turn.

    Attributes:
        label: makes the prompts of this turn its own.
        calls: a multiple of `SETTINGS`.
        reported: a report is written in all formats, its imports included in what that takes.
    """

    model_config = ConfigDict(frozen=True)

    contestant: str
    label: str
    calls: int
    at_once: int
    reported: bool = False
    home: str
    provider_url: str
    ledger_database: str

    def prompts(self) -> list[str]:
        """What is asked with every setting."""
        return [f"{self.label} {number}: how does a lock lift a boat?" for number in range(self.calls // SETTINGS)]

    def bodies(self) -> Iterator[dict[str, Any]]:
        """Every request of the turn."""
        for prompt in self.prompts():
            for temperature in TEMPERATURES:
                for top_p in TOP_PS:
                    yield {
                        "model": MODEL,
                        "messages": [{"role": "user", "content": prompt}],
                        "max_tokens": MAX_TOKENS,
                        "temperature": temperature,
                        "top_p": top_p,
                    }

    def spec(self) -> dict[str, Any]:
        """The turn as a spec of Headrace's."""
        ranges = {"temperature": list(TEMPERATURES), "top_p": list(TOP_PS), "max_tokens": [MAX_TOKENS]}
        return {"name": self.label, "prompts": self.prompts(), "models": [MODEL], "parameter_ranges": ranges}


class SweepMeasurement(BaseModel):
    """One turn.

    Attributes:
        seconds: wall time of all calls, after imports.
        process_seconds: of the whole process.
        cpu_milliseconds: processor time of one call, after imports; of a whole process where that cannot be told apart.
        imported_mib, peak_mib: resident memory before the calls, and the largest.
        more_seconds: what is not asking, scoring and storing, by name.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float
    process_seconds: float | None = None
    cpu_milliseconds: float
    imported_mib: float | None = None
    peak_mib: float | None = None
    more_seconds: dict[str, float] = {}


def answer(request: dict[str, Any]) -> str:
    """About `ANSWER_WORDS` words, which differ from request to request; the same for the same request."""
    drawn = random.Random(sha256(orjson.dumps(request)).digest())
    words, sentences, left = SAID.split(), list[str](), ANSWER_WORDS
    while left > 0:
        length = min(left, drawn.randint(6, 18))
        sentences.append(" ".join(drawn.choices(words, k=length)).capitalize() + ".")
        left -= length
    return " ".join(sentences)
