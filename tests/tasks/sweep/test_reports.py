"""Reports of sweeps: what they say, and that every format has the stored numbers to the last digit."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import tracemalloc
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree, html
from sqlalchemy import Engine, text

from blocks.row_files import RUN_AS_FORMULA
from schemas.errors import BadInput, NotFound
from schemas.identifiers import new_id
from schemas.settings import Settings
from schemas.sweep_reports import FORMATS, ReportContents, ReportedResponse, ReportFile
from tasks.sweep.reports.contents import best_and_worst
from tasks.sweep.reports.csv_file import escaped, unescaped
from tasks.sweep.reports.document import LISTED, METRICS_ABREAST, lay_out
from tasks.sweep.reports.grids import combination_means
from tasks.sweep.reports.html_page import render_html
from tasks.sweep.reports.pdf_document import render_pdf
from tasks.sweep.reports.plots import draw_heat_map, draw_marginal
from tasks.sweep.reports.reading import read_report
from tasks.sweep.reports.spreadsheet import render_xlsx
from tasks.sweep.reports.tables import all_tables, exact
from tasks.sweep.reports.texts import ZERO_WIDTH_SPACE, breakable, cut, printable
from tasks.sweep.reports.writing import chosen_formats, stem, write_report
from tasks.sweep.statistics.analysis import analyse
from tests.tasks.sweep.experiments import FIRST_DAY, Planted, store_experiment
from tests.tasks.sweep.statistics.planted import grid, observe

SEVEN = ("overall", "coherence", "completeness", "readability", "length_appropriateness", "creativity", "specificity")
SMALL = Planted(temperatures=(0.1, 0.5), top_ps=(0.8, 1.0), repeats=2, metrics=SEVEN)
HOSTILE = (
    '<script>alert("x")</script><img src=x onerror=alert(1)>',
    '#panic("typst") *bold* $x^2$ @ref `raw` \\u{41} // comment /* open',
    '=HYPERLINK("http://evil.example","click")',
    "+1+1|cmd",
    "@SUM(A1)",
    "-2+3",
    "\tTAB first",
    "'=quoted",
    "שלום עולם ‮live‬ مرحبا",
    "天空是蓝色的，因为瑞利散射。😀🚀",
    "bell\x07 escape\x1b[31m",
    "word" * 25_000,
    "$\\frac$ {{ jinja }} {% raw %}",
)


async def of(database: Engine, planted: Planted) -> ReportContents:
    store_experiment(database, planted)
    return await read_report(planted.id)


def scores(contents: ReportContents) -> list[str]:
    """Every score of every response, as its shortest decimal."""
    return [repr(score) for response in contents.responses for score in response.scores.values()]


def written(contents: ReportContents, folder: Path) -> dict[str, bytes]:
    return {each.format: Path(each.path).read_bytes() for each in write_report(contents, folder, FORMATS)}


def of_html(page: bytes, name: str) -> list[list[str]]:
    """Rows of a table of the appendix."""
    root = html.fromstring(page.decode())
    rows = root.xpath(f'//details[@data-table="{name}"]//tbody/tr')
    return [[cell.text_content() for cell in row.xpath("td")] for row in rows]


def of_pdf(document: bytes) -> str:
    pages = pypdfium2.PdfDocument(document)
    return "\n".join(page.get_textpage().get_text_range() for page in pages)


def of_xlsx(book: bytes, name: str) -> list[list[Any]]:
    """Rows of a sheet: numbers as they are written, in `Decimal`; texts as `str`."""
    with zipfile.ZipFile(io.BytesIO(book)) as parts:
        names = etree.fromstring(parts.read("xl/workbook.xml"))
        sheets = [sheet.get("name") for sheet in names.iter("{*}sheet")]
        strings = ["".join(item.itertext()) for item in etree.fromstring(parts.read("xl/sharedStrings.xml"))]
        sheet = etree.fromstring(parts.read(f"xl/worksheets/sheet{sheets.index(name) + 1}.xml"))
        assert sheet.findall(".//{*}f") == [], "a formula"
    rows = [{_column(cell): _cell(cell, strings) for cell in row} for row in sheet.iter("{*}row")]
    return [[row.get(column) for column in range(max(rows[0]) + 1)] for row in rows]


def _column(cell: etree._Element) -> int:
    """Of A1 0, of AA1 26."""
    letters = str(cell.get("r")).rstrip("0123456789")
    return sum((ord(letter) - 64) * 26**place for place, letter in enumerate(reversed(letters))) - 1


def _cell(cell: etree._Element, strings: Sequence[str]) -> Any:
    value = str(cell.findtext("{*}v"))
    return strings[int(value)] if cell.get("t") == "s" else Decimal(value)


def of_csv(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.decode(), newline="")))


async def test_every_format_has_the_stored_scores_to_the_last_digit(
    database: Engine, settings: Settings, tmp_path: Path
) -> None:
    contents = await of(database, SMALL)
    with database.begin() as connection:
        stored = connection.execute(text("SELECT response_id, metric, score FROM quality_metrics")).all()
    assert {(r.id, metric, score) for r in contents.responses for metric, score in r.scores.items()} == set(stored)
    expected = [[repr(response.scores[metric]) for metric in SEVEN] for response in contents.responses]
    files = written(contents, tmp_path)
    rows = of_html(files["html"], "responses")
    assert [row[-7:] for row in rows] == expected
    assert [[row[metric] for metric in SEVEN] for row in of_csv(files["csv"])] == expected
    sheet = of_xlsx(files["xlsx"], "Responses")
    assert [[str(value) for value in row[-7:]] for row in sheet[1:]] == expected
    read = json.loads(files["json"], parse_float=str)
    assert [[response["scores"][metric] for metric in SEVEN] for response in read["responses"]] == expected
    lines = of_pdf(files["pdf"]).splitlines()
    for row in expected:
        assert any(" ".join(row) in line for line in lines), row


async def test_every_format_has_the_statistics_to_the_last_digit(
    database: Engine, settings: Settings, tmp_path: Path
) -> None:
    contents = await of(database, replace(SMALL, metrics=("overall", "coherence")))
    files = written(contents, tmp_path)
    words = set(of_pdf(files["pdf"]).split())
    tables = {table.name: table for table in all_tables(contents)}
    assert {"marginals", "effects", "correlations", "interactions", "optima", "pareto", "heat maps"} <= set(tables)
    assert ReportContents.model_validate_json(files["json"]) == contents
    for name, table in tables.items():
        if name in {"conclusions", "prompts", "failures", "spec", "summary"}:
            continue
        exactly = [[exact(cell) for cell in row] for row in table.rows]
        assert of_html(files["html"], name) == exactly, name
        numbers = {exact(cell) for row in table.rows for cell in row if isinstance(cell, float | Decimal)}
        assert numbers <= words, name
        if name != "responses":
            _, *shown = of_xlsx(files["xlsx"], name.capitalize())
            assert [["" if cell is None else str(cell) for cell in row] for row in shown] == exactly, name


async def test_a_number_of_seventeen_digits_is_whole_in_a_spreadsheet(database: Engine, settings: Settings) -> None:
    contents = await of(database, replace(SMALL, metrics=("overall",)))
    longest = max(scores(contents), key=len)
    assert len(longest) >= 18
    column = [str(row[-1]) for row in of_xlsx(render_xlsx(contents), "Responses")[1:]]
    assert column == scores(contents)


async def test_responses_are_what_their_class_wants_and_share_their_prompts(
    database: Engine, settings: Settings
) -> None:
    await of(database, replace(SMALL, failed=1, prompts=("One?", "Two?")))
    with database.begin() as connection:
        connection.execute(text("UPDATE responses SET max_tokens = 5, system_prompt = repeat('Be brief. ', 100)"))
    responses = (await read_report("planted")).responses
    assert [ReportedResponse.model_validate(response.model_dump(), strict=True) for response in responses] == [
        *responses
    ]
    for texts in ({id(response.prompt) for response in responses}, {response.prompt for response in responses}):
        assert len(texts) == 2
    assert len({id(response.system_prompt) for response in responses}) == 1


async def test_two_reports_of_the_same_experiment_are_the_same_bytes(
    database: Engine, settings: Settings, tmp_path: Path
) -> None:
    first = written(await of(database, SMALL), tmp_path / "first")
    with database.begin() as connection:
        analysed = connection.execute(text("SELECT created_at FROM sweep_analyses")).scalar_one()
    second = written(await read_report("planted"), tmp_path / "second")
    assert set(first) == set(FORMATS)
    assert [form for form in FORMATS if first[form] != second[form]] == []
    with database.begin() as connection:
        assert connection.execute(text("SELECT created_at FROM sweep_analyses")).scalar_one() == analysed


async def test_the_time_stamp_is_the_experiments_last_change(database: Engine, settings: Settings) -> None:
    contents = await of(database, SMALL)
    assert contents.as_of == FIRST_DAY
    later = datetime(2026, 4, 5, 6, 7, 8, tzinfo=UTC)
    with database.begin() as connection:
        connection.execute(text("UPDATE experiments SET updated_at = :later"), {"later": later})
    changed = await read_report("planted")
    assert changed.as_of == later
    assert b"2026-04-05 06:07:08 UTC" in render_html(lay_out(changed))
    assert b"D:20260405060708Z" in render_pdf(lay_out(changed))


async def test_what_is_concluded_on_the_way_is_on_record_and_brought_up_to_date(
    database: Engine, settings: Settings
) -> None:
    contents = await of(database, SMALL)

    def stored() -> Any:
        with database.begin() as connection:
            return connection.execute(text("SELECT analysis FROM sweep_analyses")).scalar_one()

    assert stored() == contents.analysis.model_dump(mode="json")
    with database.begin() as connection:
        connection.execute(text("UPDATE quality_metrics SET score = score / 2"))
    halved = await read_report("planted")
    assert halved.analysis != contents.analysis
    assert stored() == halved.analysis.model_dump(mode="json")


def hostile(contents: ReportContents) -> ReportContents:
    """The experiment with answers, prompts, names and reasons that nobody would like to show."""
    responses = [
        response.model_copy(update={"content": HOSTILE[place % len(HOSTILE)], "model": "$m_{<b>} #x"})
        for place, response in enumerate(contents.responses)
    ]
    nul = responses[0].model_copy(update={"content": "nul\x00byte", "system_prompt": "=1+1"})
    return contents.model_copy(
        update={"responses": (nul, *responses[1:]), "name": "=<i>#name $x$ \x00" + "n" * 300, "description": "*d* <p>"}
    )


async def test_hostile_answers_are_shown_as_they_are_in_a_page(database: Engine, settings: Settings) -> None:
    contents = hostile(await of(database, SMALL))
    page = render_html(lay_out(contents)).decode()
    root = html.fromstring(page)
    assert root.xpath("//script | //i | //b[not(parent::figcaption)] | //@onerror") == []
    assert {image.get("src")[:26] for image in root.iter("img")} == {"data:image/svg+xml;base64,"}
    shown = {pre.text for pre in root.xpath("//section[last()]//pre")}
    expected = {printable(str(response.content)) for response in contents.responses}
    assert shown == {text.lstrip("\n") for text in expected}
    assert "nul�byte" in page
    assert "\x00" not in page


async def test_hostile_answers_are_shown_as_they_are_in_a_pdf(database: Engine, settings: Settings) -> None:
    contents = hostile(await of(database, SMALL))
    document = lay_out(contents)
    pair = document.sections[-2].parts[0] if document.sections[-2].parts else None
    assert pair is not None
    parts = tuple(
        replace(pair, best=replace(pair.best, text=said), worst=replace(pair.worst, text="…"))  # type: ignore[type-var, arg-type]
        for said in HOSTILE
    )
    sections = (replace(document.sections[0], parts=parts),)
    shown = of_pdf(render_pdf(replace(document, sections=sections, appendix=())))
    joined = re.sub(r"[\s​￾]+", "", shown)
    for said in (*HOSTILE[:8], HOSTILE[9], HOSTILE[12]):
        assert re.sub(r"\s+", "", said) in joined, said
    assert "(thefirst1,800of100,000characters)" in joined


async def test_hostile_answers_are_texts_in_a_spreadsheet(database: Engine, settings: Settings) -> None:
    contents = hostile(await of(database, SMALL))
    header, *rows = of_xlsx(render_xlsx(contents), "Responses")
    answers = [row[header.index("content")] for row in rows]
    assert all(isinstance(answer, str) for answer in answers)
    for said in HOSTILE[:6]:
        assert said in answers
    (long,) = {answer for answer in answers if answer.startswith("wordword")}
    assert long.endswith("of 100,000 characters)")
    assert len(long) <= 32_767
    assert rows[0][header.index("system_prompt")] == "=1+1"


async def test_hostile_answers_are_texts_in_csv_and_can_be_had_back(
    database: Engine, settings: Settings, tmp_path: Path
) -> None:
    contents = hostile(await of(database, SMALL))
    files = written(contents, tmp_path)
    cells = [row["content"] for row in of_csv(files["csv"])]
    assert not [cell for cell in cells if cell.startswith(RUN_AS_FORMULA)]
    assert [unescaped(cell) for cell in cells][1:] == [response.content for response in contents.responses][1:]
    assert "'+1+1|cmd" in cells
    assert files["pdf"].startswith(b"%PDF-")


@given(st.text(max_size=20))
def test_an_escaped_text_is_no_formula_and_can_be_had_back(said: str) -> None:
    assert not escaped(said).startswith(RUN_AS_FORMULA)
    assert unescaped(escaped(said)) == said


@given(st.text(alphabet=st.characters(), max_size=200))
def test_a_printable_text_has_no_control_character_and_a_breakable_one_no_endless_word(said: str) -> None:
    shown = printable(said)
    assert not set(shown) & {chr(code) for code in (*range(9), 11, 12, *range(13, 32), 127)}
    assert not [word for word in re.split(rf"[\s{ZERO_WIDTH_SPACE}]+", breakable(shown)) if len(word) > 40]
    assert breakable(shown).replace(ZERO_WIDTH_SPACE, "") == shown.replace(ZERO_WIDTH_SPACE, "")


def test_a_long_text_is_cut_and_says_so() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdef", 5) == "abcde… (the first 5 of 6 characters)"


def test_negative_numbers_stay_numbers_in_csv() -> None:
    assert exact(-0.5) == "-0.5"
    assert exact(Decimal("0.000000120")) == "0.000000120"
    assert exact(1e-07) == "1e-07"
    assert [exact(value) for value in (None, True, False, 3)] == ["", "yes", "no", "3"]


@pytest.mark.parametrize(
    ("planted", "says"),
    [
        (replace(SMALL, failed=16), "There is no answer with scores to conclude anything from (16 calls failed"),
        (replace(SMALL, unscored=16), "There is no answer with scores to conclude anything from"),
        (
            Planted(temperatures=(0.5,), top_ps=(1.0,), prompts=("Why?",), repeats=1),
            "Only one value of everything was asked: no parameter can be compared.",
        ),
        (
            Planted(temperatures=(0.1, 0.5), top_ps=(1.0,), prompts=("Why?",), repeats=1),
            "A heat map needs two parameters that vary.",
        ),
    ],
)
async def test_where_little_or_nothing_can_be_said_the_report_says_so(
    database: Engine, settings: Settings, tmp_path: Path, planted: Planted, says: str
) -> None:
    contents = await of(database, planted)
    files = written(contents, tmp_path)
    shown = " ".join(html.fromstring(files["html"].decode()).text_content().split())
    assert says in shown
    assert " ".join(says.split()[:5]) in " ".join(of_pdf(files["pdf"]).split())
    assert len(of_csv(files["csv"])) == len(contents.responses)


async def test_an_experiment_without_a_response_has_a_report(
    database: Engine, settings: Settings, tmp_path: Path
) -> None:
    store_experiment(database, SMALL)
    with database.begin() as connection:
        for table in ("quality_metrics", "responses"):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("UPDATE experiments SET status = 'failed', error_message = 'the budget is spent'"))
    contents = await read_report("planted")
    files = written(contents, tmp_path)
    assert "No response is stored: there is nothing to report yet." in files["html"].decode()
    assert "No response is stored" in of_pdf(files["pdf"])
    assert contents.calls.stored == 0
    assert len(files["csv"].splitlines()) == 1
    assert ["error", "the budget is spent"] in of_xlsx(files["xlsx"], "Summary")


async def test_a_sweep_that_goes_on_or_was_stopped_says_so(database: Engine, settings: Settings) -> None:
    contents = await of(database, SMALL)

    def first(**changed: object) -> str:
        (said, *_) = lay_out(contents.model_copy(update=changed)).sections[0].parts[0].said  # type: ignore[union-attr]
        return said

    assert first(status="running") == "The sweep is running: this is about the 16 responses so far."
    assert first(status="cancelled") == "The sweep was cancelled before its end."
    assert first(status="failed", error_message="no room") == "The sweep failed before its end: no room"


async def test_failures_are_counted_by_reason_and_costs_added(database: Engine, settings: Settings) -> None:
    store_experiment(database, replace(SMALL, failed=3))
    with database.begin() as connection:
        connection.execute(text("UPDATE responses SET error_message = 'too hot' WHERE id = 'planted/00001'"))
        connection.execute(text("UPDATE responses SET replayed = true, cost_usd = 0 WHERE id = 'planted/00010'"))
    contents = await read_report("planted")
    assert [(each.error_class, each.error_message, each.calls) for each in contents.failures] == [
        ("RetriesExhausted", None, 2), ("RetriesExhausted", "too hot", 1),
    ]  # fmt: skip
    calls = contents.calls
    assert (calls.stored, calls.answered, calls.failed, calls.replayed, calls.retried) == (16, 13, 3, 1, 0)
    assert contents.costs.paid_usd == Decimal("0.024")
    with database.begin() as connection:
        connection.execute(text("UPDATE responses SET cost_usd = NULL WHERE id = 'planted/00011'"))
    unknown = await read_report("planted")
    assert unknown.costs.paid_usd is None
    assert ("Paid", "unknown") in lay_out(unknown).facts


def answer(
    number: int, score: float | None, prompt: str = "Why?", content: str | None = "Because."
) -> ReportedResponse:
    nothing: dict[str, Any] = dict.fromkeys(
        ("system_prompt", "model", "finish_reason", "input_tokens", "output_tokens", "latency_ms", "cost_usd",
         "saved_usd", "replayed", "attempts", "error_class", "error_message", "repetition")
    )  # fmt: skip
    return ReportedResponse(
        number=number, id=str(number), prompt=prompt, parameters={}, status="succeeded", content=content,
        created_at=FIRST_DAY, scores={} if score is None else {"overall": score}, **nothing,
    )  # fmt: skip


def test_the_best_answers_stand_beside_the_worst_of_the_same_prompt() -> None:
    ranked = [answer(1, 0.5), answer(2, 0.9), answer(3, 0.1), answer(4, 0.7), answer(5, None), answer(6, 0.3)]
    pairs = [(pair.best, pair.worst) for pair in best_and_worst(ranked, "overall")]
    assert pairs == [(2, 3), (4, 6)]
    two = [answer(1, 0.5), answer(2, 0.9), answer(3, 0.5, "How?")]
    assert [(pair.prompt, pair.best, pair.worst) for pair in best_and_worst(two, "overall")] == [
        ("Why?", 2, 1), ("How?", 3, None),
    ]  # fmt: skip
    alike = [answer(1, 0.5), answer(2, 0.5), answer(3, 0.5)]
    assert [(pair.best, pair.worst) for pair in best_and_worst(alike, "overall")] == [(1, None)]


async def test_a_heat_map_has_the_means_of_the_responses_at_each_pair(database: Engine, settings: Settings) -> None:
    contents = await of(database, SMALL)
    (found,) = contents.heat_maps
    assert (found.first, found.second, found.first_values, found.second_values) == (
        "temperature", "top_p", (0.1, 0.5), (0.8, 1.0),
    )  # fmt: skip
    assert found.responses == ((4, 4), (4, 4))
    at = [r.scores["overall"] for r in contents.responses if r.parameters == {"temperature": 0.5, "top_p": 0.8}]
    assert found.means[1][0] == pytest.approx(sum(at) / 4, abs=1e-12)
    assert len(contents.combinations) == 4
    assert contents.combinations[0].score == max(each.score for each in contents.combinations)


async def test_more_scores_than_fit_abreast_are_in_two_tables(database: Engine, settings: Settings) -> None:
    metrics = (*SEVEN, "topic_coherence", "prompt_coverage")
    contents = await of(database, replace(SMALL, metrics=metrics))
    grids = [grid for grid in lay_out(contents).appendix if grid.title == "responses"]
    assert [grid.columns[-1] for grid in grids] == ["specificity", "topic_coherence"]
    assert grids[1].columns == ("number", "prompt_coverage", "topic_coherence")
    assert len(grids[0].columns) - 11 + 2 == len(metrics) or METRICS_ABREAST == 7


async def test_of_very_many_responses_readers_get_the_first_and_machines_all(
    database: Engine, settings: Settings
) -> None:
    contents = await of(database, replace(SMALL, metrics=("overall",)))
    many = tuple(contents.responses[place % 16].model_copy(update={"number": place + 1}) for place in range(LISTED + 5))
    document = lay_out(contents.model_copy(update={"responses": many}))
    (grid,) = [grid for grid in document.appendix if grid.title == "responses"]
    assert (len(grid.rows), document.left_out, len(document.answers)) == (LISTED, 5, LISTED)
    assert "The first 2,000 of 2,005; the other formats have all." in grid.note


def test_formats_are_chosen_by_name() -> None:
    assert chosen_formats([]) == FORMATS
    assert chosen_formats(["csv, PDF", "json"]) == ("pdf", "csv", "json")
    with pytest.raises(BadInput, match="there is no format docx; there are html, pdf, xlsx, csv, json"):
        chosen_formats(["docx"])


def test_files_are_named_after_the_experiment_and_replace_earlier_ones(
    database: Engine, settings: Settings, tmp_path: Path
) -> None:
    contents = asyncio.run(of(database, replace(SMALL, metrics=("overall",))))
    assert stem(contents) == "experiment-planted-planted"
    assert stem(contents.model_copy(update={"name": "../../etc/passwd", "experiment_id": "../x"})) == "etc-passwd-x"
    assert stem(contents.model_copy(update={"name": "///", "experiment_id": "/"})) == "report"
    long = stem(contents.model_copy(update={"name": "𝓼" * 200}))
    assert (long.startswith("𝓼" * 40), len(long.encode()) < 200) == (True, True)
    (tmp_path / "experiment-planted-planted.csv").write_text("earlier")
    (file,) = write_report(contents, tmp_path, ("csv",))
    assert file == ReportFile(format="csv", path=str(tmp_path / "experiment-planted-planted.csv"), bytes=file.bytes)
    assert len(Path(file.path).read_bytes()) == file.bytes > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["experiment-planted-planted.csv"]


async def test_a_folder_that_cannot_be_written_is_refused_in_a_sentence(
    database: Engine, settings: Settings, tmp_path: Path
) -> None:
    contents = await of(database, replace(SMALL, metrics=("overall",)))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BadInput, match=r"file/deeper cannot be written \(Not a directory\): name another folder"):
        write_report(contents, tmp_path / "file" / "deeper", ("json",))


async def test_what_all_combinations_have_in_common_is_said_and_not_drawn(database: Engine, settings: Settings) -> None:
    contents = await of(database, SMALL)
    (against,) = [each for each in lay_out(contents).sections if each.title == "Quality against cost and latency"]
    plots, told = against.parts
    assert [plot.caption.split(":")[0] for plot in plots.shown] == ["Overall against latency"]  # type: ignore[union-attr]
    assert told.said == ("The cost of every combination is the same.",)  # type: ignore[union-attr]


async def test_an_experiment_of_the_older_laboratory_has_a_report(database: Engine, settings: Settings) -> None:
    store_experiment(database, replace(SMALL, ours=False, prompts=("Why is the sky blue?",)))
    with database.begin() as connection:
        connection.execute(text("UPDATE experiments SET model = 'old-model', temperature_min = 0.1, max_tokens = 5"))
    contents = await read_report("planted")
    assert contents.spec == {
        "name": "Experiment planted", "prompt": "Why is the sky blue?", "model": "old-model", "temperature_min": 0.1,
        "max_tokens": 5,
    }  # fmt: skip
    assert {(response.model, response.prompt) for response in contents.responses} == {
        ("old-model", "Why is the sky blue?")
    }
    assert contents.costs.paid_usd is None


async def test_a_file_that_cannot_be_put_in_place_leaves_none_behind(
    database: Engine, settings: Settings, tmp_path: Path
) -> None:
    contents = await of(database, replace(SMALL, metrics=("overall",)))
    in_the_way = tmp_path / f"{stem(contents)}.csv"
    in_the_way.mkdir()
    with pytest.raises(BadInput, match="Is a directory"):
        write_report(contents, tmp_path, ("csv",))
    assert os.listdir(tmp_path) == [in_the_way.name]


async def test_plots_show_names_that_look_like_formulas_and_are_the_same_each_time(
    database: Engine, settings: Settings
) -> None:
    contents = await of(database, replace(SMALL, models=("a", "b"), better="b", metrics=("overall",)))
    found = contents.analysis.insight("model", "overall")
    names = ("$\\frac{1$ </text><script>", "模型 😀 " + "long" * 30)
    means = tuple(mean.model_copy(update={"value": name}) for mean, name in zip(found.means, names, strict=True))
    odd = found.model_copy(update={"means": means})
    drawn = draw_marginal(odd)
    assert drawn == draw_marginal(odd) != draw_marginal(found)
    assert etree.fromstring(drawn).tag.endswith("svg")
    assert b"<script" not in drawn
    assert draw_marginal(odd, form="png").startswith(b"\x89PNG")
    by_model = next(each for each in contents.heat_maps if "model" in (each.first, each.second))
    assert etree.fromstring(draw_heat_map(by_model.model_copy(update={"second_values": names}))).tag.endswith("svg")


async def test_scores_of_another_version_have_a_report_of_their_own(database: Engine, settings: Settings) -> None:
    store_experiment(database, replace(SMALL, version="llm-lab-2"))
    assert (await read_report("planted")).analysis_version == "llm-lab-2"
    with pytest.raises(NotFound, match="has no scores of judge-1"):
        await read_report("planted", analysis_version="judge-1")


@pytest.fixture(autouse=True)
def _quiet_plots() -> Iterator[None]:
    """No plot may warn of what a user can do nothing about."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_means_of_combinations_take_no_model_of_all_prompts() -> None:
    factors = grid({"temperature": (0.1, 0.5), "top_p": (0.5, 1.0)}, prompts=1_500)
    observed = observe(factors, 0.5 + 0.1 * factors[0].codes, metrics=("overall",))
    tracemalloc.start()
    try:
        means = combination_means(observed, "overall")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(each.settings["temperature"], each.responses, each.score) for each in means] == [
        (0.5, 1_500, 0.6), (0.5, 1_500, 0.6), (0.1, 1_500, 0.5), (0.1, 1_500, 0.5),
    ]  # fmt: skip
    assert peak < 16 * 2**20


