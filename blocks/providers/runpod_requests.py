"""What is sent to a RunPod worker: one prompt with everything in it.

The bodies are those of `/run` and `/runsync` (https://docs.runpod.io/serverless/endpoints/send-requests)
and of llama.cpp's `/completion` (its `tools/server/README.md`). Workers of both generations take
`prompt`, `max_tokens`, `temperature` and `top_p`; neither enforces a schema, so the prompt asks for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.calls import ChatCall
from schemas.errors import BadInput

LABELS = {"user": "User: ", "assistant": "Assistant: ", "system": ""}
SHORTEST_EXECUTION_SECONDS = 6
"""RunPod takes no execution timeout of 5 s or less."""
UNKNOWN_TO_WORKERS = ("seed", "frequency_penalty", "presence_penalty")


@dataclass(frozen=True)
class Prompt:
    """A call as text.

    Attributes:
        text: the whole conversation and the demand for a schema.
        max_tokens: bound on the answer.
        wants_json: the answer has to be JSON.
    """

    text: str
    max_tokens: int
    wants_json: bool


def prompt_of(call: ChatCall) -> Prompt:
    """The conversation as one text: a lone user message as it is, several turns with who speaks before each."""
    labelled = sum(turn.role != "system" for turn in call.messages) > 1
    parts = [f"{LABELS[turn.role] if labelled else ''}{turn.content}" for turn in call.messages]
    if call.output_schema is not None:
        schema = orjson.dumps(call.output_schema).decode()
        parts.append(f"Answer with JSON only, without any text around it, that fits this JSON schema:\n{schema}")
    if labelled:
        parts.append("Assistant:")
    return Prompt("\n\n".join(parts), call.parameters.max_tokens, call.output_schema is not None)


def longest_execution(limit_seconds: float) -> int:
    """Seconds after which RunPod ends a job that nobody waits for any longer."""
    return max(math.ceil(limit_seconds), SHORTEST_EXECUTION_SECONDS)


def job_body(call: ChatCall, prompt: Prompt, limit_seconds: float) -> bytes:
    """The bytes of `/run` and `/runsync`.

    Raises:
        BadInput: a parameter is set that workers do not know.
    """
    for name in UNKNOWN_TO_WORKERS:
        if getattr(call.parameters, name) is not None:
            raise BadInput(f"{call.model} does not know the parameter {name}", model=call.model, param=name)
    wanted = {"prompt": prompt.text, "max_tokens": prompt.max_tokens, **_sampling(call)}
    policy = {"executionTimeout": longest_execution(limit_seconds) * 1000}
    return orjson.dumps({"input": wanted, "policy": policy})


def completion_body(call: ChatCall, prompt: Prompt) -> bytes:
    """The bytes of llama.cpp's `/completion`, which enforces the schema."""
    parameters = call.parameters
    more = {
        "seed": parameters.seed,
        "frequency_penalty": parameters.frequency_penalty,
        "presence_penalty": parameters.presence_penalty,
        "json_schema": call.output_schema,
    }
    chosen = {name: value for name, value in more.items() if value is not None}
    wanted = {"prompt": prompt.text, "n_predict": prompt.max_tokens, "stream": False}
    return orjson.dumps({**wanted, **_sampling(call), **chosen})


def _sampling(call: ChatCall) -> dict[str, Any]:
    parameters = call.parameters
    chosen = {
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        "stop": list(parameters.stop) or None,
    }
    return {name: value for name, value in chosen.items() if value is not None}
