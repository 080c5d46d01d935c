"""An export as a folder: train and test file, a manifest, what each row was made of, what was set aside and why.

The folder has a name that begins with a point and ends with `.partial` until all of it is durable; then it is renamed,
once. Whatever kills the process leaves no folder of the name that was asked for; an error leaves no folder at all.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import randbits
from uuid import UUID

from xxhash import xxh3_128_digest

from schemas.canonical import canonical_json
from schemas.errors import BadInput, TerminalError
from schemas.training import ExportedFile, ExportManifest, ExportOptions
from tasks.training.checking import check_file, check_record
from tasks.training.choosing import Choice, choose, looks_first
from tasks.training.files import Disk, JsonLines, Parquet, RowFile, as_line
from tasks.training.formats import Row, fault_in
from tasks.training.reading import CallRead
from tasks.training.redaction import Redactor
from tasks.training.rows import RowMaker

MANIFEST, SOURCES, SET_ASIDE = "manifest.json", "manifest-rows.jsonl", "set-aside.jsonl"


class Stopped(TerminalError):
    """The export was interrupted; the run can be resumed."""

    code = "cancelled"


@dataclass
class Moment:
    """How far an export is; its text is for people."""

    calls: int = 0
    rows: int = 0
    percent: float | None = None
    stopping: bool = False
    """Said by another thread."""

    def __str__(self) -> str:
        return f"{self.calls:,} calls read, {self.rows:,} rows written"

    def now(self) -> Moment:
        """How far it is."""
        return self

    def stop(self) -> None:
        """The export ends at its next row."""
        self.stopping = True

    def go_on(self) -> None:
        """Nobody asked to stop.

        Raises:
            Stopped: somebody did.
        """
        if self.stopping:
            raise Stopped("the export was interrupted")


def write_export(folder: Path, calls: Iterable[CallRead], options: ExportOptions, progress: Moment) -> ExportManifest:
    """The export stands in `folder`, complete and durable; equal calls and options give equal bytes.

    What is in memory: a hash of 16 bytes for each row, where duplicates are left out; for formats of pairs, the calls
    with one prompt; what `choose` needs, for which `calls` are read a time more. Where `folder` is there already with
    the same content, it stays as it is.

    Raises:
        BadInput: something else is there, or being written there, or nothing can be.
        ExpectationFailed: a row is not as the format wants it; the message names it.
        Stopped: somebody asked to stop.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        with _alone_in(partial):
            manifest = _fill(partial, calls, options, progress)
            _move(partial, folder)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror or error}") from error
    return manifest


@contextmanager
def _alone_in(partial: Path) -> Iterator[None]:
    """Inside, the folder is there, empty, and no other export writes into it; whatever ends the process frees it.

    An error removes it with all that is in it.

    Raises:
        BadInput: another does.
    """
    partial.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if not _lock(descriptor) or not os.path.samestat(os.fstat(descriptor), partial.stat()):
            raise BadInput(f"another export is being written into {partial}", path=str(partial))
        for left in partial.iterdir():
            left.unlink()
        try:
            yield
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def manifest_bytes(manifest: ExportManifest) -> bytes:
    """The content of `manifest.json`."""
    return canonical_json(manifest.model_dump(mode="json")) + b"\n"


def _fill(folder: Path, calls: Iterable[CallRead], options: ExportOptions, progress: Moment) -> ExportManifest:
    with closing(Disk()) as disk:
        choice = Choice(options)
        if looks_first(options):
            looked_at = RowMaker(options, Redactor(options.phone_region), lambda ids, reason: None)
            choice = choose(_until_stopped(looked_at.rows(calls), progress), options)
        export = _Export(folder, options, progress, disk, choice)
        maker = RowMaker(options, export.redactor, export.set_aside)
        for number, row in enumerate(maker.rows(calls)):
            progress.go_on()
            progress.calls = maker.calls
            export.write(number, row)
        progress.calls = maker.calls
        return export.finish()


