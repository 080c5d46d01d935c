"""Bills come in from anywhere, are stored once, and are found again."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import Engine, text

from schemas.errors import BadInput, NotFound
from schemas.identifiers import new_id
from tasks.analysis import reading
from tasks.analysis.reading import find_bill, load_bill, read_bill
from tasks.ledger.session import Ledger
from tests.tasks.analysis.small_bills import RENTS

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture
def bill(tmp_path: Path) -> str:
    path = tmp_path / "NY-2023-A12.txt"
    path.write_text(RENTS)
    return str(path)


def count(database: Engine, table: str) -> int:
    with database.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


async def test_a_bill_is_stored_with_its_sections(bill: str, database: Engine) -> None:
    ref = await read_bill(bill)
    assert (str(ref.key), ref.sections, ref.characters, ref.source) == ("NY/A12/2023", 2, len(RENTS), bill)
    with database.connect() as connection:
        rows = connection.execute(text("SELECT * FROM bill_sections ORDER BY ordinal")).mappings().all()
    assert "".join(row["text"] for row in rows) == RENTS
    assert all(RENTS[row["start"] : row["end"]] == row["text"] for row in rows)
    assert [(row["label"], row["heading"]) for row in rows] == [("SECTION 1.", "RENTS"), ("SECTION 2.", "FEES")]


async def test_a_key_that_is_given_goes_before_the_one_that_is_guessed(bill: str) -> None:
    assert str((await read_bill(bill, "California", "", "2025")).key) == "CA/A12/2025"


async def test_the_same_text_under_the_same_key_is_stored_once(bill: str, database: Engine) -> None:
    first, *others = await asyncio.gather(*(read_bill(bill) for _ in range(8)))
    assert {other.id for other in others} == {first.id}
    assert (count(database, "bills"), count(database, "bill_sections")) == (1, 2)
    assert (await read_bill(bill, bill_id="A 13")).id != first.id


async def test_a_stored_bill_is_found_by_id_and_by_key_in_any_spelling(bill: str, ledger: Ledger) -> None:
    ref = await read_bill(bill)
    for name in (str(ref.id), "NY/A12/2023", "New York/a-12/2023"):
        assert await find_bill(ledger.engine, name) == ref
    assert await read_bill("ny/A 012/2023") == ref


async def test_of_several_texts_the_latest_is_found(bill: str, ledger: Ledger) -> None:
    await read_bill(bill)
    Path(bill).write_text(RENTS.replace("six", "five"))  # noqa: ASYNC240
    latest = await read_bill(bill)
    assert await find_bill(ledger.engine, "NY/A12/2023") == latest


@pytest.mark.parametrize("name", ["-", "https://example.org/US/HR5/117", "bills/hr5.txt", "hr5", "a/b", "a/b/c.xml"])
async def test_what_is_no_id_and_no_key_is_not_looked_up(name: str, ledger: Ledger) -> None:
    assert await find_bill(ledger.engine, name) is None


@pytest.mark.parametrize("name", ["US/HR 5/117", "01980000-0000-7000-8000-000000000000"])
async def test_what_should_be_stored_and_is_not_is_said(name: str, ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="no stored bill is called"):
        await find_bill(ledger.engine, name)


async def test_a_file_whose_path_looks_like_a_key_is_a_file(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "us" / "hr5").mkdir(parents=True)
    (tmp_path / "us" / "hr5" / "117").write_text(RENTS)
    monkeypatch.chdir(tmp_path)
    assert (await read_bill("us/hr5/117")).characters == len(RENTS)


async def test_characters_that_postgres_cannot_hold_do_not_stop_a_bill(tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "odd.html"
    path.write_text("<html><body><p>SECTION 1. A&#0;B.</p><p>The board shall meet each month.</p></body></html>")
    ref = await read_bill(str(path))
    loaded = await load_bill(ledger.engine, ref.id)
    assert "\x00" not in loaded.text
    assert loaded.ref == ref


async def test_a_bill_is_fetched_from_an_address(bill: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=f"<html><body><pre>{RENTS}</pre></body></html>", content_type="text/html")

    application = web.Application()
    application.router.add_get("/bills/{name}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        ref = await read_bill(f"http://user:word@{host}:{port}/bills/BILLS-117hr5ih.htm")
    finally:
        await runner.cleanup()
    assert (str(ref.key), ref.source) == ("US/HR5/117", f"http://{host}:{port}/bills/BILLS-117hr5ih.htm")


async def test_an_unreadable_file_stores_nothing(tmp_path: Path, database: Engine) -> None:
    path = tmp_path / "empty.txt"
    path.touch()
    with pytest.raises(BadInput, match="is empty"):
        await read_bill(str(path))
    assert count(database, "bills") == 0


async def test_a_loaded_bill_is_shared_while_it_is_in_use_and_no_longer(bill: str, ledger: Ledger) -> None:
    ref = await read_bill(bill)
    first, second = await load_bill(ledger.engine, ref.id), await load_bill(ledger.engine, ref.id)
    assert first is second
    del first, second
    gc.collect()
    assert ref.id not in reading._in_use


async def test_a_bill_that_is_not_stored_cannot_be_loaded(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="no stored bill"):
        await load_bill(ledger.engine, new_id())


TITLES = {
    "HOUSE BILL 5\n\nAN ACT relating to rents;\nand to fees.\n\nSECTION 1.": "AN ACT relating to rents; and to fees.",
    "AN ACT\n\nTo amend the law,\nas it is.\nBe it enacted by the people:": "AN ACT To amend the law, as it is.",
    "SECTION 1. SHORT TITLE.\nThis Act may be cited as the ``Fair Rents Act of 2024''.": "Fair Rents Act of 2024",
    "1. Short title\nThis Act may be cited as the Fair Rents Act. 2. Limits": "Fair Rents Act",
    "\n# Rents and other matters\nIn general": "Rents and other matters",
    "AN ACT in relation to the determin-\ning of rents\n\n": "AN ACT in relation to the determin-ing of rents",
    "x\n": None,
}


@pytest.mark.parametrize("opening", TITLES)
def test_a_title_is_what_the_bill_says_it_is_about(opening: str) -> None:
    assert reading._title(opening) == TITLES[opening]


def test_a_long_title_is_cut_between_words() -> None:
    title = reading._title("AN ACT relating to " + "rents and fees " * 60)
    assert title is not None
    assert len(title) <= reading.TITLE_CHARACTERS
    assert title.endswith((" rents …", " and …", " fees …"))
