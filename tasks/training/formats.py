"""Training rows in the formats of those who read them, and what these demand of a row.

OpenAI: `openai_rules`.
TRL: https://huggingface.co/docs/trl/dataset_formats; conversational prompt-completion, preference and unpaired
preference. ShareGPT: turns named `system`, `human` and `gpt`, the latter two by turns; it has no way to say that an
answer is only read. Parquet has `weights`, one of each message: 1 of the answer of the row, 0 of all before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from schemas.choices import ExportFormat
from schemas.training import ExportOptions, Record
from tasks.training.examples import ROLES, Example, Turn, tokens_of
from tasks.training.openai_rules import fault_in_chat, fault_in_pair

SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}


class Row(NamedTuple):
    """One row, before it has a place in a file.

    Attributes:
        ids: requests that it was made of.
    """

    record: Record
    ids: tuple[UUID, ...]
    tokens: int
    prompt: list[Turn]
    answers: tuple[str, ...]


def answered(text: str) -> list[Turn]:
    """The turn of a model that says `text`."""
    return [{"role": "assistant", "content": text}]


def rows_of(example: Example, options: ExportOptions) -> Sequence[Row] | str:
    """The rows that one example makes in a format that does not pair answers, or why it makes none."""
    if options.format == "trl-kto":
        return _judged(example)
    ill = example.opinion == "negative" and not example.corrected
    if ill and options.format != "parquet" and not options.opinions:
        return "the answer is thought ill of"
    record = _SINGLE[options.format](example)
    return (Row(record, (example.id,), example.tokens, example.prompt, (example.answer,)),)


def pair(example: Example, chosen: str, rejected: str, ids: tuple[UUID, ...], options: ExportOptions) -> Row:
    """The row of two answers to one prompt."""
    if options.format == "openai-dpo":
        record: Record = {
            "input": {"messages": example.prompt, "tools": [], "parallel_tool_calls": True},
            "preferred_output": answered(chosen),
            "non_preferred_output": answered(rejected),
        }
    else:
        record = {"prompt": example.prompt, "chosen": answered(chosen), "rejected": answered(rejected)}
    said = tokens_of(example.prompt, "", example.model)
    tokens = said + max(tokens_of((), answer, example.model) for answer in (chosen, rejected))
    return Row(record, ids, tokens, example.prompt, (chosen, rejected))


def _judged(example: Example) -> Sequence[Row] | str:
    judged = {"positive": [(example.given, True)], "negative": [(example.given, False)]}.get(example.opinion, [])
    if example.corrected:
        judged = [(example.answer, True), (example.given, False)]
    judged = [(text, label) for text, label in judged if text.strip()]
    if not judged:
        return "nobody thought well or ill of the answer"
    return [
        Row(
            {"prompt": example.prompt, "completion": answered(text), "label": label},
            (example.id,),
            example.tokens if text == example.answer else tokens_of(example.prompt, text, example.model),
            example.prompt,
            (text,),
        )
        for text, label in judged
    ]


def _openai(example: Example) -> Record:
    """An answer that was given before is not learned, whatever was thought of it."""
    turns: list[Record] = [{**turn, "weight": 0} if turn["role"] == "assistant" else turn for turn in example.prompt]
    turns.append({"role": "assistant", "content": example.answer})
    return {"messages": turns}


def _trl(example: Example) -> Record:
    return {"prompt": example.prompt, "completion": answered(example.answer)}


def _sharegpt(example: Example) -> Record:
    turns = [{"from": SPEAKERS[turn["role"]], "value": turn["content"]} for turn in example.prompt]
    return {"conversations": [*turns, {"from": "gpt", "value": example.answer}]}


def _columns(example: Example) -> Record:
    return {
        "id": str(example.id),
        "messages": [*example.prompt, *answered(example.answer)],
        "weights": [*(0 for _ in example.prompt), 1],
        "prompt": example.prompt,
        "completion": example.answer,
        "original": example.given,
        "corrected": example.corrected,
        "opinion": example.opinion,
        "model": example.model,
        "score": example.score,
        "tokens": example.tokens,
    }


_SINGLE: dict[ExportFormat, Callable[[Example], Record]] = {
    "openai-sft": _openai,
    "trl-sft": _trl,
    "sharegpt": _sharegpt,
    "parquet": _columns,
}


def fault_in(record: Record, chosen_format: ExportFormat) -> str | None:
    """What the format's readers would refuse in the row; None where it is as they want it."""
    match chosen_format:
        case "openai-sft":
            return fault_in_chat(record)
        case "sharegpt":
            return _fault_in_speakers(record["conversations"])
        case "openai-dpo":
            return fault_in_pair(record)
        case "trl-dpo":
            return _fault_in_answers(record["prompt"], record["chosen"], record["rejected"])
        case "trl-kto" if not isinstance(record["label"], bool):
            return "the label is neither true nor false"
        case "trl-sft" | "trl-kto":
            return _fault_in_answers(record["prompt"], record["completion"])
        case "parquet":
            return _fault_in_turns(record["messages"], last="assistant")
    return None


def _fault_in_turns(turns: list[Any], *, last: str) -> str | None:
    role = None
    for number, turn in enumerate(turns, 1):
        role, content = turn.get("role"), turn.get("content")
        if role not in ROLES or not isinstance(content, str):
            return f"message {number} has no role of {', '.join(sorted(ROLES))} with a text"
        if role == "assistant" and (not content or content.isspace()):
            return f"message {number}, of the assistant, is empty"
    return None if role == last else f"the last message is not of the {last}"


def _fault_in_answers(prompt: list[Any], *answers: list[Any]) -> str | None:
    faults = [_fault_in_turns(prompt, last="user"), *(_fault_in_turns(answer, last="assistant") for answer in answers)]
    if len(answers) == 2 and answers[0] == answers[1]:
        faults.append("both answers are the same")
    return next(filter(None, faults), None)


def _fault_in_speakers(turns: list[Any]) -> str | None:
    spoken = [turn["from"] for turn in turns if turn["from"] != "system"]
    if "system" in [turn["from"] for turn in turns[1:]]:
        return "the system speaks after the beginning"
    if spoken != ["human", "gpt"] * (len(spoken) // 2) or not spoken:
        return "human and gpt do not speak by turns"
    return None
