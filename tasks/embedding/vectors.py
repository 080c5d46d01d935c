"""Texts without a vector, and vectors into their generation, batch by batch with their bookkeeping."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from blocks.copying import copy_rows
from blocks.providers.token_bound import TOKENS_PER_TEXT, count_text_tokens
from schemas.embedding import SetAside
from schemas.vectors import Vector
from tasks.embedding.batches import Text
from tasks.embedding.templates import TEMPLATES, text_hash
from tasks.ledger.bodies import unpack_texts

PAGE = 1000
"""Texts that are looked up at once."""

_LACKS = """
    NOT EXISTS (SELECT FROM material_embeddings AS v WHERE v.generation_id = :generation
                AND v.content_hash = c.content_hash)
    AND NOT EXISTS (SELECT FROM embedding_failures AS f WHERE f.generation_id = :generation
                    AND f.content_hash = c.content_hash)
"""


@dataclass(frozen=True)
class Lacking:
    """What has to be embedded: the texts of a chunk set, of some courses or all, that a generation lacks.

    Attributes:
        generation: None for one that is not there yet, which lacks everything.
    """

    chunker: str
    template: str
    generation: int | None
    courses: tuple[str, ...] = ()

    @property
    def _where(self) -> str:
        courses = "AND m.course_id = ANY(CAST(:courses AS text[]))" if self.courses else ""
        return f"c.chunker = :chunker {courses} {f'AND {_LACKS}' if self.generation is not None else ''}"

    @property
    def _values(self) -> dict[str, object]:
        return {"chunker": self.chunker, "generation": self.generation, "courses": list(self.courses)}

    def count(self, connection: Connection) -> tuple[int, int]:
        """How many distinct texts there are, and the tokens of their chunks."""
        row = connection.execute(
            text(
                f"SELECT count(*) AS texts, coalesce(sum(tokens), 0) AS tokens FROM (SELECT DISTINCT ON "
                f"(c.content_hash) c.tokens FROM chunks AS c JOIN course_materials AS m ON m.id = c.material_id "
                f"WHERE {self._where} ORDER BY c.content_hash) AS lacking"
            ),
            self._values,
        ).one()
        return row.texts, row.tokens

    def page(self, connection: Connection, after: str, size: int = PAGE) -> list[Text]:
        """The next of them in the order of their hashes.

        A text that is no longer the one that was hashed, as its material has changed since, is left out.
        """
        rows = connection.execute(
            text(
                f"SELECT DISTINCT ON (c.content_hash) c.content_hash, m.title, c.heading_path, c.content "
                f"FROM chunks AS c JOIN course_materials AS m ON m.id = c.material_id "
                f"WHERE {self._where} AND c.content_hash > :after ORDER BY c.content_hash LIMIT :size"
            ),
            {**self._values, "after": after, "size": size},
        )
        render = TEMPLATES[self.template].render
        texts = [(row.content_hash, render(row.title, row.heading_path, row.content)) for row in rows]
        return [as_text(content, digest) for digest, content in texts if text_hash(content) == digest]


def as_text(content: str, content_hash: str = "") -> Text:
    """`content` with its hash and a bound on its tokens."""
    return Text(content_hash or text_hash(content), content, TOKENS_PER_TEXT + count_text_tokens(content))


_PAID = text("""
    SELECT calls.request -> 'texts' AS texts, bodies.reply, bodies.request, calls.answer_key
    FROM runs JOIN llm_requests AS calls ON calls.run_id = runs.id
    JOIN llm_bodies AS bodies ON bodies.request_id = calls.id
    WHERE runs.flow = :flow AND runs.subject = :subject AND runs.status <> 'completed' AND runs.project = :project
        AND calls.kind = 'embedding' AND calls.status = 'succeeded' AND bodies.reply IS NOT NULL
        AND calls.id NOT IN (SELECT request_id FROM material_embeddings
                             WHERE generation_id = :generation AND request_id IS NOT NULL)
    ORDER BY calls.id
""")


def paid_batches(
    connection: Connection, *, flow: str, subject: str, project: str, generation: int
) -> list[tuple[tuple[Text, ...], str]]:
    """What interrupted runs asked, were answered and did not store, each with its call's key.

    Asked again alike, it is replayed for nothing.
    """
    values = {"flow": flow, "subject": subject, "project": project, "generation": generation}
    found = []
    for row in connection.execute(_PAID, values):
        texts = row.texts if isinstance(row.texts, list) else unpack_texts(row.reply, row.request)
        found.append((tuple(as_text(content) for content in texts), row.answer_key))
    return found


def still_lacking(connection: Connection, lacking: Lacking, hashes: Sequence[str]) -> set[str]:
    """Those of `hashes` that some chunk has and the generation lacks."""
    found = connection.execute(
        text(
            f"SELECT DISTINCT c.content_hash FROM chunks AS c JOIN course_materials AS m ON m.id = c.material_id "
            f"WHERE {lacking._where} AND c.content_hash = ANY(CAST(:hashes AS text[]))"
        ),
        {**lacking._values, "hashes": list(hashes)},
    )
    return set(found.scalars())


def as_stored(vectors: Sequence[Vector]) -> list[bytes | None]:
    """The binary form of pgvector's `vector` (`vector_send`): dimensions, nothing, then big-endian floats.

    None where the cosine to anything would be undefined: a length of zero, or no numbers.
    """
    import numpy

    numbers = numpy.asarray([numpy.asarray(vector) for vector in vectors], dtype="=f4")
    head = struct.pack(">hh", numbers.shape[1], 0)
    lengths = numpy.linalg.norm(numbers, axis=1)
    rows = numbers.astype(">f4")
    good = numpy.isfinite(lengths) & (lengths > 0)
    return [head + row.tobytes() if fine else None for row, fine in zip(rows, good, strict=True)]


_PAYER = text("SELECT coalesce(replayed_from, id) FROM llm_requests WHERE id = :request")


def store_vectors(
    connection: Connection,
    generation: int,
    texts: Sequence[Text],
    vectors: Sequence[bytes],
    request: UUID,
    *,
    replayed: bool,
) -> None:
    """The texts have their vectors in the generation; `request` is the call, which may have replayed another."""
    payer = (replayed and connection.execute(_PAYER, {"request": request}).scalar()) or request
    rows = ((generation, each.content_hash, vector, payer) for each, vector in zip(texts, vectors, strict=True))
    columns = ("generation_id", "content_hash", "embedding", "request_id")
    copy_rows(connection, "material_embeddings", columns, ("int4", "text", "bytea", "uuid"), rows)


def store_failure(connection: Connection, generation: int, failure: SetAside) -> None:
    """The text is set aside."""
    connection.execute(
        text(
            "INSERT INTO embedding_failures (generation_id, content_hash, reason, error_class) "
            "VALUES (:generation, :content_hash, :reason, :error_class) ON CONFLICT (generation_id, content_hash) "
            "DO UPDATE SET reason = excluded.reason, error_class = excluded.error_class, at = clock_timestamp()"
        ),
        {"generation": generation, **failure.model_dump()},
    )


def forget_failures(connection: Connection, generation: int) -> None:
    """What was set aside is tried again."""
    connection.execute(
        text("DELETE FROM embedding_failures WHERE generation_id = :generation"), {"generation": generation}
    )
