"""Fine-tuning jobs at OpenAI, or at another server of its API, through the openai package.

Here its weight does not matter: a job takes minutes at least. Its own retries are switched off, as everywhere.
https://platform.openai.com/docs/api-reference/fine-tuning
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import ValidationError

from blocks.named_models import read_named_models
from blocks.providers.failures import failure_of, no_answer, unreachable, unreadable
from blocks.providers.http_client import Server
from blocks.providers.openai_client import OPENAI_URL, openai_server
from schemas.errors import BadInput, ConfigurationError, HeadraceError, JobEnded
from schemas.fine_tuning import FineTuneRequest, JobEvent, JobState
from schemas.settings import Settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

T = TypeVar("T")
RUN_KEY = "headrace_run"
"""Of a job's metadata: the run it was created by, so that it is found again if its id could not be stored."""
JOBS_LOOKED_AT = 100
EVENTS_AT_ONCE = 100
LONGEST_REASON = 500


class FineTuning:
    """Speaks to the provider of one base model; made by `fine_tuning`."""

    def __init__(self, client: AsyncOpenAI, server: Server, model: str) -> None:
        self._client = client
        self._server = server
        self._model = model

    async def upload(self, path: Path) -> str:
        """The file is at the provider, under the id returned.

        Raises:
            HeadraceError: as `failures.failure_of`, or ProviderUnavailable and ProviderTimeout.
            BadInput: the file cannot be read.
        """
        try:
            with path.open("rb") as file, self._translated():
                return self._read(await self._client.files.create(file=file, purpose="fine-tune")).id
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error

    async def create(
        self, request: FineTuneRequest, training_file: str, validation_file: str | None, run: str
    ) -> JobState:
        """A job is created; errors as in `upload`.

        After ProviderTimeout it may have been: `find` tells.
        """
        optional: dict[str, Any] = {
            "validation_file": validation_file,
            "suffix": request.suffix or None,
            "seed": request.seed,
        }
        given = {name: value for name, value in optional.items() if value is not None}
        with self._translated():
            job = await self._client.fine_tuning.jobs.create(
                model=self._model,
                training_file=training_file,
                method=cast(Any, _method(request)),
                metadata={RUN_KEY: run},
                **given,
            )
        return self._state(job)

    async def find(self, run: str) -> JobState | None:
        """The job that the run has created, among the latest; errors as in `upload`."""
        with self._translated():
            page = await self._client.fine_tuning.jobs.list(limit=JOBS_LOOKED_AT, metadata={RUN_KEY: run})
        jobs = (job for job in self._read(page).data if (job.metadata or {}).get(RUN_KEY) == run)
        return next(map(self._state, jobs), None)

    async def look(self, job: str) -> JobState:
        """Where the job stands; errors as in `upload`.

        Raises:
            JobEnded: the provider has no such job.
        """
        with self._translated(job):
            return self._state(await self._client.fine_tuning.jobs.retrieve(job))

    async def events(self, job: str) -> list[JobEvent]:
        """The latest of what the provider says of the job, oldest first; errors as in `look`."""
        with self._translated(job):
            page = await self._client.fine_tuning.jobs.list_events(job, limit=EVENTS_AT_ONCE)
        return [_event(event) for event in reversed(self._read(page).data)]

    async def cancel(self, job: str) -> JobState:
        """The job is cancelled, or ended before it could be; errors as in `look`."""
        with self._translated(job):
            return self._state(await self._client.fine_tuning.jobs.cancel(job))

    @contextmanager
    def _translated(self, job: str | None = None) -> Iterator[None]:
        """Errors of the openai package inside are ours outside."""
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            raise self._failure(error, job) from error
        except AttributeError as error:  # over which the package trips where a list is no JSON
            raise unreadable(self._server.origin, "it is no JSON") from error
        except openai.APITimeoutError as error:
            raise no_answer(self._server.origin, "time is up") from error
        except openai.APIConnectionError as error:
            import httpx

            if isinstance(error.__cause__, httpx.ConnectError):
                raise unreachable(self._server.origin, "no connection") from error
            raise no_answer(self._server.origin, "the connection was lost") from error

    def _failure(self, error: Any, job: str | None) -> HeadraceError:
        if error.status_code == 404 and job is not None:
            return JobEnded(f"{self._server.origin.place} has no fine-tuning job {job}", job=job)
        body = error.response.content
        return failure_of(error.status_code, error.response.headers, body, self._server.origin)

    def _read(self, answer: T) -> T:
        """`answer`, of which the openai package makes a text where it is no JSON."""
        if isinstance(answer, str):
            raise unreadable(self._server.origin, "it is no JSON")
        return answer

    def _state(self, job: FineTuningJob) -> JobState:
        failed = self._read(job).error
        try:
            return JobState(
                id=job.id,
                status=job.status,
                fine_tuned_model=job.fine_tuned_model,
                trained_tokens=job.trained_tokens,
                reason=self._plain(failed.message) if failed and failed.message else None,
                code=failed.code if failed else None,
                cost_usd=_cost(job),
            )
        except ValidationError:  # the package does not look whether what must be there is
            raise unreadable(self._server.origin, "it is no job") from None

    def _plain(self, reason: str) -> str:
        """One line of bounded length, without the key."""
        if self._server.secret:
            reason = reason.replace(self._server.secret, "[key]")
        return " ".join(reason.split())[:LONGEST_REASON]


