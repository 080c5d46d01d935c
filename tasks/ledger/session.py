"""An open ledger: the database, this worker, the recorder and the providers of one event loop."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import UUID
from weakref import WeakKeyDictionary

from blocks.database import create_async_database, create_database, migrate, normal_url, require_current_schema
from blocks.database import schema_revision as read_revision
from blocks.settings import get_settings
from blocks.telemetry import set_up_telemetry
from schemas.settings import Settings
from schemas.tables.base import SCHEMA_REVISION
from tasks.ledger.budgets import zone
from tasks.ledger.daily_limit import hold_daily_limit
from tasks.ledger.flights import Flights
from tasks.ledger.rate_limits import RateLimits
from tasks.ledger.recorder import Recorder
from tasks.ledger.telemetry import Observer, Telemetry
from tasks.ledger.workers import Worker

if TYPE_CHECKING:
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

    from blocks.embedded.stack import EmbeddedStack
    from blocks.providers.registry import Providers


class Ledger:
    """What calls and steps need, of one event loop; made by `open_ledger`.

    Attributes:
        engine: SQLAlchemy engine on the ledger's database.
        recorder: the way to write; reads go through `engine`.
        worker: this process, whose lease covers what it holds.
        providers: the models' endpoints.
        flights: calls of this process in flight, by key.
        rate_limits: when a call may be made.
        telemetry: who observes calls.
        attempts: attempts at runs that go on here.
        begun: runs by flow, subject and variant, for each Prefect flow run that this process took part in.
    """

    def __init__(self, settings: Settings, engine: AsyncEngine, providers: Providers) -> None:
        self.settings = settings
        self.engine = engine
        self.providers = providers
        self.recorder = Recorder(engine)
        self.worker = Worker(
            engine, lease_seconds=settings.lease_seconds, renewal_seconds=settings.lease_renewal_seconds
        )
        self.flights = Flights(settings.parallel_calls)
        self.rate_limits = RateLimits(settings, self.flights)
        self.telemetry = Telemetry()
        self.attempts: set[UUID] = set()
        self.begun: dict[UUID, dict[tuple[str, str, str], UUID]] = {}


class _Opened:
    """One ledger and those who use it; whoever leaves last closes it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.users = 0
        self._resources = AsyncExitStack()
        self._opening = asyncio.create_task(_enter(settings, self._resources), name="ledger-opening")

    async def ledger(self) -> Ledger:
        """The ledger, once it is open, or why it cannot be; who stops waiting stops nobody else."""
        return await asyncio.shield(self._opening)

    async def close(self) -> None:
        """Everything the ledger holds is closed, also when it is still being opened or never was."""
        await asyncio.wait([self._opening])
        await self._resources.aclose()


_current: ContextVar[_Opened | None] = ContextVar("headrace_ledger", default=None)
_open: WeakKeyDictionary[asyncio.AbstractEventLoop, _Opened] = WeakKeyDictionary()


def open_ledger(settings: Settings | None = None) -> AbstractAsyncContextManager[Ledger]:
    """The ledger of this event loop, opened by the first who asks and closed by the last who leaves.

    Calls that begin side by side, each asking for a ledger of its own accord, thus share one.

    Args:
        settings: by default those of the ledger around, or of this process.

    Raises:
        ConfigurationError: the database's schema is not the one needed; the message names the command.
        DatabaseUnavailable: Postgres cannot be reached.
    """
    return _Use(settings)


class _Use(AbstractAsyncContextManager[Ledger]):
    """One use of a ledger, and there is one in each call: no generator, which costs the event loop 20 µs."""

    def __init__(self, settings: Settings | None) -> None:
        self._settings = settings

    async def __aenter__(self) -> Ledger:
        self._around = _current.get()
        self._opened = _join(self._settings, self._around)
        _current.set(self._opened)
        try:
            return await self._opened.ledger()
        except BaseException:
            await self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        opened = self._opened
        _current.set(self._around)
        opened.users -= 1
        if opened.users == 0:
            if _open.get(opened.loop) is opened:
                del _open[opened.loop]
            await asyncio.shield(asyncio.ensure_future(opened.close()))


def _join(settings: Settings | None, around: _Opened | None) -> _Opened:
    """The ledger to use, with the caller counted among its users."""
    loop = asyncio.get_running_loop()
    if around is not None and around.loop is loop and around.users and settings in (None, around.settings):
        opened = around
    else:
        chosen = settings or get_settings()
        present = _open.get(loop)
        opened = present if present is not None and present.settings == chosen else _Opened(chosen)
        _open[loop] = opened
    opened.users += 1
    return opened


async def _enter(settings: Settings, resources: AsyncExitStack) -> Ledger:
    from blocks.embedded.stack import EmbeddedStack
    from blocks.providers.registry import Providers

    zone(settings.budget_timezone)
    stack = EmbeddedStack(
        settings.home,
        settings.cache,
        idle_minutes=settings.idle_minutes,
        local_model=settings.local_model,
        local_context=settings.local_context,
    )
    resources.callback(stack.close)  # opened when a part of it is first asked for
    url = await asyncio.to_thread(ready_database, settings, stack)
    engine = create_async_database(url)
    resources.push_async_callback(engine.dispose)
    await hold_daily_limit(engine, settings)
    providers = await resources.enter_async_context(Providers(settings, stack))
    ledger = Ledger(settings, engine, providers)
    if await asyncio.to_thread(set_up_telemetry):
        ledger.telemetry = Telemetry(Observer())
    await ledger.worker.start()
    resources.push_async_callback(ledger.worker.stop)
    resources.push_async_callback(ledger.recorder.close)
    return ledger


def ready_database(settings: Settings, stack: EmbeddedStack) -> URL:
    """URL of a database with the schema needed; only the embedded one is migrated without being asked.

    Raises:
        ConfigurationError: `DATABASE_URL` has no or an old schema.
        DatabaseUnavailable: it cannot be reached.
    """
    if settings.database_url is None:
        url = normal_url(stack.database_url("headrace"))
        engine = create_database(url)
        try:
            if read_revision(engine) != SCHEMA_REVISION:
                migrate(engine)
        finally:
            engine.dispose()
        return url
    url = normal_url(settings.database_url.get_secret_value())
    engine = create_database(url)
    try:
        require_current_schema(engine)
    finally:
        engine.dispose()
    return url
