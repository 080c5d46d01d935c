"""Answers of RunPod: a job's state, and the output of its worker in either of two shapes.

A job is `{id, status, output?, error?, delayTime?, executionTime?}`, times in milliseconds
(https://docs.runpod.io/serverless/endpoints/operation-reference). Its output is what the worker made:
llama.cpp's `{content, tokens_predicted, tokens_evaluated, model, …}`, or
`{completion, usage, model, error?, error_type?}`. A worker that fails can still end as COMPLETED.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from blocks.providers.exchange import Exchange
from blocks.providers.failures import Origin, no_answer, unreadable
from blocks.providers.openai_answers import Text, load_json
from blocks.providers.runpod_requests import Prompt
from schemas.calls import ProviderReply, Usage
from schemas.errors import JobEnded, PromptEchoed, ProviderUnavailable

State = Literal["IN_QUEUE", "IN_PROGRESS", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]
"""RUNNING is another name of IN_PROGRESS, which RunPod's page on job states uses."""
_TYPE = re.compile(r"(?:<class ')?([\w.\-]{1,80})(?:'>)?", re.ASCII)
MOST = 2**53
"""No count and no time reaches this."""
_BACKTICKS = re.compile(r"\s*(`{1,3})(?:json\b)?\s*(.*?)\s*\1\s*", re.DOTALL)


def _counted(said: Any) -> Any:
    """`said` where it can be a count or a time; else it counts as unsaid, and the answer is good all the same."""
    is_number = isinstance(said, int | float) and not isinstance(said, bool)
    return said if is_number and 0 <= said < MOST else None


Count = Annotated[int | None, BeforeValidator(lambda said: _counted(said) if isinstance(said, int) else None)]
Milliseconds = Annotated[float | None, BeforeValidator(_counted)]


