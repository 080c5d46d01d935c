"""Answers and their citations as rows."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.answering import CitedAnswer, CitedPassage
from schemas.canonical import postgres_json, postgres_text

_INSERT_ANSWER = text("""
    INSERT INTO ai_answers (id, thread_id, course_id, content, confidence_level, confidence_score, generated_at,
                            user_id, question, answered, model, request_id, attributes)
    VALUES (:id, :thread, :course, :content, :level, :score, clock_timestamp(),
            :user, :question, :answered, :model, :request, CAST(:attributes AS jsonb))
    ON CONFLICT (id) DO NOTHING
""")
# What has left since it was shown is no longer referred to; its words stay.
_INSERT_CITATIONS = text("""
    INSERT INTO citations (id, answer_id, material_id, course_id, ordinal, title, source_type, excerpt, relevance,
                           chunk_id, start_char, end_char)
    SELECT :answer || '/cite-' || cited.ordinal, :answer, materials.id, materials.course_id, cited.ordinal, cited.title,
           cited.type, cited.quote, round(100 * cited.relevance)::int, chunks.id, cited.start, cited.end
    FROM jsonb_to_recordset(CAST(:citations AS jsonb)) AS cited(
        ordinal int, title text, type text, quote text, relevance float8, material_id text, chunk_id uuid,
        start int, "end" int)
    LEFT JOIN course_materials AS materials ON materials.id = cited.material_id
    LEFT JOIN chunks ON chunks.id = cited.chunk_id
    ON CONFLICT (id) DO NOTHING
""")
_ANSWERED = text("""
    UPDATE threads SET status = 'answered', updated_at = clock_timestamp() WHERE id = :thread AND status = 'open'
""")


async def store_answer(connection: AsyncConnection, answer: CitedAnswer) -> None:
    """The answer and its citations are rows, once, and the thread that it answers is no longer open."""
    attributes: dict[str, object] = {
        "confidence": answer.confidence.model_dump(mode="json"),
        "shown": [str(each) for each in answer.shown],
    }
    if answer.proposed:
        attributes["proposed"] = [each.model_dump(mode="json") for each in answer.proposed]
        attributes["narrowed"] = answer.narrowed
    values = {
        "id": answer.id,
        "thread": answer.thread_id,
        "course": answer.courses[0] if len(answer.courses) == 1 else None,
        "content": postgres_text(answer.text),
        "level": answer.confidence.level,
        "score": answer.confidence.score,
        "user": answer.user,
        "question": answer.question,
        "answered": answer.answered,
        "model": answer.model,
        "request": answer.request_id,
        "attributes": _json(attributes),
    }
    await connection.execute(_INSERT_ANSWER, values)
    if answer.citations:
        cited = _json([_row(each) for each in answer.citations])
        await connection.execute(_INSERT_CITATIONS, {"answer": answer.id, "citations": cited})
    if answer.thread_id is not None and answer.answered:
        await connection.execute(_ANSWERED, {"thread": answer.thread_id})


def _row(citation: CitedPassage) -> dict[str, object]:
    return citation.model_dump(mode="json", exclude={"heading_path", "week", "course_id"})


def _json(value: object) -> str:
    import orjson

    return orjson.dumps(postgres_json(value)).decode()
