"""What goes wrong between us and an OpenAI-compatible server, over real HTTP, and the error each thing becomes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from blocks.providers.exchange import Exchange
from blocks.providers.registry import Providers
from schemas.errors import (
    AuthenticationFailed,
    BadInput,
    ConfigurationError,
    ContentRefused,
    ContextLengthExceeded,
    CreditExhausted,
    HeadraceError,
    ModelNotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)
from tests.blocks.providers.conftest import KEY, ask, settings_for
from tests.scripted_provider import Fault, Reply, ScriptedProvider


async def failure_with(reply: Reply, **options: Any) -> tuple[HeadraceError, Exchange]:
    """The error and the exchange of one call that `reply` answers."""
    exchange = Exchange()
    async with (
        ScriptedProvider(lambda _: reply, **options) as server,
        Providers(settings_for(server.url), None) as providers,
    ):
        with pytest.raises(HeadraceError) as failure:
            await providers.chat(ask(), timeout_seconds=10, exchange=exchange)
    return failure.value, exchange


def error_body(**fields: Any) -> bytes:
    return orjson.dumps({"error": {"message": "in words", "type": None, "param": None, "code": None, **fields}})


@pytest.mark.parametrize(
    ("status", "fields", "kind"),
    [
        (400, {"code": "context_length_exceeded"}, ContextLengthExceeded),
        (400, {"type": "exceed_context_size_error", "code": 400}, ContextLengthExceeded),
        (400, {"code": "content_filter"}, ContentRefused),
        (400, {"code": "unsupported_value", "param": "temperature"}, BadInput),
        (413, {}, BadInput),
        (422, {}, BadInput),
        (401, {"code": "invalid_api_key"}, AuthenticationFailed),
        (402, {}, CreditExhausted),
        (403, {"code": "unsupported_country_region_territory"}, AuthenticationFailed),
        (404, {"code": "model_not_found"}, ModelNotFound),
        (404, {}, ModelNotFound),
        (307, {}, ConfigurationError),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, CreditExhausted),
        (429, {"code": "rate_limit_exceeded"}, RateLimited),
        (408, {}, ProviderUnavailable),
        (409, {}, ProviderUnavailable),
        (500, {}, ProviderUnavailable),
        (503, {"type": "overloaded_error"}, ProviderUnavailable),
        (529, {}, ProviderUnavailable),
    ],
)
async def test_a_status_and_its_codes_decide_the_error(status: int, fields: dict[str, Any], kind: type) -> None:
    body = error_body(**fields)
    error, exchange = await failure_with(Reply(status=status, body=body))
    assert type(error) is kind
    assert error.details["status"] == status
    assert (exchange.status, exchange.response_bytes) == (status, body)
    assert exchange.request_bytes is not None
    assert orjson.loads(exchange.request_bytes)["model"] == "gpt-4o-mini"


async def test_the_message_names_what_the_request_got_wrong() -> None:
    error, _ = await failure_with(Reply(status=400, body=error_body(code="unsupported_value", param="temperature")))
    assert "param temperature" in str(error)
    assert "code unsupported_value" in str(error)
    assert "gpt-4o-mini" in str(error)


async def test_the_words_of_the_provider_are_recorded_and_not_repeated() -> None:
    body = error_body(message="bad: Is the bill short?", code="Is the bill short?")
    error, exchange = await failure_with(Reply(status=400, body=body))
    assert "Is the bill" not in str(error) + repr(error.details)
    assert exchange.response_bytes == body


async def test_a_key_that_the_server_repeats_is_kept_out_of_the_record() -> None:
    error, exchange = await failure_with(Reply(status=401, body=error_body(message=f"wrong key {KEY}")))
    assert "OPENAI_API_KEY" in str(error)
    assert exchange.response_bytes is not None
    assert KEY.encode() not in exchange.response_bytes
    assert b"wrong key [key]" in exchange.response_bytes
    assert KEY not in str(error) + repr(error) + repr(error.details)


async def test_a_wrong_key_names_the_variable() -> None:
    error, _ = await failure_with(Reply(), api_key="another")
    assert type(error) is AuthenticationFailed
    assert "OPENAI_API_KEY" in str(error)


async def test_an_unknown_model_is_named() -> None:
    error, _ = await failure_with(Reply(), models=["gpt-4o"])
    assert type(error) is ModelNotFound
    assert "gpt-4o-mini" in str(error)
    assert "OPENAI_BASE_URL" in str(error)


async def test_an_error_page_that_is_not_json_is_judged_by_its_status() -> None:
    error, exchange = await failure_with(Reply(status=502, body=b"<html>Bad gateway</html>"))
    assert type(error) is ProviderUnavailable
    assert exchange.response_bytes == b"<html>Bad gateway</html>"


@pytest.mark.parametrize("body", [b"[]", b'"no"', b'{"error": "no"}', b'{"detail": [{"input": "Is the bill"}]}'])
async def test_an_error_of_another_shape_is_judged_by_its_status(body: bytes) -> None:
    error, _ = await failure_with(Reply(status=400, body=body))
    assert type(error) is BadInput
    assert "HTTP status 400" in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7.0), ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25), ({}, None)],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_the_wait_that_is_asked_for_is_in_the_error(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    error, _ = await failure_with(Reply(status=status, body=error_body(), headers=headers))
    assert isinstance(error, RateLimited | ProviderUnavailable)
    assert error.retry_after == seconds


async def test_an_answer_that_is_half_a_json_may_be_billed() -> None:
    error, exchange = await failure_with(Reply("ok"), faults={1: "broken_json"})
    assert type(error) is ProviderUnavailable
    assert error.details["billed"] == "unknown"
    assert exchange.status == 200
    assert exchange.response_bytes


@pytest.mark.parametrize(
    "body", [b'{"choices": []}', b"[]", b"null", b'{"choices": [{"message": {"content": 5}}]}', b'{"error": {}}']
)
async def test_an_answer_without_a_choice_may_be_billed(body: bytes) -> None:
    error, exchange = await failure_with(Reply(body=body))
    assert type(error) is ProviderUnavailable
    assert error.details["billed"] == "unknown"
    assert exchange.response_bytes == body


@pytest.mark.parametrize("fault", ["reset", "lost_answer", "truncated"])
async def test_a_connection_lost_after_sending_leaves_the_outcome_unknown(fault: str) -> None:
    error, exchange = await failure_with(Reply("ok"), faults={1: fault})
    assert type(error) is ProviderTimeout
    assert exchange.request_bytes is not None
    assert exchange.response_bytes is None


async def test_no_answer_in_time_leaves_the_outcome_unknown() -> None:
    exchange = Exchange()
    async with (
        ScriptedProvider(faults={1: "hang"}) as server,
        Providers(settings_for(server.url), None) as providers,
    ):
        with pytest.raises(ProviderTimeout):
            await providers.chat(ask(), timeout_seconds=0.2, exchange=exchange)
        again = await providers.chat(ask(), timeout_seconds=10)
    assert exchange.request_bytes is not None
    assert again.text


async def test_a_cancelled_call_leaves_its_request_for_the_record() -> None:
    exchange = Exchange()
    async with ScriptedProvider() as server, Providers(settings_for(server.url), None) as providers:
        server.hold()
        call = asyncio.create_task(providers.chat(ask(), timeout_seconds=10, exchange=exchange))
        await server.held(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert exchange.request_bytes is not None
    assert exchange.status is None


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of loopback that is bound and not listened on: connections are refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_a_refused_connection_means_that_nothing_was_sent(closed_port: int) -> None:
    async with Providers(settings_for(f"http://127.0.0.1:{closed_port}/v1"), None) as providers:
        with pytest.raises(ProviderUnavailable) as failure:
            await providers.chat(ask(), timeout_seconds=5)
    assert f"127.0.0.1:{closed_port}" in str(failure.value)
    assert "billed" not in failure.value.details


async def test_a_name_that_cannot_be_resolved_is_unavailable() -> None:
    async with Providers(settings_for("http://nowhere.invalid/v1"), None) as providers:
        with pytest.raises(ProviderUnavailable, match=r"nowhere\.invalid"):
            await providers.chat(ask(), timeout_seconds=20)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/v1", "not an address"])
async def test_a_base_url_that_is_none_is_a_setting_to_mend(url: str) -> None:
    async with Providers(settings_for(url), None) as providers:
        with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL"):
            await providers.chat(ask(), timeout_seconds=5)


async def test_an_untrusted_certificate_is_a_setting_to_mend(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=_self_signed(context, tmp_path))
    port = server.sockets[0].getsockname()[1]
    async with server, Providers(settings_for(f"https://127.0.0.1:{port}/v1"), None) as providers:
        with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
            await providers.chat(ask(), timeout_seconds=5)


def _self_signed(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    until = now + datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, until)
    certificate = builder.sign(key, hashes.SHA256())
    pem = folder / "server.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context.load_cert_chain(pem)
    return context


async def test_credentials_in_the_base_url_do_not_reach_the_message(closed_port: int) -> None:
    async with Providers(settings_for(f"http://user:hunter2@127.0.0.1:{closed_port}/v1"), None) as providers:
        identity = (await providers.describe("gpt-4o-mini")).identity
        with pytest.raises(ProviderUnavailable) as failure:
            await providers.chat(ask(), timeout_seconds=5)
    assert identity == f"openai@http://127.0.0.1:{closed_port}/v1"
    assert "hunter2" not in str(failure.value)


async def test_a_scripted_wait_is_read_from_a_rate_limit() -> None:
    fault = Fault("status", status=429, retry_after=1.5, code="rate_limit_exceeded")
    error, _ = await failure_with(Reply(), faults={1: fault})
    assert isinstance(error, RateLimited)
    assert error.retry_after == 1.5
    assert error.details["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"choices": [{"message": {"content": 1}}]}'])
async def test_a_body_that_is_no_completion_is_unreadable_however_it_is_nested(body: bytes) -> None:
    async with ScriptedProvider(lambda _: Reply(body=body)) as server, Providers(settings_for(server.url), None) as own:
        with pytest.raises(ProviderUnavailable, match="unreadable answer"):
            await own.chat(ask(), timeout_seconds=10)


async def test_a_body_longer_than_any_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocks.providers.http_client.MOST_BYTES", 1 << 20)
    long = Reply(body=b" " * (3 << 20))
    async with ScriptedProvider(lambda _: long) as server, Providers(settings_for(server.url), None) as own:
        with pytest.raises(ProviderUnavailable, match="longer than 1 MiB"):
            await own.chat(ask(), timeout_seconds=10)


async def test_remarks_beside_an_answer_may_be_anything() -> None:
    body = b'{"id": 7, "model": null, "choices": [{"message": {"content": "Yes."}, "finish_reason": 3}], "usage": "?"}'
    async with ScriptedProvider(lambda _: Reply(body=body)) as server, Providers(settings_for(server.url), None) as own:
        answer = await own.chat(ask(), timeout_seconds=10)
    assert (answer.text, answer.model, answer.usage, answer.finish_reason) == ("Yes.", "gpt-4o-mini", None, None)
