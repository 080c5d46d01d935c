"""Materials into chunks: what changed is found by fingerprint, cut, and stored with its bookkeeping page by page.

A chunk whose text is still there keeps its id, wherever it moved to. Everything of a page is one transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from blocks.copying import copy_rows
from schemas.embedding import Changes
from schemas.identifiers import new_id
from tasks.embedding.pieces import Chunker, Piece
from tasks.embedding.templates import Template
from tasks.ledger.rows import as_records

PAGE = 500
"""Materials that are cut and stored in one transaction."""

IndexTerms = Callable[[Connection, Sequence[UUID]], object]
"""Keeps the index of words right, in the transaction that stores the chunks."""


@dataclass(frozen=True)
class ChunkSet:
    """The chunks that one chunker and one template make."""

    chunker: Chunker
    template: Template

    @property
    def name(self) -> str:
        """As `chunks.chunker` and `embedding_generations.chunker` have it."""
        return f"{self.chunker.name}/{self.template.name}"

    @property
    def fingerprint(self) -> str:
        """SQL of what chunks of a material `m` depend on; week, type and keywords are no part of it."""
        title = "length(m.title) || ':' || m.title || " if self.template.uses_title else ""
        form = "coalesce(m.attributes ->> 'format', '') || ':' || "
        return f"encode(sha256(convert_to({title}{form}m.content, 'UTF8')), 'hex')"


@dataclass(frozen=True)
class Cut:
    """A material with the pieces that it was cut into."""

    material_id: str
    title: str
    fingerprint: str
    known: bool
    pieces: Sequence[Piece]

    def rows(self, chunks: ChunkSet) -> Iterator[tuple[object, ...]]:
        """As `chunks` has them, in the order of `_COLUMNS`."""
        text_hash = chunks.template.hash
        for ordinal, piece in enumerate(self.pieces):
            path = list(piece.heading_path)
            digest = text_hash(self.title, path, piece.content)
            place = (ordinal, path, piece.content, piece.start, piece.end, piece.tokens, digest)
            yield (new_id(), self.material_id, chunks.name, *place)


@dataclass(frozen=True)
class Found:
    """Materials that are to be cut, and how many are not."""

    changed: tuple[str, ...]
    unchanged: int


def find_changed(connection: Connection, chunks: ChunkSet, courses: Sequence[str]) -> Found:
    """The materials whose fingerprint is not the one on record, of `courses` or of all."""
    found = connection.execute(
        text(
            f"SELECT m.id, CASE WHEN k.fingerprint IS NULL THEN false ELSE k.fingerprint = {chunks.fingerprint} END "
            f"AS same FROM course_materials AS m "
            f"LEFT JOIN embedded_materials AS k ON k.material_id = m.id AND k.chunker = :chunker "
            f"WHERE :everywhere OR m.course_id = ANY(CAST(:courses AS text[])) ORDER BY m.id"
        ),
        {"chunker": chunks.name, "everywhere": not courses, "courses": list(courses)},
    ).all()
    changed = tuple(row.id for row in found if not row.same)
    return Found(changed, len(found) - len(changed))


def cut_materials(connection: Connection, chunks: ChunkSet, ids: Sequence[str]) -> list[Cut]:
    """Those of `ids` that are there, cut; they stay there until the transaction of `connection` ends."""
    rows = connection.execute(
        text(
            f"SELECT m.id, m.title, m.content, m.attributes ->> 'format' AS format, {chunks.fingerprint} AS print, "
            f"k.material_id IS NOT NULL AS known FROM course_materials AS m "
            f"LEFT JOIN embedded_materials AS k ON k.material_id = m.id AND k.chunker = :chunker "
            f"WHERE m.id = ANY(CAST(:ids AS text[])) ORDER BY m.id FOR KEY SHARE OF m"
        ),
        {"chunker": chunks.name, "ids": list(ids)},
    )
    split = chunks.chunker.split
    return [
        Cut(
            row.id,
            row.title,
            row.print,
            row.known,
            [piece for piece in split(row.content, row.format) if piece.content],
        )
        for row in rows
    ]


_COLUMNS = (
    "id", "material_id", "chunker", "ordinal", "heading_path", "content", "start_char", "end_char", "tokens",
    "content_hash",
)  # fmt: skip
_TYPES = ("uuid", "text", "text", "int4", "text[]", "text", "int4", "int4", "int4", "text")
_NOTED = ("chunker", "material_id", "fingerprint", "chunks")
_NOTED_TYPES = ("text", "text", "text", "int4")


def store_cuts(
    connection: Connection, chunks: ChunkSet, cuts: Sequence[Cut], index_terms: IndexTerms | None
) -> tuple[Changes, Changes]:
    """The chunks of the materials are those of `cuts`; returns what became of materials and of chunks."""
    known, fresh = [cut for cut in cuts if cut.known], [cut for cut in cuts if not cut.known]
    touched: list[object] = []
    changes = Changes()
    if fresh:
        rows = [row for cut in fresh for row in cut.rows(chunks)]
        copy_rows(connection, "chunks", _COLUMNS, _TYPES, rows)
        noted = ((chunks.name, cut.material_id, cut.fingerprint, len(cut.pieces)) for cut in fresh)
        copy_rows(connection, "embedded_materials", _NOTED, _NOTED_TYPES, noted)
        changes, touched = Changes(added=len(rows)), [row[0] for row in rows]
    if known:
        more, others = _replace(connection, chunks, known)
        _note_again(connection, chunks, known)
        changes, touched = changes + more, [*touched, *others]
    if index_terms is not None and touched:
        index_terms(connection, touched)  # type: ignore[arg-type]
    return Changes(added=len(fresh), updated=len(known)), changes


def _replace(connection: Connection, chunks: ChunkSet, cuts: Sequence[Cut]) -> tuple[Changes, list[object]]:
    """As `store_cuts`, of materials that have chunks; also the ids of chunks with another text than before."""
    values = {"chunker": chunks.name, "ids": [cut.material_id for cut in cuts]}
    connection.execute(text("CREATE TEMPORARY TABLE new_pieces (LIKE chunks) ON COMMIT DROP"))
    copy_rows(connection, "new_pieces", _COLUMNS, _TYPES, (row for cut in cuts for row in cut.rows(chunks)))
    connection.execute(text(f"UPDATE chunks SET ordinal = -1 - ordinal WHERE {_OURS}"), values)
    kept = connection.execute(text(_KEEP), values).all()
    connection.execute(text("DELETE FROM new_pieces WHERE id = ANY(:ids)"), {"ids": [row.staged for row in kept]})
    gone = Counter(
        connection.execute(
            text(f"DELETE FROM chunks WHERE {_OURS} AND ordinal < 0 RETURNING material_id"), values
        ).scalars()
    )
    come = connection.execute(text("INSERT INTO chunks SELECT * FROM new_pieces RETURNING id, material_id")).all()
    connection.execute(text("DROP TABLE new_pieces"))
    came = Counter(row.material_id for row in come)
    exchanged = (came & gone).total()
    other_text = [row.id for row in kept if row.other_text]
    changes = Changes(
        added=len(come) - exchanged,
        updated=exchanged + len(other_text),
        skipped=len(kept) - len(other_text),
        deleted=gone.total() - exchanged,
    )
    return changes, [*other_text, *(row.id for row in come)]


_OURS = "chunker = :chunker AND material_id = ANY(CAST(:ids AS text[]))"
# Equal texts of one material are told apart by their order; what moved is found at its new place.
_KEEP = f"""
    WITH old AS (
        SELECT id, material_id, content, content_hash,
               row_number() OVER (PARTITION BY material_id, content ORDER BY ordinal DESC) AS place
        FROM chunks WHERE {_OURS}
    ), new AS (
        SELECT *, row_number() OVER (PARTITION BY material_id, content ORDER BY ordinal) AS place FROM new_pieces
    ), same AS (
        SELECT old.id AS kept, old.content_hash AS hash_before, new.* FROM old
        JOIN new USING (material_id, content, place)
    )
    UPDATE chunks SET ordinal = same.ordinal, heading_path = same.heading_path, start_char = same.start_char,
                      end_char = same.end_char, tokens = same.tokens, content_hash = same.content_hash
    FROM same WHERE chunks.id = same.kept
    RETURNING chunks.id, same.id AS staged, same.hash_before <> same.content_hash AS other_text
