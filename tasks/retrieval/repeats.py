"""Passages of one material that are the same word for word: one of them is as good as all, and leaves room for others.

Equal texts of different materials are not the same: each says where else it stands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

DEEPER = 4
"""How many times as many candidates are read where too many of them repeat others."""

TextKey = tuple[str, str]
"""A material, and a digest of what a passage of it says."""

_TEXTS = text("""
    SELECT term_documents.number, chunks.material_id, md5(chunks.content) AS digest
    FROM unnest(CAST(:numbers AS integer[])) AS given (number)
    JOIN term_documents USING (number) JOIN chunks ON chunks.id = term_documents.chunk_id
""")


async def read_texts(connection: AsyncConnection, numbers: Iterable[int]) -> dict[int, TextKey]:
    """What tells the texts of these chunks apart, by number."""
    if not (asked := list(numbers)):
        return {}
    rows = (await connection.execute(_TEXTS, {"numbers": asked})).all()
    return {row.number: (row.material_id, row.digest) for row in rows}


def first_of_each(numbers: Iterable[int], texts: Mapping[int, TextKey]) -> list[int]:
    """`numbers` in their order, without those whose text came before."""
    kept: dict[TextKey | int, int] = {}
    for number in numbers:
        kept.setdefault(texts.get(number, number), number)
    return list(kept.values())


async def without_repeats(
    connection: AsyncConnection,
    found: Sequence[int],
    depth: int,
    look_deeper: Callable[[int], Awaitable[Sequence[int]]],
    texts: dict[int, TextKey],
    *,
    enough: int,
) -> list[int]:
    """Of the best `depth`, which are `found`, those that do not repeat others; more where they are not `enough`.

    Args:
        look_deeper: gives as many of the best as it is asked for; it is not asked where few of `found` repeat others.
        texts: what is known of the texts of `found`; what is read here is added.
    """
    asked = depth
    while len(kept := first_of_each(found, texts)) < enough and len(found) >= asked:
        asked *= DEEPER
        found = await look_deeper(asked)
        texts |= await read_texts(connection, [number for number in found if number not in texts])
    return kept[:depth]
