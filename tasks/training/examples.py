"""What one call can teach: its prompt, the answer to follow, and the one that was given."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import UUID

import orjson

from blocks.providers.vocabularies import token_counter
from schemas.choices import Opinion
from tasks.training.reading import CallRead, parse

ROLES = frozenset({"system", "user", "assistant"})
_NO_WORD = re.compile(r"[\W_]+")
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
"""The Markdown fence that the gateway overlooks."""

Turn = dict[str, str]


class Redacts(Protocol):
    """Replaces what must not be handed on, and counts it."""

    def redact(self, text: str) -> str:
        """The text without it."""
        ...


@dataclass(slots=True)  # frozen, it would take three times as long to make
class Example:
    """A call that can become a training row.

    Attributes:
        prompt: the turns that were sent, each with `role` and `content`.
        answer: the correction, where there is one, else what was given.
        given: what the model answered.
        tokens: of prompt and answer; as the provider counted, else by `tokens_of`.
        asked: the prompt as it was sent, before redaction.
    """

    id: UUID
    prompt: list[Turn]
    answer: str
    given: str
    opinion: Opinion
    score: float | None
    tokens: int
    model: str
    structured: bool
    asked: list[Turn]

    @property
    def corrected(self) -> bool:
        """Whether somebody said what the answer should have been."""
        return self.answer != self.given


def example_of(call: CallRead) -> Example | str:
    """The call as an example, or why it can be none."""
    request, given = parse(call.request), parse(call.response).get("content")
    prompt: Any = request.get("messages")
    schema, correction = request.get("output_schema"), call.correction
    objection = _objection_to(prompt)
    if objection is not None:
        return objection
    if not isinstance(given, str):
        return "the answer is not text"
    answer = correction or given
    if call.finish_reason == "length" and not correction:
        return "the answer was cut off at the token limit"
    if not answer or answer.isspace():
        return "the answer is empty"
    if schema is not None and not _fits(answer, schema):
        return "the answer does not fit its schema"
    sent, got = call.input_tokens, call.output_tokens
    tokens = tokens_of(prompt, answer, call.model) if correction or sent is None or got is None else sent + got
    structured = schema is not None
    return Example(call.id, prompt, answer, given, call.opinion, call.score, tokens, call.model, structured, prompt)


def redacted(example: Example, redactor: Redacts) -> Example | str:
    """The example without personal data and secrets, or why it can be none that way."""
    prompt = [{**turn, "content": redactor.redact(turn["content"])} for turn in example.prompt]
    answer = redactor.redact(example.answer)
    given = redactor.redact(example.given) if example.corrected else answer
    if (prompt, answer, given) == (example.prompt, example.answer, example.given):
        return example
    if example.structured and not _is_json(answer):
        return "redaction would break the JSON of the answer"
    return replace(example, prompt=prompt, answer=answer, given=given, tokens=tokens_of(prompt, answer, example.model))


def tokens_of(prompt: Iterable[Turn], answer: str, model: str) -> int:
    """The tokens of a row's texts by the vocabulary of the model; where that is not here, the most they can have."""
    count = token_counter(model)
    return sum(count(turn["content"]) for turn in prompt) + count(answer)


def first_question(prompt: Iterable[Turn]) -> str:
    """The first turn of the user."""
    return next((turn["content"] for turn in prompt if turn["role"] == "user"), "")


def family_of(prompt: Iterable[Turn]) -> str:
    """The words of the first turn of the user, whatever their case and the signs between them."""
    first = first_question(prompt)
    return _NO_WORD.sub(" ", unicodedata.normalize("NFKC", first).casefold()).strip() or first


def _objection_to(prompt: Any) -> str | None:
    try:
        for turn in prompt:
            role, content = turn["role"], turn["content"]
            if role not in ROLES or not isinstance(content, str):
                return "the prompt is not text"
            if role == "assistant" and (not content or content.isspace()):
                return "a turn of the assistant is empty"
        return None if prompt[-1]["role"] == "user" else "the prompt does not end with the user"
    except (TypeError, LookupError):
        return "the prompt is not text"


def _fits(answer: str, schema: Any) -> bool:
    """Whether the answer is JSON with the members that the schema requires at the top."""
    if not _is_json(answer):
        return False
    required = schema.get("required", []) if isinstance(schema, dict) else []
    value = orjson.loads(_without_fence(answer))
    return not required or (isinstance(value, dict) and all(name in value for name in required))


def _is_json(text: str) -> bool:
    try:
        orjson.loads(_without_fence(text))
    except ValueError:
        return False
    return True


def _without_fence(text: str) -> str:
    fenced = _FENCED.fullmatch(text)
    return fenced[1] if fenced else text