"""


def _note_again(connection: Connection, chunks: ChunkSet, cuts: Sequence[Cut]) -> None:
    connection.execute(
        text(
            "UPDATE embedded_materials AS k SET fingerprint = new.fingerprint, chunks = new.chunks, "
            "at = clock_timestamp() FROM jsonb_to_recordset(CAST(:rows AS jsonb)) "
            "AS new(material_id text, fingerprint text, chunks int) "
            "WHERE k.chunker = :chunker AND k.material_id = new.material_id"
        ),
        {
            "chunker": chunks.name,
            "rows": as_records(
                {"material_id": cut.material_id, "fingerprint": cut.fingerprint, "chunks": len(cut.pieces)}
                for cut in cuts
            ),
        },
    )


def forget_deleted(connection: Connection, chunker: str) -> tuple[int, int]:
    """Materials that are gone are off the record; returns how many these and their chunks of `chunker` were."""
    gone = connection.execute(
        text(
            "DELETE FROM embedded_materials AS k WHERE NOT EXISTS (SELECT FROM course_materials AS m "
            "WHERE m.id = k.material_id) RETURNING chunker, chunks"
        )
    ).all()
    counts = [row.chunks for row in gone if row.chunker == chunker]
    return len(counts), sum(counts)


def sweep_vectors(connection: Connection) -> int:
    """No generation has a vector or a failure of a text that none of its chunks has; returns how many vectors went."""
    unused = (
        "DELETE FROM {} AS v USING embedding_generations AS g WHERE g.id = v.generation_id AND NOT EXISTS "
        "(SELECT FROM chunks AS c WHERE c.chunker = g.chunker AND c.content_hash = v.content_hash)"
    )
    connection.execute(text(unused.format("embedding_failures")))
    return connection.execute(text(unused.format("material_embeddings"))).rowcount
