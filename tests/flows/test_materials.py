"""`headrace materials`: files become course materials, and stay what they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from schemas.errors import BadInput, NotFound
from schemas.retrieval import ChunkLimits
from schemas.settings import Settings
from tasks.embedding.chunking import chunk_text
from tasks.embedding.course_materials import add_materials, list_materials, material_id, remove_materials
from tasks.embedding.structure import material_format
from tasks.ledger.session import Ledger
from tests.blocks.documents.made_pdf import pdf_with
from tests.flows.conftest import Look, Run

LECTURE = """---
title: Heaps and how to keep them
week: 4
tags: [heap, priority queue, heap]
---
# Heaps

A heap is a tree where $a_{i} \\le a_{2i}$.
"""
PAGE = """<html><head><title>x</title></head><body><nav>menu</nav><h1>Hash tables</h1><p>Keys are spread.</p>
<ul><li>open addressing</li><li>chaining</li></ul><pre>int h(int k) {
    return k % 7;
}</pre><h2>Costs</h2><p>Constant, on average.</p></body></html>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A course of five files, and some that are none of its materials."""
    course = tmp_path / "course"
    files = {
        "week-1/lecture-1.md": LECTURE,
        "week-2/notes.txt": "Just a few words about sorting.\n",
        "week-2/hash.html": PAGE,
        "labs/trees_and_heaps.tex": "\\title{Trees}\\begin{document}\\section{Roots}One.\\end{document}",
        ".git/config.md": "# hidden",
        "week-1/picture.png": "no text",
    }
    for name, content in files.items():
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).write_text(content)
    (course / "week-3").mkdir()
    (course / "week-3" / "slides.pdf").write_bytes(pdf_with([["Graphs have edges."], ["Trees are graphs."]]))
    return course


async def test_a_folder_becomes_materials_with_title_type_and_week(ledger: Ledger, look: Look, folder: Path) -> None:
    added = await add_materials("cs 101", [folder], create_course=True)
    assert (added.course_id, added.course_created, added.unread) == ("cs 101", True, ())
    shown = {(each.title, each.type, each.week) for each in added.materials}
    assert shown == {
        ("Heaps and how to keep them", "lecture", 4),
        ("notes", "note", 2),
        ("Hash tables", "reading", 2),
        ("Trees", "lab", None),
        ("slides", "slide", 3),
    }
    rows = {row["title"]: row for row in look("SELECT * FROM course_materials")}
    heaps = rows["Heaps and how to keep them"]
    assert heaps["content"] == "# Heaps\n\nA heap is a tree where $a_{i} \\le a_{2i}$."
    assert (heaps["keywords"], heaps["attributes"]["format"]) == (["heap", "priority queue"], "markdown")
    assert heaps["attributes"]["path"] == str(folder / "week-1/lecture-1.md")
    assert heaps["id"] == material_id("cs 101", str(folder / "week-1/lecture-1.md"))
    assert heaps["source"] is None  # a migration never changes it
    assert rows["Trees"]["content"] == "# Roots\n\nOne."
    assert rows["slides"]["content"] == "Graphs have edges.\n\f\nTrees are graphs."


async def test_headings_lists_and_code_of_a_page_can_be_chunked(ledger: Ledger, look: Look, folder: Path) -> None:
    await add_materials("cs", [folder / "week-2" / "hash.html"], create_course=True)
    (row,) = look("SELECT content, attributes FROM course_materials")
    assert row["content"] == (
        "# Hash tables\n\nKeys are spread.\n\n- open addressing\n- chaining\n\n"
        "```\nint h(int k) {\n    return k % 7;\n}\n```\n\n## Costs\n\nConstant, on average."
    )
    kind = material_format(row["content"], row["attributes"]["format"])
    pieces = chunk_text(
        row["content"], format=kind, limits=ChunkLimits(16, 0), count=lambda texts: [len(t.split()) for t in texts]
    )
    assert [piece.heading_path for piece in pieces] == [("Hash tables",), ("Hash tables",), ("Hash tables", "Costs")]


async def test_adding_again_updates_what_changed_and_only_that(ledger: Ledger, look: Look, folder: Path) -> None:
    await add_materials("cs", [folder], create_course=True)
    before = {row["id"]: row["updated_at"] for row in look("SELECT id, updated_at FROM course_materials")}
    again = await add_materials("cs", [folder, folder / "week-2" / "notes.txt"])
    assert [again.count(change) for change in ("added", "updated", "unchanged")] == [0, 0, 5]
    (folder / "week-2" / "notes.txt").write_text("Other words.\n")
    (folder / "week-2" / "new.md").write_text("# New\n\nText.")
    changed = await add_materials("cs", [folder])
    assert [changed.count(change) for change in ("added", "updated", "unchanged")] == [1, 1, 4]
    after = {row["id"]: row["updated_at"] for row in look("SELECT id, updated_at FROM course_materials")}
    moved = {each for each in before if after[each] != before[each]}
    assert moved == {material_id("cs", str(folder / "week-2" / "notes.txt"))}


async def test_the_caller_knows_type_and_week_better(ledger: Ledger, folder: Path) -> None:
    added = await add_materials("cs", [folder], material_type="textbook", week=0, create_course=True)
    assert {(each.type, each.week) for each in added.materials} == {("textbook", 0)}


async def test_a_copy_below_another_root_is_the_same_material(
    ledger: Ledger, look: Look, folder: Path, tmp_path: Path
) -> None:
    await add_materials("cs", [folder], root=folder, create_course=True)
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.move(folder, tmp_path / "elsewhere" / "copy"))
    again = await add_materials("cs", [moved / "week-1", moved / "labs"], root=moved)
    assert again.count("unchanged") == len(again.materials) == 2
    assert {"week-1/lecture-1.md", "labs/trees_and_heaps.tex"} == {each.path for each in again.materials}
    with pytest.raises(BadInput, match=r"hash\.html is not below .*labs; name a root"):
        await add_materials("cs", [moved / "week-2" / "hash.html"], root=moved / "labs")


async def test_a_course_is_known_by_its_id_or_its_code(ledger: Ledger, look: Look, folder: Path) -> None:
    look(
        "INSERT INTO courses (id, code, name) "
        "VALUES ('course-1', 'CS 101', 'Computing'), ('b', 'X', 'B'), ('c', 'x', 'C')"
    )
    assert (await add_materials("cs101", [folder])).course_id == "course-1"
    assert [row.course_id for row in await list_materials("CS 101")] == ["course-1"] * 5
    with pytest.raises(BadInput, match="the courses b, c all have the code X"):
        await add_materials("X", [folder])
    with pytest.raises(NotFound, match="there is no course 'maths'; --create-course makes it"):
        await add_materials("maths", [folder])
    assert len(look("SELECT 1 FROM courses")) == 3


HOSTILE = {
    "empty.md": (b"", "is empty"),
    "front.md": (b"---\ntitle: A\n---\n\n", "holds no text besides its front matter"),
    "binary.txt": (bytes(range(256)) * 50, "is binary"),
    "nul.md": (b"# A\n\x00\n", "is binary"),
    "scan.pdf": (pdf_with([[]]), "has no text layer"),
    "damaged.pdf": (b"%PDF-1.7\nnothing", "is a damaged PDF"),
    "zip.md": (b"PK\x03\x04" + bytes(100), "ZIP archive"),
}


async def test_what_cannot_be_read_has_one_sentence_and_the_rest_goes_on(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name, (data, _) in HOSTILE.items():
        (folder / name).write_bytes(data)
    (folder / "loop.md").symlink_to(folder / "loop.md")
    (folder / "nowhere.md").symlink_to(folder / "gone.md")
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "pipe.md")
    (folder / "bom.md").write_bytes(b"\xef\xbb\xbf# Title\n\nText.")
    (folder / "latin.txt").write_bytes("Über Bäume und Gräben.".encode("latin-1"))
    (folder / "crlf.md").write_bytes(b"# A\r\n\r\nB\r\n")
    added = await add_materials("cs", [folder, tmp_path / "missing.md", folder / "pipe.md"], create_course=True)
    assert {each.title for each in added.materials} == {"Title", "latin", "A"}
    reasons = {Path(each.path).name: each.reason for each in added.unread}
    expected = {name: says for name, (_, says) in HOSTILE.items()} | {
        "loop.md": "cannot be opened",
        "nowhere.md": "does not exist",
        "missing.md": "does not exist",
        "pipe.md": "is neither a file nor a folder",
    }
    assert set(reasons) == set(expected)
    for name, says in expected.items():
        assert says in reasons[name]
        assert "\n" not in reasons[name]
    assert {row.title: row.characters for row in await list_materials("cs")}["A"] == len("# A\n\nB")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that no course is given."""
    path = tmp_path / "outside"
    (path / "inner").mkdir(parents=True)
    (path / "secret.md").write_text("# Secret\n\nNot for courses.")
    (path / "inner" / "deep.md").write_text("# Deep\n\nNot for courses either.")
    return path


