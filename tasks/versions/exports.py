"""The training export that a file to learn from is of, as the ledger has it on record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import TextClause, text

from blocks.database import database_errors
from schemas.errors import BadInput, NotFound
from schemas.fine_tuning import Method
from schemas.versions import Lineage
from tasks.ledger.session import Ledger, open_ledger
from tasks.versions.lineage import TrainingFile, read_training_file

TRAINING_FILE = "train.jsonl"
_FORMATS: dict[Method, str] = {"supervised": "openai-sft", "dpo": "openai-dpo"}

_BY_ID = text("SELECT id, format, path, status FROM training_exports WHERE id = :id")
# Equal calls and options give equal files: the one that is in the file's folder comes first, then the latest.
_BY_FILE = text("""
    SELECT id, format, path, status FROM training_exports
    WHERE status = 'completed' AND EXISTS (
        SELECT FROM jsonb_each(manifest -> 'files') AS files WHERE files.value ->> 'sha256' = :sha256)
    ORDER BY path = :folder DESC, completed_at DESC LIMIT 1
""")


class ExportRecord(BaseModel):
    """An export, and the folder that has its files."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: UUID
    format: str
    path: str
    status: str


async def training_path(ledger: Ledger, said: str) -> Path:
    """The file that is meant by a file, by the folder of an export, or by the id of one (its run's).

    Raises:
        NotFound: there is no export of that id.
        BadInput: the export was not completed.
    """
    export_id = _path_or_id(said)
    if isinstance(export_id, Path):
        return export_id
    export = await _find(ledger, _BY_ID, id=export_id)
    if export is None:
        raise NotFound(f"there is no training export {export_id}")
    if export.status != "completed":
        raise BadInput(f"training export {export_id} is not complete: headrace resume {export_id}")
    return Path(export.path) / TRAINING_FILE


async def export_of(ledger: Ledger, file: TrainingFile, method: Method) -> UUID | None:
    """The export that wrote the file, found by its hash; None where it is of elsewhere, or was changed since.

    Raises:
        BadInput: it was written for something else than `method`.
    """
    export = await _of_file(ledger, file)
    if export is None:
        return None
    if export.format != _FORMATS[method]:
        raise BadInput(f"{file.path} was exported as {export.format}, and {method} wants {_FORMATS[method]}")
    return export.id


async def lineage_of(training: str, *, base_model: str | None = None, export_id: str | None = None) -> Lineage:
    """The lineage of a model, as far as what it learned from tells it: a file, or the folder or id of an export.

    Args:
        training: empty: nothing is known of it.
        export_id: kept as it is; when not given, it is the export on record that wrote the file, found by its hash.

    Raises:
        NotFound, BadInput: as `training_path`; or the file cannot be read, or has no row.
    """
    if not training:
        return Lineage(base_model=base_model, export_id=export_id)
    async with open_ledger() as ledger:
        file = await asyncio.to_thread(read_training_file, await training_path(ledger, training))
        export = None if export_id else await _of_file(ledger, file)
    return Lineage(
        base_model=base_model,
        export_id=str(export.id) if export else export_id,
        training_path=str(file.path.absolute()),
        training_sha256=file.sha256,
        training_rows=file.rows,
    )


async def _of_file(ledger: Ledger, file: TrainingFile) -> ExportRecord | None:
    return await _find(ledger, _BY_FILE, sha256=file.sha256, folder=str(file.path.absolute().parent))


async def _find(ledger: Ledger, query: TextClause, **values: object) -> ExportRecord | None:
    with database_errors():
        async with ledger.engine.connect() as connection:
            row = (await connection.execute(query, values)).one_or_none()
    return None if row is None else ExportRecord.model_validate(row)


def _path_or_id(said: str) -> Path | UUID:
    path = Path(said).expanduser()
    if path.is_dir():
        return path / TRAINING_FILE
    try:
        return path if path.exists() else UUID(said)
    except ValueError:
        return path
