from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from blocks.documents import fetch_document
from schemas.errors import BadInput
from tests.blocks.documents.standard_input import fetch_from_standard_input
from tests.tasks.analysis.real_bills import FOLDER, WEIRD

TEXT = "Section 1. The fee is “forty” dollars — § 2 applies to Señor Nuñez’s café.\n"


async def read(data: bytes) -> tuple[str, str | None]:
    document = await fetch_from_standard_input(data)
    return document.text, document.encoding


async def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "bill.txt"
    path.write_bytes(TEXT.encode() + b"next\r\nline\rlast")
    document = await fetch_document(str(path))
    assert document.text == TEXT + "next\nline\nlast"
    assert (document.source, document.media_type, document.encoding) == (str(path), "text/plain", "utf-8")
    assert document.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


async def test_markdown_is_kept_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "bill.md"
    path.write_text("# Title\n\n## SEC. 1. *Fees*\n")
    document = await fetch_document(str(path))
    assert (document.media_type, document.text) == ("text/markdown", "# Title\n\n## SEC. 1. *Fees*\n")


async def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "bill.txt").write_text("A rule.")
    assert (await fetch_document("~/bill.txt")).text == "A rule."


async def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text("A rule.")
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        document = await fetch_document("-")
    assert (document.source, document.text, document.media_type) == ("-", "A rule.", "text/plain")


async def test_more_on_standard_input_than_is_wanted_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(b"A rule. " * 100)
    with (tmp_path / "in").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        with pytest.raises(BadInput, match=r"^- is larger than|standard input is larger than"):
            await fetch_document("-", max_bytes=99)


async def test_closed_standard_input_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(BadInput, match="standard input is closed"):
        await fetch_document("-")


async def test_whoever_stops_waiting_for_standard_input_need_not_close_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as file:
        with os.fdopen(writing, "wb"):
            monkeypatch.setattr("sys.stdin", file)
            waiting = asyncio.create_task(fetch_document("-"))
            await asyncio.sleep(0)
            (reader,) = [thread for thread in threading.enumerate() if thread.name == "standard-input"]
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert reader.is_alive()
        await asyncio.to_thread(
            reader.join, 30
        )  # what is opened next has the descriptor's number, and is not its to read


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (b"\xef\xbb\xbf" + TEXT.encode(), "utf-8"),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), "utf-16-le"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16-be"),
        (b"\xff\xfe\x00\x00" + TEXT.encode("utf-32-le"), "utf-32-le"),
        (TEXT.encode("cp1252"), "cp1252"),
    ],
)
async def test_the_encoding_is_marked_or_found(data: bytes, encoding: str) -> None:
    assert await read(data) == (TEXT, encoding)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Статья 1. Плата составляет сорок рублей, и владелец должен платить её каждый год.\n", "cp1251"),
        ("Rozdział 1. Opłata wynosi czterdzieści złotych i każdy najemca może jej żądać.\n", "cp1250"),
    ],
)
async def test_other_alphabets_are_found(text: str, encoding: str) -> None:
    assert await read(text.encode(encoding)) == (text, encoding)


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="windows-1252">', "cp1252"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1">', "cp1252"),
        ("<meta charset='utf-8'>", "utf-8"),
        ('<meta charset="no-such-charset">', "utf-8"),
        ('<meta charset="unicode_escape">', "utf-8"),
    ],
)
async def test_a_page_may_declare_its_encoding(head: str, encoding: str) -> None:
    page = f"<html><head>{head}</head><body><p>{TEXT}</p></body></html>"
    assert await read(page.encode(encoding)) == (TEXT, encoding)


async def test_a_wrong_declaration_is_passed_over() -> None:
    page = f'<html><head><meta charset="utf-8"></head><body><p>{TEXT}</p></body></html>'
    assert await read(page.encode("cp1252")) == (TEXT, "cp1252")


