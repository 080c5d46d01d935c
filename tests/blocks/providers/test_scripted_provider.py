"""The scripted provider itself, on which other tests rely."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scripted_provider import Fault, Reply, ScriptedProvider
from tests.scripted_provider.faults import FaultPlan
from tests.scripted_provider.instances import InstanceMaker
from tests.scripted_provider.log import read_log
from tests.scripted_provider.patterns import text_matching

ROOT = Path(__file__).parents[3]
HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}


def ask(url: str, body: Any = None, path: str = "/chat/completions", key: str = "k") -> tuple[int, Any]:
    """Status and parsed body of a POST with a plain client."""
    request = urllib.request.Request(
        url + path,
        data=json.dumps(HELLO if body is None else body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_the_openai_package_reads_its_answers() -> None:
    from openai import OpenAI

    with ScriptedProvider(lambda request: request["messages"][-1]["content"].upper()) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        chat = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
        vectors = client.embeddings.create(model="text-embedding-3-small", input=["rent", "permit"])
        models = [model.id for model in client.models.list()]
    assert chat.choices[0].message.content == "HELLO"
    assert chat.usage is not None
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (4 + 2, 2)
    assert [len(row.embedding) for row in vectors.data] == [384, 384]
    assert "gpt-4o-mini" in models


def test_the_same_request_gets_the_same_answer_and_the_same_hash() -> None:
    with ScriptedProvider() as provider:
        answers = [ask(provider.url)[1]["choices"][0]["message"]["content"] for _ in range(2)]
        ask(provider.url, {**HELLO, "seed": 1})
    first, second, third = provider.log
    assert answers[0] == answers[1]
    assert first.sha256 == second.sha256 != third.sha256
    assert [served.number for served in provider.log] == [1, 2, 3]
    assert provider.paid == 3


def test_faults_come_by_number_and_only_whole_answers_count_as_paid() -> None:
    faults = {1: "429", 2: Fault("status", status=503, retry_after=2), 3: "broken_json", 4: "wrong_schema"}
    with ScriptedProvider(faults=faults) as provider:
        limited, busy = ask(provider.url)[0], ask(provider.url)[0]
        with pytest.raises(json.JSONDecodeError):
            ask(provider.url)
        wrong = ask(provider.url)[1]
    assert (limited, busy) == (429, 503)
    assert wrong["choices"][0]["message"]["content"] == '{"unexpected": true}'
    assert [served.paid for served in provider.log] == [False, False, False, True]
    assert [served.fault for served in provider.log] == ["status", "status", "broken_json", "wrong_schema"]


def test_chances_are_drawn_by_seed_and_near_their_probability() -> None:
    plan, again = (FaultPlan.of({"429": 0.3, "500": 0.1, "hang": 0.05}, seed=4) for _ in range(2))
    drawn = [plan.fault_for(number) for number in range(1, 2001)]
    assert drawn == [again.fault_for(number) for number in range(1, 2001)]
    share = {
        status: sum(f is not None and f.kind == "status" and f.status == status for f in drawn) / 2000
        for status in (429, 500)
    }
    assert share[429] == pytest.approx(0.3, abs=0.04)
    assert share[500] == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**HELLO, "temprature": 1}, "unknown_parameter"),
        ({**HELLO, "temperature": 3}, "invalid_value"),
        ({**HELLO, "temperature": "hot"}, "invalid_type"),
        ({**HELLO, "messages": []}, "empty_array"),
        ({**HELLO, "messages": [{"role": "nobody", "content": "x"}]}, "invalid_type"),
        ({**HELLO, "max_tokens": 99}, "context_length_exceeded"),
        ({"messages": []}, "invalid_type"),
        (
            {
                **HELLO,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "strict": True, "schema": {"type": "object", "properties": {}}},
                },
            },
            "invalid_json_schema",
        ),
    ],
)
def test_what_openai_would_not_take_is_refused(body: Any, code: str) -> None:
    with ScriptedProvider(context_window=50) as provider:
        status, answer = ask(provider.url, body)
    assert (status, answer["error"]["code"]) == (400, code)
    assert provider.paid == 0


@pytest.mark.parametrize("texts", [[], ["a", ""], ["x" * 999]])
def test_texts_openai_would_not_embed_are_refused(texts: list[str]) -> None:
    with ScriptedProvider(context_window=50) as provider:
        status, _ = ask(provider.url, {"model": "m", "input": texts}, path="/embeddings")
    assert status == 400


def test_keys_and_models_are_checked_where_asked() -> None:
    with ScriptedProvider(api_key="k", models=["gpt-4o-mini"]) as provider:
        good = ask(provider.url)
        wrong_key = ask(provider.url, key="other")
        unknown = ask(provider.url, {**HELLO, "model": "gpt-9"})
    assert good[0] == 200
    assert (wrong_key[0], wrong_key[1]["error"]["code"]) == (401, "invalid_api_key")
    assert (unknown[0], unknown[1]["error"]["code"]) == (404, "model_not_found")


def test_texts_that_share_words_have_vectors_that_lie_close() -> None:
    with ScriptedProvider() as provider:
        texts = ["rent control act", "the rent control bill", "boat license fee"]
        _, answer = ask(provider.url, {"model": "m", "input": texts}, path="/embeddings")
    near, far, other = (row["embedding"] for row in answer["data"])
    assert _dot(near, near) == pytest.approx(1, abs=1e-5)
    assert _dot(near, far) > 0.4 > _dot(near, other)


def _dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


async def test_held_answers_wait_until_they_are_released() -> None:
    async with ScriptedProvider() as provider:
        provider.hold()
        asked = [asyncio.create_task(asyncio.to_thread(ask, provider.url)) for _ in range(3)]
        await provider.held(3)
        assert provider.log == []
        provider.release()
        answers = await asyncio.gather(*asked)
    assert [status for status, _ in answers] == [200, 200, 200]


def test_waiting_for_requests_that_do_not_come_ends() -> None:
    with ScriptedProvider() as provider, pytest.raises(TimeoutError, match="0 of 1"):
        provider.wait_held(1, timeout=0.01)


def test_stopping_does_not_wait_for_requests_that_hang() -> None:
    with ScriptedProvider(faults={1: "hang"}) as provider, pytest.raises(TimeoutError):
        urllib.request.urlopen(
            urllib.request.Request(provider.url + "/chat/completions", data=json.dumps(HELLO).encode()), timeout=0.3
        )
    assert [(served.status, served.paid, served.fault) for served in provider.log] == [(0, False, "hang")]


async def answer_later(request: dict[str, Any]) -> Reply:
    """Used by name from the command line below."""
    await asyncio.sleep(0)
    return Reply(f"later: {request['model']}", usage={"prompt_tokens": 77})


def test_as_a_process_it_prints_its_address_and_keeps_its_log_in_a_file(tmp_path: Path) -> None:
    log = tmp_path / "served.jsonl"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.scripted_provider", "--log", str(log), "--latency-ms", "1"),
            *("--faults", '{"2": 0}', "--respond", f"{__name__}:answer_later", "--models", "gpt-4o-mini,gpt-4o"),
        ],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        status, answer = ask(url)
        served = read_log(log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "later: gpt-4o-mini")
    assert [(row.status, row.paid, row.input_tokens, row.body) for row in served] == [(200, True, 77, None)]


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none") == []


names = st.sampled_from(["a", "b", "type", "items"])
leaves = st.one_of(
    st.builds(lambda low, width: {"type": "integer", "minimum": low, "maximum": low + width},
              st.integers(-50, 50), st.integers(0, 9)),
    st.builds(lambda low, width: {"type": "number", "exclusiveMinimum": low, "maximum": low + width},
              st.integers(-50, 50), st.integers(1, 9)),
    st.builds(lambda step: {"type": "integer", "multipleOf": step, "minimum": 3, "maximum": 40}, st.integers(1, 20)),
    st.builds(lambda low, width: {"type": "string", "minLength": low, "maxLength": low + width},
              st.integers(0, 60), st.integers(0, 9)),
    st.sampled_from([
        {"type": "boolean"}, {"type": "null"}, {"enum": ["x", 2, None]}, {"const": [1]}, {"type": ["string", "null"]},
        {"type": "string", "pattern": "^[A-Z]{2}-\\d{3}(a|b)?$"}, {"type": "number", "multipleOf": 0.5}, {},
    ]),
)  # fmt: skip
schemas = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.builds(lambda p, r: {"type": "object", "properties": p, "required": sorted(p)[: len(r)]},
                  st.dictionaries(names, parts, max_size=3), st.lists(names, max_size=3)),
        st.builds(lambda p, low, width: {"type": "array", "items": p, "minItems": low, "maxItems": low + width},
                  parts, st.integers(0, 3), st.integers(0, 2)),
        st.builds(lambda p: {"anyOf": p}, st.lists(parts, min_size=1, max_size=3)),
        st.builds(lambda p: {"allOf": [p]}, parts),
        st.builds(lambda p: {"type": "object", "additionalProperties": p, "minProperties": 2}, parts),
        st.builds(lambda p: {"type": "array", "prefixItems": [p, p], "minItems": 2}, parts),
    ),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(schemas, st.text(max_size=5))
def test_a_made_answer_fits_its_schema_and_is_the_same_each_time(schema: dict[str, Any], seed: str) -> None:
    made = InstanceMaker(schema, seed).make()
    jsonschema.Draft202012Validator(schema).validate(made)
    assert InstanceMaker(schema, seed).make() == made


def test_a_recursive_schema_ends() -> None:
    node = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}, "minItems": 0}},
        "required": ["children"],
    }
    schema = {"$ref": "#/$defs/Node", "$defs": {"Node": node}}
    for seed in range(20):
        made = InstanceMaker(schema, str(seed)).make()
        assert jsonschema.Draft202012Validator(schema).is_valid(made)


@pytest.mark.parametrize("pattern", ["^a.b$", "[^a-c]{3}", r"\w+\s\D", "(foo|bar)x?", "é*?", r"[\d_]{2,}", "[^x]y"])
def test_a_made_text_matches_its_pattern(pattern: str) -> None:
    import random
    import re

    for seed in range(20):
        assert re.search(pattern, text_matching(pattern, random.Random(seed)))


def test_a_pattern_beyond_the_generator_is_said_to_be_so() -> None:
    import random

    with pytest.raises(ValueError, match="GROUPREF"):
        text_matching(r"(a)\1", random.Random(0))
