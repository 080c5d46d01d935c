"""The embedding endpoint, over real HTTP."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from blocks.embedded.embedding_model import TokenizedText, batches_by_length
from blocks.embedded.stack import EmbeddedStack, Endpoint


@pytest.fixture(scope="session")
def endpoint(shared_stack: EmbeddedStack) -> Endpoint:
    return shared_stack.embedding_endpoint()


def request(endpoint: Endpoint, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(endpoint.base_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def post(endpoint: Endpoint, **body: Any) -> tuple[int, dict[str, Any]]:
    encoded = json.dumps({"model": endpoint.model, **body}).encode()
    return request(endpoint, "POST", "/v1/embeddings", encoded)


def vectors(endpoint: Endpoint, *texts: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    status, answer = post(endpoint, input=list(texts))
    assert status == 200
    return np.array([item["embedding"] for item in answer["data"]])


def test_the_endpoint_says_what_it_is(endpoint: Endpoint) -> None:
    assert endpoint.model == "all-MiniLM-L6-v2-int8"
    assert endpoint.identity.startswith("all-MiniLM-L6-v2-int8@sha256:8199be6f699a395f")
    assert (endpoint.dimensions, endpoint.context_window) == (384, 256)
    assert request(endpoint, "GET", "/health") == (200, {"status": "ok"})
    status, models = request(endpoint, "GET", "/v1/models")
    assert (status, [model["id"] for model in models["data"]]) == (200, ["all-MiniLM-L6-v2-int8"])


def test_related_texts_are_nearer_than_unrelated_ones(endpoint: Endpoint) -> None:
    rent, landlord, kernel = vectors(
        endpoint,
        "A landlord may not raise the rent by more than three percent a year.",
        "Annual increases of rental payments are capped.",
        "The kernel schedules threads on the cores of a processor.",
    )
    assert rent @ landlord > 0.4 > 0.2 > rent @ kernel


def test_vectors_have_length_one_and_come_in_the_order_of_the_texts(endpoint: Endpoint) -> None:
    texts = [f"section {number} " + "of the housing act " * (number * 7 % 30) for number in range(70)]
    together = vectors(endpoint, *texts)
    assert together.shape == (70, 384)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    for index in (0, 1, 33, 69):
        alone = vectors(endpoint, texts[index])[0]
        assert alone @ together[index] > 0.9999
        assert int(np.argmax(together @ alone)) == index


def test_tokens_are_counted_with_the_marks_around_the_text(endpoint: Endpoint) -> None:
    # [CLS] hello world [SEP], and [CLS] hello [SEP]
    _, answer = post(endpoint, input=["hello world", "hello"])
    assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert [item["index"] for item in answer["data"]] == [0, 1]


def test_text_beyond_256_tokens_is_not_read(endpoint: Endpoint) -> None:
    # 254 words and the two marks
    short, long = "law " * 254, "law " * 254 + "piano " * 100
    first, second = vectors(endpoint, short, long)
    assert np.allclose(first, second, atol=1e-5)
    _, answer = post(endpoint, input=long)
    assert answer["usage"]["prompt_tokens"] == 256


def test_base64_carries_the_same_numbers(endpoint: Endpoint) -> None:
    _, answer = post(endpoint, input="the housing act", encoding_format="base64")
    decoded = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), dtype="<f4")
    assert np.allclose(decoded, vectors(endpoint, "the housing act")[0], atol=1e-6)


def test_the_openai_client_understands_it(endpoint: Endpoint) -> None:
    from openai import NotFoundError, OpenAI

    with OpenAI(base_url=endpoint.base_url, api_key="none", max_retries=0) as client:
        answer = client.embeddings.create(model=endpoint.model, input=["one", "two"])
        assert [len(item.embedding) for item in answer.data] == [384, 384]
        with pytest.raises(NotFoundError):
            client.models.retrieve("other")


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [1, 2]}, "input"),
        ({}, "input"),
        ({"input": "a", "model": "gpt-4o"}, "model"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 512}, "dimensions"),
    ],
)
def test_bad_requests_are_refused_as_openai_does(endpoint: Endpoint, body: dict[str, Any], parameter: str) -> None:
    status, answer = post(endpoint, **body)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["param"].startswith(parameter)
    assert answer["error"]["message"].startswith(parameter)


def test_a_body_that_is_no_json_is_refused(endpoint: Endpoint) -> None:
    status, answer = request(endpoint, "POST", "/v1/embeddings", b"{")
    assert (status, answer["error"]["param"]) == (400, None)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nowhere", 404), ("GET", "/v1/embeddings", 405)])
def test_wrong_paths_and_methods_are_errors_in_the_same_shape(
    endpoint: Endpoint, method: str, path: str, status: int
) -> None:
    found, answer = request(endpoint, method, path)
    assert (found, answer["error"]["type"]) == (status, "invalid_request_error")


def test_batches_hold_texts_of_similar_length() -> None:
    texts = [TokenizedText(position, (0,) * length) for position, length in enumerate([9, 1, 5] * 20)]
    batches = list(batches_by_length(texts))
    assert [len(batch) for batch in batches] == [32, 28]
    assert [len(text.ids) for text in batches[0]] == [1] * 20 + [5] * 12
    assert sorted(text.position for batch in batches for text in batch) == list(range(60))