def _until_stopped(rows: Iterator[Row], progress: Moment) -> Iterator[Row]:
    for row in rows:
        progress.go_on()
        yield row


@dataclass
class _Export:
    folder: Path
    options: ExportOptions
    progress: Moment
    disk: Disk
    choice: Choice
    reasons: Counter[str] = field(default_factory=Counter)
    seen: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.redactor = Redactor(self.options.phone_region)
        self._kind = "parquet" if self.options.format == "parquet" else "jsonl"
        parts = ("train", "test") if self.options.test_share else ("train",)
        names = {part: f"{part}.{self._kind}" for part in parts}
        self._files: dict[str, tuple[str, RowFile]] = {part: (name, self._file(name)) for part, name in names.items()}
        self._key = randbits(64)  # of this export alone: nobody can prepare another row that is taken for an equal one
        self._sources = JsonLines(self.folder / SOURCES, self.disk)
        self._aside = JsonLines(self.folder / SET_ASIDE, self.disk)

    def _file(self, name: str) -> RowFile:
        path = self.folder / name
        return Parquet(path) if self._kind == "parquet" else JsonLines(path, self.disk)

    def write(self, number: int, row: Row) -> None:
        """The row is in its file, unless it is set aside."""
        line = b"" if self._kind == "parquet" else as_line(row.record)
        reason = self._objection(number, row, line)
        if reason is not None:
            self.set_aside(row.ids, reason)
            return
        name, file = self._files[self.choice.part(number, row)]
        check_record(row.record, self.options.format, name, file.rows + 1)
        file.write(row.record, line, row.tokens)
        self._sources.add({"file": name, "row": file.rows, "ids": row.ids})
        self.progress.rows += 1

    def finish(self) -> ExportManifest:
        """Everything is durable in the folder, and was read back."""
        files: dict[str, ExportedFile] = {name: file.close() for name, file in self._files.values()}
        if self._kind == "parquet":
            for name, file in files.items():
                check_file(self.folder / name, self.options.format, file.rows)
        files |= {SOURCES: self._sources.close(), SET_ASIDE: self._aside.close()}
        manifest = ExportManifest(
            options=self.options,
            calls=self.progress.calls,
            rows=self.progress.rows,
            files=files,
            redacted=dict(sorted(self.redactor.counts.items())),
            set_aside=dict(sorted(self.reasons.items())),
        )
        with (self.folder / MANIFEST).open("wb") as last:
            last.write(manifest_bytes(manifest))
            last.flush()
            os.fsync(last.fileno())
        _sync_folder(self.folder)
        return manifest

    def _objection(self, number: int, row: Row, line: bytes) -> str | None:
        options = self.options
        fault = fault_in(row.record, "sharegpt") if options.format == "sharegpt" else None
        if fault is not None:  # the other formats take every example
            return f"sharegpt: {fault}"
        if 0 < options.max_tokens < row.tokens:
            return f"longer than {options.max_tokens} tokens"
        if options.dedup and self._is_there(row, line):
            return "duplicate"
        return None if self.choice.take(number, row) else "nearly a duplicate"

    def _is_there(self, row: Row, line: bytes) -> bool:
        told = line or as_line({name: value for name, value in row.record.items() if name != "id"})
        before = len(self.seen)
        self.seen.add(xxh3_128_digest(told, self._key))
        return len(self.seen) == before

    def set_aside(self, ids: tuple[UUID, ...], reason: str) -> None:
        """The calls are in no file, and it is on record why."""
        self.reasons[reason] += 1
        self._aside.add({"ids": ids, "reason": reason})


def _move(partial: Path, folder: Path) -> None:
    if (folder / MANIFEST).is_file() and (folder / MANIFEST).read_bytes() == (partial / MANIFEST).read_bytes():
        shutil.rmtree(partial)  # it was renamed, and the process killed before it could say so
        return
    if folder.exists():
        raise BadInput(f"{folder} is there already: give another folder, or remove it", path=str(folder))
    partial.rename(folder)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