async def test_links_that_lead_out_of_the_folder_are_left_out_and_said(
    ledger: Ledger, look: Look, folder: Path, outside: Path
) -> None:
    (folder.parent / "course-2").mkdir()
    (folder / "plain.md").symlink_to(outside / "secret.md")
    (folder / "relative.md").symlink_to("../outside/secret.md")
    (folder / "week-1" / "chain.md").symlink_to(folder / "plain.md")
    (folder / "gone.md").symlink_to(outside / "nothing.md")
    (folder / "more").symlink_to(outside / "inner")
    (folder / "up").symlink_to("..")
    (folder / "beside").symlink_to(folder.parent / "course-2")  # its name begins like the folder's
    (folder / "picture.png.link").symlink_to(outside / "secret.md")
    (folder / "same.md").symlink_to(folder / "week-1" / "lecture-1.md")
    (folder / "again").symlink_to(folder / "week-1")
    (folder / "here").symlink_to(folder)
    (folder / "loop.md").symlink_to(folder / "loop.md")
    added = await add_materials("cs", [folder, folder], create_course=True)
    names = ["beside", "gone.md", "more", "plain.md", "relative.md", "up", "week-1/chain.md"]
    assert [each.path for each in added.left_out] == [str(folder / name) for name in names]
    assert added.left_out[0].reason == f"{folder}/beside is a link that leads out of the folder"
    assert [Path(each.path).name for each in added.unread] == ["loop.md"]
    assert sorted(Path(each.path).name for each in added.materials) == [
        "hash.html",
        "lecture-1.md",
        "notes.txt",
        "same.md",
        "slides.pdf",
        "trees_and_heaps.tex",
    ]
    assert look("SELECT 1 FROM course_materials WHERE content LIKE '%Not for courses%'") == []