class Job(BaseModel):
    """A job as RunPod describes it."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=r"^[\w.\-]{1,200}$")
    status: State
    output: Any = None
    error: Any = None
    delay_ms: Milliseconds = Field(None, alias="delayTime")
    execution_ms: Milliseconds = Field(None, alias="executionTime")

    @property
    def is_over(self) -> bool:
        """True when nothing more will happen."""
        return self.status not in ("IN_QUEUE", "IN_PROGRESS", "RUNNING")

    @property
    def is_answered(self) -> bool:
        """True when the worker has put out something."""
        return self.status == "COMPLETED"

    @property
    def seconds(self) -> Decimal | None:
        """How long the worker worked; None where RunPod does not say."""
        return None if self.execution_ms is None else Decimal(repr(self.execution_ms)) / 1000


class _Counts(BaseModel):
    prompt_tokens: Count = None
    completion_tokens: Count = None


class _Output(BaseModel):
    """The fields of both shapes that are read."""

    model: Text = None
    completion: str | None = None
    usage: Annotated[_Counts | None, BeforeValidator(lambda said: said if isinstance(said, dict) else None)] = None
    content: str | None = None
    tokens_evaluated: Count = None
    tokens_predicted: Count = None
    stopped_limit: Any = None
    stop_type: Any = None
    error: Any = None
    error_type: Any = None
    echo: Any = None

    @property
    def text(self) -> str | None:
        return self.content if self.completion is None else self.completion

    def counts(self) -> Usage | None:
        said = self.usage or _Counts(prompt_tokens=self.tokens_evaluated, completion_tokens=self.tokens_predicted)
        if said.prompt_tokens is None or said.completion_tokens is None:
            return None
        return Usage(input_tokens=said.prompt_tokens, output_tokens=said.completion_tokens)

    def finish_reason(self, max_tokens: int) -> str:
        """`length` where the answer was cut off: both workers leave it to the caller to find out."""
        usage = self.counts()
        cut = self.stopped_limit is True or self.stop_type == "limit" or (usage and usage.output_tokens >= max_tokens)
        return "length" if cut else "stop"


def read_status(body: bytes | None, origin: Origin) -> Job:
    """The job in an answer with status 200.

    Raises:
        ProviderUnavailable: the body describes none.
    """
    try:
        return Job.model_validate(load_json(body or b""))
    except (ValueError, RecursionError):  # pydantic's ValidationError is a ValueError
        raise unreadable(origin, "no job") from None


def read_job(job: Job, exchange: Exchange, prompt: Prompt, origin: Origin, model: str) -> ProviderReply:
    """The answer of a job that is over; in `exchange.reply` stands what it cost, also where it has none.

    Raises:
        ProviderUnavailable: the worker failed, or put out what is no answer.
        ProviderTimeout: RunPod gave the job up.
        JobEnded: somebody cancelled it.
        PromptEchoed: the prompt came back.
    """
    note_work(job, exchange, model)
    if not job.is_answered:
        raise_ended(job, origin)
    return read_output(job.output, exchange, prompt, origin, model)


def note_work(job: Job, exchange: Exchange, model: str) -> None:
    """How long the job took, and the part of it that is billed, are in `exchange`."""
    exchange.job_ms = round((job.delay_ms or 0) + (job.execution_ms or 0)) or None
    exchange.reply = _reply(exchange, model, billed_seconds=job.seconds)


def raise_ended(job: Job, origin: Origin) -> NoReturn:
    """The job is over without an answer."""
    if job.status == "CANCELLED":
        raise JobEnded(f"the job was cancelled at {origin.place}", model=origin.model, state=job.status)
    if job.status == "TIMED_OUT":
        raise no_answer(origin, "the job ran into a time limit of the queue")
    raise _worker_failed(origin, _error_type(job.error))


def read_output(output: Any, exchange: Exchange, prompt: Prompt, origin: Origin, model: str) -> ProviderReply:
    """The answer in a worker's output, in either shape; it stands in `exchange.reply` before it is judged."""
    try:
        read = _Output.model_validate(output)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise unreadable(origin, f"output at {place or 'the top'}") from None
    usage = read.counts()
    seconds = exchange.reply.billed_seconds if exchange.reply else None
    text = read.text or ""
    exchange.reply = _reply(
        exchange,
        read.model or model,
        text=unwrapped(text) if prompt.wants_json else text,
        usage=usage,
        finish_reason=read.finish_reason(prompt.max_tokens),
        billed_seconds=seconds,
    )
    if read.error:
        raise _worker_failed(origin, read.error_type)
    if is_echo(read.text, read.echo, prompt.text):
        raise PromptEchoed(
            f"the worker of {origin.model} gave the prompt back instead of an answer", model=origin.model
        )
    if not text.strip():
        raise unreadable(origin, "an output without a completion")
    return exchange.reply


def is_echo(text: str | None, echo: Any, prompt: str) -> bool:
    """True when `text` is the prompt, or when there is none and the worker only repeats what it was sent."""
    if text is None or not text.strip():
        return echo is not None
    return text.split() == prompt.split()


def unwrapped(text: str) -> str:
    """`text` without the backticks around it: workers wrap JSON in one to three of them."""
    match = _BACKTICKS.fullmatch(text)
    return match[2] if match else text


def _reply(exchange: Exchange, model: str, **more: Any) -> ProviderReply:
    return ProviderReply(
        model=model,
        provider_request_id=exchange.job_id,
        request_bytes=exchange.request_bytes or b"",
        response_bytes=exchange.response_bytes or b"",
        **more,
    )


def _worker_failed(origin: Origin, kind: Any) -> ProviderUnavailable:
    """The worker reports an error; only its type is quoted, the text can hold the prompt."""
    match = _TYPE.fullmatch(kind) if isinstance(kind, str) else None
    said = match[1] if match else "untyped"
    return ProviderUnavailable(f"the worker of {origin.model} failed ({said})", model=origin.model)


def _error_type(error: Any) -> Any:
    """The type in a job's error, which is a text, or JSON as text (`rp_job.run_job` of the runpod package)."""
    try:
        read = load_json(error.encode()) if isinstance(error, str) else error
    except (ValueError, RecursionError):
        return None
    return read.get("error_type") if isinstance(read, dict) else None
