"""Progress of a migration or a refresh: a line on a terminal, an artifact in a Prefect flow run."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Protocol

from flows.running import prefect_flow_run_id

log = logging.getLogger("headrace")
SECONDS = 1.0


class Moment(Protocol):
    """How far it is; its text is for people."""

    @property
    def percent(self) -> float | None:
        """Of what goes on now."""
        ...


class Progress(Protocol):
    """What is watched."""

    def now(self) -> Moment:
        """How far it is."""
        ...


@asynccontextmanager
async def showing(progress: Progress) -> AsyncIterator[None]:
    """Inside, whoever watches sees how far it is, once a second."""
    shown = _Shown()
    terminal = sys.stderr.isatty()
    watching = asyncio.create_task(_watch(progress, shown, terminal=terminal), name="progress")
    ended = "ended before it was done"
    try:
        with _lines_apart() if terminal else nullcontext():
            yield
        ended = "done"
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        if shown.artifact is not None:  # which would stay where it was last seen
            percent = 100.0 if ended == "done" else progress.now().percent or 0.0
            await _publish(shown.artifact, percent, ended)


@dataclass
class _Shown:
    artifact: object = None


@contextmanager
def _lines_apart() -> Iterator[None]:
    """Inside, a line of the log begins where the progress stood, which is shown again below it."""

    def clear(_: logging.LogRecord) -> bool:
        _clear()
        return True

    handlers = logging.getLogger().handlers
    for handler in handlers:
        handler.addFilter(clear)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(clear)


def _clear() -> None:
    sys.stderr.write("\r\x1b[2K")


async def _watch(progress: Progress, shown: _Shown, *, terminal: bool) -> None:
    try:
        while True:
            await asyncio.sleep(SECONDS)
            moment = progress.now()
            if terminal:
                _clear()
                sys.stderr.write(str(moment))
                sys.stderr.flush()
            if prefect_flow_run_id() is not None:
                shown.artifact = await _publish(shown.artifact, moment.percent or 0.0, str(moment))
    finally:
        if terminal:
            _clear()


async def _publish(artifact: object, percent: float, description: str) -> object:
    """The progress artifact says so; one that Prefect does not take is said, and no more."""
    from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

    try:
        if artifact is None:
            return await acreate_progress_artifact(progress=percent, description=description)
        await aupdate_progress_artifact(artifact, progress=percent, description=description)  # type: ignore[arg-type]
    except Exception as error:  # of Prefect's client, of its HTTP or of the server
        log.warning("the progress is no artifact: %s", type(error).__name__)
    return artifact