async def test_a_sweep_whose_process_is_gone_has_failed(database: Engine, settings: Settings) -> None:
    store_experiment(database, SMALL)
    run = new_id()
    with database.begin() as connection:
        connection.execute(
            text("INSERT INTO runs (id, flow, project, subject, status) VALUES (:run, 'f', 'p', 's', 'crashed')"),
            {"run": run},
        )
        connection.execute(text("UPDATE experiments SET status = 'running', run_id = :run"), {"run": run})
    assert (await read_report("planted")).status == "failed"


async def test_scores_of_a_judge_are_reported_beside_the_others(database: Engine, settings: Settings) -> None:
    store_experiment(database, replace(SMALL, metrics=("overall",)))
    with database.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO quality_metrics (id, response_id, metric, score, analysis_version)
                SELECT id || '/judge', id, 'judge', 0.25, 'judge-1+gpt-4o' FROM responses
            """)
        )
    contents = await read_report("planted")
    assert contents.metrics == contents.analysis.metrics == ("overall", "judge")
    assert {response.scores["judge"] for response in contents.responses} == {0.25}
    assert contents.analysis_version == "headrace-1"


async def test_no_transaction_stays_open_while_statistics_are_made(
    database: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = text("""
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in transaction%'
    """)
    seen: list[int] = []

    def looked_at(*arguments: Any, **more: Any) -> Any:
        with database.connect() as connection:
            seen.append(connection.execute(idle).scalar_one())
        return analyse(*arguments, **more)

    monkeypatch.setattr("tasks.sweep.reports.contents.analyse", looked_at)
    await of(database, replace(SMALL, metrics=("overall",)))
    assert seen == [0]