@asynccontextmanager
async def fine_tuning(settings: Settings, base_model: str) -> AsyncIterator[FineTuning]:
    """The way to the provider of the base model.

    Raises:
        ConfigurationError: it is not at OpenAI or at the server of OPENAI_BASE_URL, or a key is missing or wrong.
    """
    name = _at_openai(settings, base_model)
    server = openai_server(settings, base_model)
    if server.base_url == OPENAI_URL and server.secret is None:
        raise ConfigurationError(f"{base_model} is at OpenAI, but OPENAI_API_KEY is not set", model=base_model)
    import openai

    client = openai.AsyncOpenAI(
        api_key=server.secret or "none",  # the package insists on one
        base_url=server.base_url,
        timeout=settings.call_timeout_seconds,
        max_retries=0,
    )
    async with client:
        yield FineTuning(client, server, name)


def _at_openai(settings: Settings, base_model: str) -> str:
    """The model's name there."""
    named = read_named_models(settings).get(base_model)
    if named is not None and (named.api_base or named.api_key_env):
        raise ConfigurationError(
            f"{base_model} has an address or key of its own, where nothing can be fine-tuned: name the model itself, "
            "with OPENAI_BASE_URL and OPENAI_API_KEY set for its server",
            model=base_model,
        )
    model = named.model if named else base_model
    provider, slash, name = model.partition("/")
    if slash and provider != "openai":
        raise ConfigurationError(
            f"{base_model} cannot be fine-tuned from here: jobs go to OpenAI or the server of OPENAI_BASE_URL",
            model=base_model,
        )
    return name if slash else model


def _method(request: FineTuneRequest) -> dict[str, Any]:
    chosen = {
        "n_epochs": request.n_epochs,
        "batch_size": request.batch_size,
        "learning_rate_multiplier": request.learning_rate_multiplier,
        "beta": request.beta if request.method == "dpo" else None,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    return {"type": request.method, request.method: {"hyperparameters": given} if given else {}}


def _event(event: FineTuningJobEvent) -> JobEvent:
    data: dict[str, Any] = event.data if isinstance(event.data, dict) else {}
    return JobEvent(
        id=event.id,
        at=datetime.fromtimestamp(event.created_at, UTC),
        level=event.level,
        message=" ".join(event.message.split())[:LONGEST_REASON],
        step=_count(data.get("step")),
        total_steps=_count(data.get("total_steps")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _cost(job: FineTuningJob) -> Decimal | None:
    """What some servers say under `cost_usd`, in dollars."""
    said = (job.model_extra or {}).get("cost_usd")
    return Decimal(str(said)) if isinstance(said, int | float | str) and _is_number(said) else None


def _is_number(value: float | str) -> bool:
    try:
        return Decimal(str(value)).is_finite() and Decimal(str(value)) >= 0
    except ArithmeticError:
        return False
