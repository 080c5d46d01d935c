"""The HNSW index of a generation, and whether what it finds is what is nearest."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from schemas.embedding import Agreement, GenerationRecord

NEAREST = 10
ROUNDING = 1e-6
"""Two sums of the same numbers may differ by so much."""
SAMPLE = 50
"""Stored texts that are asked with."""
EF_SEARCH = 100
"""How many candidates a search through the index keeps; pgvector's own 40 finds too few of clustered vectors."""
WIDEST_VECTOR = 2000
"""Dimensions above which an index of pgvector takes half-precision numbers only."""
LEAST_MEMORY_MB, MOST_MEMORY_MB = 64, 1024
WORKERS = 2
NOT_OURS = "42501"


def index_name(generation: int) -> str:
    """The name of the generation's HNSW index."""
    return f"headrace_hnsw_{generation}"


def typed(dimensions: int, column: str = "embedding") -> str:
    """SQL of the column as the index has it; queries spell it alike."""
    kind = "vector" if dimensions <= WIDEST_VECTOR else "halfvec"
    return f"({column}::{kind}({dimensions}))"


def operators(dimensions: int) -> str:
    """The operator class of cosine distance, `<=>`."""
    return "vector_cosine_ops" if dimensions <= WIDEST_VECTOR else "halfvec_cosine_ops"


def build_index(connection: Connection, generation: GenerationRecord) -> bool:
    """The generation has its index; searches go on meanwhile.

    The graph is built in memory by several processes; both are raised for this transaction only. False where the
    user of the database does not own the table and so cannot make an index.
    """
    graph_mb = generation.vectors * (4 * generation.dimensions + 512) // 2**20
    memory = min(max(LEAST_MEMORY_MB, 2 * graph_mb), MOST_MEMORY_MB)
    connection.execute(text(f"SET LOCAL maintenance_work_mem = '{memory}MB'"))
    connection.execute(text(f"SET LOCAL max_parallel_maintenance_workers = {WORKERS}"))
    try:
        with connection.begin_nested():
            connection.execute(
                text(
                    f"CREATE INDEX {index_name(generation.id)} ON material_embeddings USING hnsw "
                    f"({typed(generation.dimensions)} {operators(generation.dimensions)}) "
                    f"WHERE generation_id = {generation.id}"
                )
            )
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != NOT_OURS:
            raise
        return False
    connection.execute(
        text("UPDATE embedding_generations SET index_built = true WHERE id = :id"), {"id": generation.id}
    )
    return True


def drop_index(connection: Connection, generation: int) -> None:
    """The generation has no index."""
    connection.execute(text(f"DROP INDEX IF EXISTS {index_name(generation)}"))


_EXACT = {"enable_indexscan": "off"}
# A sort that costs too much leaves the planner only the index, which gives rows in order.
_BY_INDEX = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}


def compare(connection: Connection, generation: GenerationRecord, active: GenerationRecord | None) -> Agreement:
    """How the generation's index compares with an exact search, and its search with that of `active`.

    The queries are stored texts, whose vectors are there, so that nobody is asked; a text is not its own neighbour.
    """
    exact = _nearest(connection, generation, _EXACT)
    found = _nearest(connection, generation, _BY_INDEX) if generation.index_built else None
    before = _nearest(connection, active, _EXACT, of=list(exact)) if active else {}
    same = [len(set(near) & set(exact[each])) / len(near) for each, near in before.items() if near]
    return Agreement(
        sample=len(exact),
        recall=None if found is None else recall_of(list(exact.values()), [found[each] for each in exact]),
        overlap=_mean(same),
    )


Neighbours = dict[str, float]
"""The texts nearest to one, by hash, with their distances, nearest first."""


def recall_of(exact: Sequence[Neighbours], found: Sequence[Neighbours]) -> float | None:
    """Mean share of as many as are wanted that are no farther than the farthest wanted; None where nothing is wanted.

    By distance, so that of texts equally far one is as good as the other (Aumüller, Bernhardsson and Faithfull,
    "ANN-Benchmarks", 2020, section 2.2).
    """
    shares = []
    for wanted, near in zip(exact, found, strict=True):
        if wanted:
            farthest = max(wanted.values()) + ROUNDING
            shares.append(min(1.0, sum(distance <= farthest for distance in near.values()) / len(wanted)))
    return _mean(shares)


def _nearest(
    connection: Connection, generation: GenerationRecord, planner: dict[str, str], of: Sequence[str] | None = None
) -> dict[str, Neighbours]:
    """For each text of the sample, or of `of`, the texts nearest to it."""
    settings = {"hnsw.ef_search": str(EF_SEARCH), "jit": "off", **planner}
    named = "" if of is None else "AND content_hash = ANY(CAST(:of AS text[]))"
    distance = f"{typed(generation.dimensions, 'v.embedding')} <=> {typed(generation.dimensions, 's.embedding')}"
    with connection.begin_nested() as transaction:
        for name, value in settings.items():
            connection.execute(text(f"SET LOCAL {name} = {value}"))
        rows = connection.execute(
            text(
                f"WITH sample AS MATERIALIZED (SELECT content_hash, embedding FROM material_embeddings "
                f"WHERE generation_id = :id {named} ORDER BY content_hash LIMIT {SAMPLE}) "
                f"SELECT s.content_hash, near.hashes, near.distances FROM sample AS s CROSS JOIN LATERAL ("
                f"SELECT array_agg(content_hash ORDER BY distance) AS hashes, "
                f"array_agg(distance ORDER BY distance) AS distances FROM ("
                f"SELECT v.content_hash, {distance} AS distance FROM material_embeddings AS v "
                f"WHERE v.generation_id = {generation.id} ORDER BY {distance} LIMIT {NEAREST + 1}) AS nearest) AS near"
            ),
            {"id": generation.id, "of": list(of or ())},
        ).all()
        transaction.rollback()  # and with it the settings
    return {row.content_hash: _others(row.content_hash, row.hashes, row.distances) for row in rows}


def _others(asked: str, hashes: Sequence[str], distances: Sequence[float]) -> Neighbours:
    found = {each: distance for each, distance in zip(hashes, distances, strict=True) if each != asked}
    return dict(list(found.items())[:NEAREST])


def _mean(shares: Sequence[float]) -> float | None:
    return sum(shares) / len(shares) if shares else None