async def test_what_is_named_itself_may_be_a_link(ledger: Ledger, folder: Path, outside: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(folder)
    (tmp_path / "note.md").symlink_to(outside / "secret.md")
    added = await add_materials("cs", [tmp_path / "alias", tmp_path / "note.md"], create_course=True)
    assert (len(added.materials), added.left_out, added.unread) == (6, (), ())


def test_the_command_counts_the_links_that_it_leaves_out(headrace: Run, folder: Path, outside: Path) -> None:
    for number in range(7):
        (folder / f"link-{number}.md").symlink_to(outside / "secret.md")
    done = headrace("materials", "add", "CS", folder, "--create-course")
    named = ", ".join(f"{folder}/link-{number}.md" for number in range(5))
    assert f"• left out: 7 links, which lead out of the folder: {named} and 2 more" in done.out.splitlines()
    assert done.code == 0
    (outside.parent / "links").mkdir()
    (outside.parent / "links" / "a.md").symlink_to(outside / "secret.md")
    done = headrace("materials", "add", "CS", outside.parent / "links")
    assert "left out: 1 link, which leads out of the folder: " in done.out
    assert done.code == 2
    found = headrace("materials", "add", "CS", outside.parent / "links", "--json")
    assert [each["path"] for each in found.json["left_out"]] == [str(outside.parent / "links" / "a.md")]


async def test_a_line_of_ten_megabytes_is_a_material(ledger: Ledger, look: Look, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 2_000_000)
    added = await add_materials("cs", [tmp_path / "long.txt"], create_course=True)
    assert [each.characters for each in added.materials] == [10_000_000]
    assert look("SELECT length(content) AS n FROM course_materials") == [{"n": 10_000_000}]


async def test_names_that_are_no_text_and_titles_that_command_are_made_harmless(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    for name in (b"caf\xe9.txt", b"caf\xe8.txt"):
        (folder / os.fsdecode(name)).write_text("Coffee.")
    (folder / "escape.md").write_text("# \x1b[31mRed [/b] [link]\n\n" + "Words. " * 40)
    added = await add_materials("cs", [folder], create_course=True)
    assert {each.title for each in added.materials} == {"caf\\xe9", "caf\\xe8", "[31mRed [/b] [link]"}
    assert len({each.id for each in added.materials}) == 3
    (folder / os.fsdecode(b"\xff.md")).write_bytes(b"")
    unread = (await add_materials("cs", [folder])).unread
    assert [each.reason for each in unread] == [
        f"{folder}/\\xff.md is empty; give text, Markdown, HTML, XML, LaTeX or PDF"
    ]


async def test_removing_keeps_the_citation_and_its_title(ledger: Ledger, look: Look, folder: Path) -> None:
    added = await add_materials("cs", [folder], create_course=True)
    cited, other = added.materials[0].id, added.materials[1].id
    look("INSERT INTO users (id, name) VALUES ('u', 'U')")
    look(
        "INSERT INTO threads (id, course_id, author_id, title, content, status, created_at) "
        "VALUES ('t', 'cs', 'u', 'T', 'C', 'open', now())"
    )
    look("INSERT INTO ai_answers (id, thread_id, content, generated_at) VALUES ('a', 't', 'A', now())")
    look(
        "INSERT INTO citations (id, answer_id, material_id, ordinal, title) VALUES ('a/1', 'a', :material, 1, 'Kept')",
        material=cited,
    )
    with pytest.raises(NotFound, match="there is no material nothing; `headrace materials list` names"):
        await remove_materials([cited, "nothing"])
    removed = await remove_materials([cited, other, cited])
    assert (removed.removed, removed.citations) == ((cited, other), 1)
    assert look("SELECT material_id, title FROM citations") == [{"material_id": None, "title": "Kept"}]
    assert len(await list_materials()) == 3


@pytest.fixture
def statements(ledger: Ledger) -> Iterator[list[str]]:
    """What is sent to the database."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    engine: Engine = ledger.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


async def test_many_files_go_to_the_database_in_two_statements(
    ledger: Ledger, tmp_path: Path, statements: list[str]
) -> None:
    for number in range(60):
        (tmp_path / f"{number}.md").write_text(f"# Title {number}\n\nText.")
    statements.clear()
    added = await add_materials("cs", [tmp_path], create_course=True)
    assert added.count("added") == 60
    assert len([each for each in statements if "course" in each]) == 3  # looked up, made, filled


def test_the_command_says_what_it_did_to_people_and_machines(headrace: Run, folder: Path) -> None:
    (folder / "week-2" / "blank.md").write_text("")
    first = headrace("materials", "add", "CS101", folder, "--create-course", "--root", folder)
    assert first.code == 1
    assert "CS101 (made): 5 added, 0 updated, 0 unchanged, 1 not read" in first.out
    assert f"not read: {folder}/week-2/blank.md is empty" in first.out
    assert "Heaps and how to keep them" in first.out
    (folder / "week-2" / "blank.md").unlink()
    second = headrace("materials", "add", "CS101", folder, "--root", folder, "--json").json
    assert (second["status"], second["run_id"], second["course_id"], second["unread"]) == (
        "completed",
        None,
        "CS101",
        [],
    )
    assert {each["change"] for each in second["materials"]} == {"unchanged"}
    listed = headrace("materials", "list", "CS101", "--json").json["materials"]
    assert [each["week"] for each in listed] == [2, 2, 3, 4, None]
    gone = headrace("materials", "remove", listed[0]["id"], listed[1]["id"])
    assert (gone.code, gone.out) == (0, "2 removed\n")
    assert headrace("materials", "list").out.count("material-") == 3
    assert headrace("materials", "remove", listed[2]["id"], "--json").json["removed"] == [listed[2]["id"]]


def test_a_long_list_of_changes_is_cut_for_people(headrace: Run, tmp_path: Path) -> None:
    for number in range(53):
        (tmp_path / f"{number}.md").write_text("Text.")
    said = headrace("materials", "add", "CS", tmp_path, "--create-course").out
    assert (said.count("material-"), "… and 3 more" in said) == (50, True)


def test_bad_usage_of_the_command_is_one_sentence(headrace: Run, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert "There are no materials" in headrace("materials", "list").out
    for arguments, code, says in (
        (("add", "CS101"), 2, "name a file or a folder to add"),
        (("add", "CS101", tmp_path), 2, "there is no course 'CS101'; --create-course makes it"),
        (("add", "CS101", tmp_path, "--type", "novel"), 2, "novel"),
        (("add", "CS101", tmp_path, "--week", "-1"), 2, "week"),
        (("list", "CS101"), 2, "there is no course 'CS101'"),
        (("remove", "x"), 2, "there is no material x"),
    ):
        done = headrace("materials", *arguments)
        assert done.code == code, arguments
        assert says in done.reason
        assert "Traceback" not in done.err
    empty = headrace("materials", "add", "CS101", tmp_path / "nothing", "--create-course")
    assert (empty.code, "has no file to read; give a folder with .htm, .html" in empty.out) == (2, True)


async def test_without_a_ledger_open_one_is_opened(settings: Settings, folder: Path) -> None:
    added = await add_materials("cs", [str(folder / "labs")], create_course=True)
    assert [each.title for each in added.materials] == ["Trees"]