async def test_xml_may_declare_its_encoding() -> None:
    xml = f'<?xml version="1.0" encoding="ISO-8859-2"?><bill><text>{"Łódź § 2"}</text></bill>'
    assert await read(xml.encode("iso-8859-2")) == ("Łódź § 2\n", "iso8859-2")


RANDOM = random.Random(0)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "standard input is empty"),
        (b" \n\t ", "standard input is empty"),
        (RANDOM.randbytes(10_000_000), "standard input is binary"),
        (bytes(b | 1 for b in RANDOM.randbytes(3_000)), "standard input is binary"),
        (b"A rule.\n" * 10_000 + b"\x00", "encoding that was not recognised"),
        (b"PK\x03\x04 a word file", "a ZIP archive or an Office document"),
        (b"\x89PNG\r\n", "a picture"),
        (b"{\\rtf1 x}", "a Rich Text document"),
    ],
)
async def test_what_is_no_text_is_refused_in_one_sentence(data: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        await fetch_from_standard_input(data)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.txt", "does not exist"),
        ("folder", "is a folder; name a file in it"),
        ("x" * 300, "cannot be opened"),
        ("nul\x00.txt", "cannot be opened"),
        ("bill.json", "is application/json; give text, Markdown, HTML, XML, LaTeX or PDF"),
        ("bill.mp3", "is audio/mpeg"),
        ("fake.pdf", "is called a PDF but is none"),
        ("bill.txt/inside", "cannot be opened"),
    ],
)
async def test_a_path_that_cannot_be_read_is_named(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    for file in ("bill.json", "bill.mp3", "fake.pdf", "bill.txt"):
        (tmp_path / file).write_text("{}")
    with pytest.raises(BadInput, match=says) as caught:
        await fetch_document(str(tmp_path / name))
    assert repr(str(tmp_path))[1:-1] in str(caught.value)


async def test_latex_is_read_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "bill.tex").write_bytes("% x\r\n\\section{Länge}".encode("latin-1"))
    document = await fetch_document(str(tmp_path / "bill.tex"))
    assert (document.media_type, document.text) == ("text/x-tex", "% x\n\\section{Länge}")


async def test_an_empty_source_is_a_folder() -> None:
    with pytest.raises(BadInput, match=r"^\. is a folder"):
        await fetch_document("")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
async def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(BadInput, match="may not be read by this user"):
        await fetch_document(str(path))


async def test_an_endless_file_is_cut_off() -> None:
    with pytest.raises(BadInput, match=r"/dev/zero is larger than 1000 bytes"):
        await fetch_document("/dev/zero", max_bytes=1_000)


@pytest.mark.parametrize("source", ["ftp://host/bill", "file:///etc/passwd", "s3://bucket/bill", "://x"])
async def test_other_schemes_are_refused(source: str) -> None:
    with pytest.raises(BadInput, match="is not fetched; use http://, https://, a path"):
        await fetch_document(source)


