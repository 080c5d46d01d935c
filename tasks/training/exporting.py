"""An export from the ledger to a folder, on record, so that what was interrupted is made again the same."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, text

from blocks.database import create_database, database_errors
from schemas.errors import BadInput
from schemas.training import ExportManifest, ExportOptions, ExportReport
from tasks.ledger.runs import Run, hold_run_here
from tasks.training.bounds import Bound
from tasks.training.checking import warnings_of
from tasks.training.reading import Calls, reading
from tasks.training.redaction import require_region
from tasks.training.writing import Moment, manifest_bytes, write_export

STOPPING_SECONDS = 1.0
# Ids are given before rows are visible, and outcomes before feedback: a moment bounds both, and what was committed.
_BEGIN = text("""
    INSERT INTO training_exports (id, run_id, format, path, options, until, snapshot)
    VALUES (:run, :run, :format, :path, CAST(:options AS jsonb), clock_timestamp(), CAST(pg_current_snapshot() AS text))
    ON CONFLICT (id) DO NOTHING
""")
_BEGUN = text("SELECT until, snapshot FROM training_exports WHERE id = :run")
_REPLACED = text("SELECT count(*) FROM feedback WHERE updated_at > :until AND created_at <= :until")
# A migration keeps what it changed or deleted; what it inserted was no part.
_MIGRATED = text("""
    SELECT count(*) FROM migration_rows WHERE target IN ('llm_requests', 'feedback')
        AND run_id IN (SELECT run_id FROM migration_chunks WHERE loaded_at > :until)
""")
_COMPLETE = text("""
    UPDATE training_exports SET status = 'completed', completed_at = clock_timestamp(),
        manifest = CAST(:manifest AS jsonb), manifest_sha256 = :sha256 WHERE id = :run
""")


async def export_training_data(run: Run, out: Path, options: ExportOptions, progress: Moment) -> ExportReport:
    """The calls that `options` let through are training rows in the folder `out`, and the export is on record.

    A run that is gone on with leaves out what was settled, said or migrated after it first began, and writes the same
    bytes, unless something that counted then was replaced since; the report warns of that.

    Raises:
        BadInput: `out` is there already, or cannot be written; or the context of the model to fit is not known.
        ConfigurationError: there is no such model.
        DatabaseUnavailable: the connection was lost; the run can be gone on with.
    """
    if options.redact:
        require_region(options.phone_region)
    options = await _within_context(run, options)
    begun: _Begun = await _in_ledger(run, _begin, out, options)
    manifest = await _Writing(run.ledger.engine.url, out, options, begun.bound, progress).done()
    sha256 = hashlib.sha256(manifest_bytes(manifest)).hexdigest()
    await _in_ledger(run, _complete, manifest, sha256)
    return ExportReport(
        run_id=run.id,
        path=str(out),
        until=begun.bound.until,
        manifest=manifest,
        manifest_sha256=sha256,
        warnings=_warnings(manifest, begun),
    )


async def _within_context(run: Run, options: ExportOptions) -> ExportOptions:
    """The options with the context of the model that rows have to fit as their limit of tokens."""
    if not options.fits:
        return options
    window = (await run.ledger.providers.describe(options.fits)).context_window
    if window is None:
        raise BadInput(f"the context of {options.fits} is not known: give --max-tokens", model=options.fits)
    return options.model_copy(update={"max_tokens": min(options.max_tokens or window, window)})


@dataclass
class _Writing:
    """The files, written by a thread of its own."""

    url: URL
    out: Path
    options: ExportOptions
    bound: Bound
    progress: Moment
    _calls: Calls | None = field(default=None, init=False)

    async def done(self) -> ExportManifest:
        """They are written; whoever interrupts this has them given up, and waits for that."""
        writing = asyncio.ensure_future(asyncio.to_thread(self._write))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            self.progress.stop()
            while not writing.done():
                if self._calls is not None:
                    self._calls.stop()
                await asyncio.wait([writing], timeout=STOPPING_SECONDS)  # it may just have been about to ask Postgres
            writing.exception()  # it was asked to stop
            raise

    def _write(self) -> ExportManifest:
        engine = create_database(self.url)
        try:
            with reading(engine, self.options, self.bound) as self._calls:
                self.progress.go_on()
                return write_export(self.out, self._calls, self.options, self.progress)
        finally:
            engine.dispose()


async def _in_ledger(run: Run, work: Any, *arguments: Any) -> Any:
    with database_errors():
        async with run.ledger.engine.begin() as connection:
            return await connection.run_sync(work, run, *arguments)


@dataclass(frozen=True)
class _Begun:
    """What counts, and of what counted then how much was replaced since: ratings, and calls and ratings migrated."""

    bound: Bound
    replaced: int = 0
    migrated: int = 0


def _begin(connection: Connection, run: Run, out: Path, options: ExportOptions) -> _Begun:
    hold_run_here(connection, run.attempt)
    values = {"run": run.id, "format": options.format, "path": str(out), "options": options.model_dump_json()}
    begun = connection.execute(_BEGIN, values).rowcount == 1
    if begun and _is_there(out):
        raise BadInput(f"{out} is there already: give another folder, or remove it", path=str(out))
    bound = Bound(*connection.execute(_BEGUN, {"run": run.id}).one())
    if begun:
        return _Begun(bound)
    replaced, migrated = (
        connection.execute(count, {"until": bound.until}).scalar_one() for count in (_REPLACED, _MIGRATED)
    )
    return _Begun(bound, replaced, migrated)


def _is_there(out: Path) -> bool:
    try:
        return out.exists()
    except OSError as error:
        raise BadInput(f"{out} cannot be written: {error.strerror or error}", path=str(out)) from error


def _complete(connection: Connection, run: Run, manifest: ExportManifest, sha256: str) -> None:
    hold_run_here(connection, run.attempt)
    connection.execute(_COMPLETE, {"run": run.id, "manifest": manifest.model_dump_json(), "sha256": sha256})


def _warnings(manifest: ExportManifest, begun: _Begun) -> tuple[str, ...]:
    train = next(file for name, file in manifest.files.items() if name.startswith("train."))
    warnings = [*warnings_of(manifest.options.format, train.rows)]
    if manifest.options.test_share and manifest.rows and train.rows in (0, manifest.rows):
        warnings.append(
            f"all {manifest.rows} rows are in one file: the prompts are few families, "
            "which --family-likeness 0 divides by their words alone"
        )
    for count, what in (
        (begun.replaced, "ratings were replaced"),
        (begun.migrated, "rows were changed by a migration"),
    ):
        if count:
            warnings.append(f"{count} {what} since the export began: it may differ from what it was then")
    return tuple(warnings)
