"""Which Prefect API is found, and what is asked of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from blocks.prefect_api import (
    PrefectRefused,
    announce_api,
    announced_api,
    ensure_automation,
    ensure_work_pool,
    find_api,
    is_answering,
    read_block,
)
from schemas.errors import ConfigurationError


class FakeApi:
    """Answers `health`, keeps the work pools and automations it is given, or refuses them."""

    def __init__(self) -> None:
        self.kept: dict[str, list[dict[str, Any]]] = {"work_pools": [], "automations": []}
        self.healthy, self.refusing = True, False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and body of the answer."""
        if path == "/api/health":
            return (200 if self.healthy else 503), True
        kind, _, rest = path.removeprefix("/api/").partition("/")
        if rest == "filter":
            wanted = body[kind]["name"]["any_"]
            return 200, [item for item in self.kept[kind] if item["name"] in wanted]
        if self.refusing:
            return 422, None
        if method == "PUT":
            self.kept[kind] = [{**body, "id": rest} if item["id"] == rest else item for item in self.kept[kind]]
            return 204, None
        self.kept[kind].append({**body, "id": f"{kind}-{len(self.kept[kind])}"})
        return 201, self.kept[kind][-1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"null")
                status, answer = api.answer(self.command, self.path, body)
                self.send_response(status)
                self.end_headers()
                if status != 204:
                    self.wfile.write(json.dumps(answer).encode())

            do_GET = do_POST = do_PUT = _serve

            def log_message(self, *_: object) -> None:
                """Nothing on standard error."""

        return Handler


@pytest.fixture
def api() -> Iterator[FakeApi]:
    server = FakeApi()
    yield server
    server.close()


@pytest.fixture
def dead_url() -> str:
    """An address at which nothing listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}/api"


def test_an_api_answers_when_it_says_that_it_is_healthy(api: FakeApi, dead_url: str) -> None:
    assert is_answering(api.url)
    assert is_answering(f"{api.url}/")
    api.healthy = False
    assert not is_answering(api.url)
    assert not is_answering(dead_url)
    assert not is_answering("not an address")


def test_what_is_announced_in_a_home_is_found_there(api: FakeApi, tmp_path: Path) -> None:
    assert announced_api(tmp_path) is None
    announce_api(tmp_path, api.url)
    assert announced_api(tmp_path) == api.url
    announce_api(tmp_path, None)
    assert announced_api(tmp_path) is None
    announce_api(tmp_path, None)


def test_an_announcement_that_outlived_its_server_is_overlooked(tmp_path: Path, dead_url: str) -> None:
    announce_api(tmp_path, dead_url)
    assert announced_api(tmp_path) is None
    (tmp_path / "run" / "prefect-api.json").write_text("{broken")
    assert announced_api(tmp_path) is None


def test_the_variable_goes_before_the_announcement(
    api: FakeApi, tmp_path: Path, dead_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert find_api(tmp_path) is None
    announce_api(tmp_path, api.url)
    assert find_api(tmp_path) == api.url
    monkeypatch.setenv("PREFECT_API_URL", dead_url)
    with pytest.raises(ConfigurationError, match="no Prefect API answers there"):
        find_api(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", f"{api.url}/")
    assert find_api(tmp_path) == f"{api.url}/"


def test_a_work_pool_is_made_once(api: FakeApi) -> None:
    ensure_work_pool(api.url, "mine")
    ensure_work_pool(api.url, "mine")
    assert [(pool["name"], pool["type"]) for pool in api.kept["work_pools"]] == [("mine", "process")]


def test_an_automation_is_made_once_and_kept_as_it_is_given(api: FakeApi) -> None:
    ensure_automation(api.url, {"name": "mine", "trigger": {"within": 10}})
    ensure_automation(api.url, {"name": "mine", "trigger": {"within": 70}})
    assert api.kept["automations"] == [{"name": "mine", "trigger": {"within": 70}, "id": "automations-0"}]


def test_what_the_api_refuses_is_said(api: FakeApi, dead_url: str) -> None:
    with pytest.raises(PrefectRefused, match="POST work_pools/filter"):
        ensure_work_pool(dead_url, "mine")
    api.refusing = True
    with pytest.raises(PrefectRefused, match=r"did not take POST work_pools/ \(status 422\)"):
        ensure_work_pool(api.url, "mine")


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """The address of a server that says `answer` to whoever connects, and no more."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>no</html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_no_prefect_api_is_said_in_a_sentence(answer: bytes) -> None:
    with saying(answer) as url, pytest.raises(PrefectRefused, match=r"127\.0\.0\.1"):
        read_block(url, "headrace-settings", "headrace")


def test_a_password_in_the_address_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = "http://ada:s3cret@127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", address)
    with pytest.raises(ConfigurationError) as unset:
        find_api(tmp_path)
    with pytest.raises(PrefectRefused) as refused:
        read_block(address, "headrace-settings", "headrace")
    assert "s3cret" not in f"{unset.value} {refused.value}"
    assert "http://127.0.0.1:9/api" in str(unset.value)