class Site:
    """A web server on loopback that serves what a test needs."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.address = ""

    def routes(self) -> list[web.RouteDef]:
        handlers = {
            "/bill.html": self.page,
            "/bill.xml": self.plain_xml,
            "/moved": self.moved,
            "/loop": self.loop,
            "/slow": self.slow,
            "/big": self.big,
            "/broken": self.broken,
            "/json": self.json,
        }
        return [web.get(path, handler) for path, handler in handlers.items()]

    async def page(self, request: web.Request) -> web.Response:
        body = f"<p>{TEXT}</p>".encode("cp1252")
        return web.Response(body=body, headers={"Content-Type": "text/html; charset=windows-1252"})

    async def plain_xml(self, request: web.Request) -> web.Response:
        return web.Response(text="<bill><section><enum>1.</enum><text>Go.</text></section></bill>")

    async def moved(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("/bill.html")

    async def loop(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("/loop")

    async def slow(self, request: web.Request) -> web.Response:
        await self.open.wait()
        return web.Response(text="late")

    async def big(self, request: web.Request) -> web.Response:
        response = web.Response(text="rent " * 100_000)
        response.enable_compression()
        return response

    async def broken(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async def json(self, request: web.Request) -> web.Response:
        return web.json_response({})


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.add_routes(site.routes())
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.address = "http://127.0.0.1:{1}".format(*runner.addresses[0])
    yield site
    site.open.set()
    await runner.cleanup()


@pytest.mark.parametrize("path", ["/bill.html", "/moved", "/bill.html?session=2024#top"])
async def test_a_page_is_fetched_with_the_servers_charset(site: Site, path: str) -> None:
    document = await fetch_document(site.address + path)
    assert (document.text, document.media_type, document.encoding) == (TEXT, "text/html", "cp1252")
    assert document.source == site.address + path


async def test_the_extension_counts_where_the_server_says_plain_text(site: Site) -> None:
    document = await fetch_document(site.address + "/bill.xml")
    assert (document.media_type, document.text) == ("application/xml", "SEC. 1. Go.\n")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/gone", "answered 404 Not Found; check the address"),
        ("/loop", "redirects without end"),
        ("/broken", "broke off before the end"),
        ("/json", "is application/json"),
    ],
)
async def test_a_page_that_cannot_be_read_is_named(site: Site, path: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        await fetch_document(site.address + path)
    assert str(caught.value).startswith(site.address + path)


async def test_a_slow_server_is_given_up(site: Site) -> None:
    with pytest.raises(BadInput, match=r"did not answer within 0\.2 s"):
        await fetch_document(site.address + "/slow", timeout_seconds=0.2)


async def test_size_is_bounded_after_decompression(site: Site) -> None:
    with pytest.raises(BadInput, match="is larger than"):
        await fetch_document(site.address + "/big", max_bytes=400_000)
    assert len((await fetch_document(site.address + "/big", max_bytes=600_000)).text) == 500_000


async def test_a_dead_port_is_named_without_the_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadInput, match="cannot be reached") as caught:
            await fetch_document(f"http://user:secret@{address}/bill")
    assert str(caught.value).startswith(f"http://{address}/bill ")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://:80/x", "https://a b/c", "http://host:port/x"])
async def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match=r"not a valid|names a host|cannot be reached"):
        await fetch_document(url)


def weird_files() -> list[Path]:
    return sorted(WEIRD.rglob("*.json*")) if WEIRD.exists() else []


@pytest.mark.skipif(not weird_files(), reason=f"needs {WEIRD}")
async def test_hostile_files_are_read_or_refused_but_never_crash() -> None:
    outcomes = [
        await read_or_refused(prefix + path.read_bytes())
        for path in weird_files()
        for prefix in (b"", b"<html>", b"<?xml version='1.0'?><bill>", b"%PDF-1.4\n")
    ]
    texts = [text for text, _ in outcomes if text is not None]
    refusals = [refusal for _, refusal in outcomes if refusal is not None]
    assert min(len(texts), len(refusals)) > 100
    assert all(text.strip() for text in texts)
    assert not any("\n" in refusal for refusal in refusals)


async def read_or_refused(data: bytes) -> tuple[str | None, str | None]:
    try:
        return (await fetch_from_standard_input(data)).text, None
    except BadInput as error:
        return None, str(error)


@pytest.mark.skipif(not WEIRD.exists(), reason=f"needs {WEIRD}")
async def test_naughty_strings_survive_as_text() -> None:
    strings = json.loads((WEIRD / "blns.json").read_text())
    text = "\n".join(string for string in strings if "\r" not in string)
    assert (await fetch_from_standard_input(text.encode())).text == text


@pytest.mark.skipif(not FOLDER.exists(), reason=f"needs {FOLDER}")
async def test_real_bills_are_read_character_for_character() -> None:
    for path in sorted(FOLDER.glob("*.txt")):
        document = await fetch_document(str(path))
        assert document.text == path.read_text(encoding="utf-8")
