"""Whatever a record of a kind holds, it becomes a row or a reject."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.migration.declaration import Table
from tasks.migration.kinds import find_kind
from tasks.migration.laboratory_scores import Scores
from tasks.migration.reading import RecordValidator
from tasks.migration.refusing import Refusal

MAPPING: dict[str, Any] = {
    "target": "ai_answers",
    "key": ["id"],
    "columns": {
        "thread_id": "thread",
        "content": "content",
        "confidence_score": {"from": "score", "scale": 100},
        "generated_at": {"from": "at", "format": "unix_ms"},
        "updated_at": {"from": "updated", "zone": "Europe/Berlin"},
        "endorsed_by": {"from": "by", "separator": ","},
        "instructor_endorsed": {"from": "endorsed", "map": {"yes": True}},
    },
}
FIELDS = {
    "llm_requests": (
        "id created_at user_id messages additional_params request_payload response_content context_data cost_estimate "
        "tokens_used prompt_tokens completion_tokens status cached execution_time_ms retry_attempt api_variant"
    ),
    "experiments": "id name prompt status temperature_min max_tokens created_at",
    "responses": "id experiment_id content response_time token_count created_at coherence_score",
    "quality_metrics": "response_id metric score analysis_version details created_at",
    "ai_answers": "id thread content score at updated by endorsed thread_id source attributes",
}
TEXTS = [
    *("", "NaN", "1e999999999", "-1", "completed", "pending", "true", "so, ", "[" * 5000, "9" * 5000),
    *("2025-09-08T10:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59"),
    '{"a": "\\u0000\\ud800"}',
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["messages", "role", "apiKey"]), inner),
    max_leaves=4,
)  # fmt: skip


def tables() -> list[Table]:
    kinds = [find_kind("llm-lab"), find_kind("llm-services"), find_kind("table", MAPPING)]
    return [table for kind in kinds for table in kind.tables if table.prepare is not None]


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_values_become_a_row_or_a_reject(table: Table, data: st.DataObject) -> None:
    names = FIELDS[table.name].split()
    record = data.draw(st.dictionaries(st.sampled_from(names), VALUES))
    result = RecordValidator(table, Refusal(), "s").validate([7], [record])
    assert len(result.rows) + len(result.rejects) == 1
    assert all(reject.reason for reject in result.rejects)
    assert b"apiKey" not in b"".join(value for row in result.rows for value in row if isinstance(value, bytes))


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(["metric_name", "score", "coherence_score", "overall_score", "id", "created_at"]), VALUES
    )
)
def test_any_values_become_scores_or_what_is_rejected_as_none(record: dict[str, Any]) -> None:
    scores = Scores(None, is_response=False)  # type: ignore[arg-type]
    found, scale = scores._found(record)
    scale.note(found)
    assert [row["metric"] for row in scores.rows(record)] == list(found)
