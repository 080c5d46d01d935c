"""A report laid out for readers, that HTML and PDF render alike.

What is for people is rounded and of 100; an appendix has every number as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from schemas.sweep_reports import AnswerPair, ReportContents, ReportedResponse, Value
from schemas.sweep_statistics import Candidate, Interval, Level, LevelMean, Optimum, ParameterInsight
from tasks.sweep.reports.parts import (
    Answer,
    Grid,
    Part,
    Plot,
    Plots,
    ReportDocument,
    Section,
    Sentences,
    SideBySide,
)
from tasks.sweep.reports.plots import draw_front, draw_heat_map, draw_marginal, is_wide, scale_of
from tasks.sweep.reports.tables import Table, all_tables, asked_prompts, exact, spec, summary
from tasks.sweep.statistics.observations import MOST_LEVELS
from tasks.sweep.statistics.sentences import (
    between,
    level_of,
    listed,
    name_of,
    p_text,
    points,
    probability,
    settings_of,
)

LISTED = 2000
"""Rows of an appendix table; of more, the other formats have all."""
METRICS_ABREAST = 7
"""Columns of scores that fit beside each other on a page."""


def lay_out(contents: ReportContents) -> ReportDocument:
    """`contents` as a document; what cannot be said is said."""
    sections = (_conclusions(contents), _parameters(contents), _maps(contents), _best(contents), _fronts(contents),
                _interactions(contents), _pairs(contents), _failures(contents), _asked(contents))  # fmt: skip
    listed = contents.responses[:LISTED]
    return ReportDocument(
        title=contents.name,
        subtitle=contents.description or "",
        as_of=contents.as_of,
        facts=_facts(contents),
        sections=tuple(section for section in sections if section.parts),
        appendix=tuple(grid for table in all_tables(contents) for grid in _exact_grids(table, contents)),
        answers=tuple(_answer(f"Response {response.number}", response, contents.metric) for response in listed),
        left_out=len(contents.responses) - len(listed),
    )


def _facts(contents: ReportContents) -> tuple[tuple[str, str], ...]:
    calls, costs = contents.calls, contents.costs
    overall = [r.scores[contents.metric] for r in contents.responses if contents.metric in r.scores]
    facts = [
        ("Status", contents.status),
        ("Answers", f"{calls.answered:,}" + (f" of {calls.planned:,}" if calls.planned else "")),
        ("Failed", f"{calls.failed:,}"),
        ("Combinations", f"{contents.analysis.combinations:,}"),
        ("Paid", _dollars(costs.paid_usd) if calls.answered else "$0"),
    ]
    if overall and contents.metric:
        facts.insert(3, (f"Mean {name_of(contents.metric)}", points(sum(overall) / len(overall))))
    if costs.saved_usd:
        facts.append(("Saved by replays", _dollars(costs.saved_usd)))
    return tuple(facts)


def _dollars(usd: Decimal | float | None) -> str:
    if usd is None:
        return "unknown"
    amount = usd if isinstance(usd, Decimal) else Decimal(repr(usd))
    if not amount:
        return "$0"
    return f"${amount:.3g}" if 0 < amount < Decimal("0.01") and amount >= Decimal("0.000001") else f"${amount:,.4f}"


def _conclusions(contents: ReportContents) -> Section:
    said = list(contents.analysis.sentences)
    if contents.status in {"running", "pending"}:
        said.insert(0, f"The sweep is {contents.status}: this is about the {contents.calls.stored:,} responses so far.")
    if contents.status in {"failed", "cancelled"}:
        ended = "failed" if contents.status == "failed" else "was cancelled"
        reason = f": {contents.error_message}" if contents.error_message else "."
        said.insert(0, f"The sweep {ended} before its end{reason}")
    if not contents.calls.stored:
        said = ["No response is stored: there is nothing to report yet."]
    return Section("What it shows", (Sentences(tuple(sentence.replace(" %", "\u00a0%") for sentence in said)),))


def _insights(contents: ReportContents) -> list[ParameterInsight]:
    return [found for found in contents.analysis.insights if found.metric == contents.metric]


def _parameters(contents: ReportContents) -> Section:
    insights = _insights(contents)
    if not insights:
        said = "Only one value of everything was asked: no parameter can be compared."
        return Section("Parameters", (Sentences((said,)),) if contents.metric else ())
    scale = scale_of(insights)
    drawn = [found for found in insights if len(found.means) <= MOST_LEVELS]
    plots = tuple(
        Plot(
            draw_marginal(found, scale),
            f"Mean {name_of(found.metric)} by {name_of(found.parameter)} with 95 % intervals"
            + ("; recommended values are filled." if found.significant else "."),
        )
        for found in drawn
    )
    grids = tuple(_means(found) for found in insights)
    told = _recommendations(insights)
    return Section("Parameters", (Plots(plots), told, *grids))


def _recommendations(insights: Sequence[ParameterInsight]) -> Grid:
    rows = tuple(
        (
            name_of(found.parameter),
            _recommended(found),
            points(found.difference), _p(found.p_adjusted),
            _correlation(found), f"{found.units:,} {found.unit}",
            "" if found.more_responses is None else f"{found.more_responses:,}",
        )
        for found in insights
    )  # fmt: skip
    columns = ("parameter", "recommended", "difference", "p adjusted", "correlation", "n", "more responses needed")
    note = "Any: no value can be told from another. Difference: between the best and the worst value, of 100."
    return Grid("Recommended values", columns, rows, (False, False, True, True, True, True, True), note)


def _recommended(found: ParameterInsight) -> str:
    if not found.significant:
        return "any"
    return listed(found.parameter, found.recommended, [mean.value for mean in found.means])


def _p(p_value: float | None) -> str:
    return "" if p_value is None else p_text(p_value).removeprefix("p ").removeprefix("= ")


def _shown(found: ParameterInsight, value: Level) -> str:
    return level_of(found.parameter, value, [mean.value for mean in found.means])


def _correlation(found: ParameterInsight) -> str:
    if found.pearson is None:
        return ""
    return f"{found.pearson.coefficient:+.2f} ({found.pearson.strength})"


def _means(found: ParameterInsight) -> Grid:
    columns = (name_of(found.parameter), "responses", "mean", "95 %", "is best", "recommended", "cost", "latency")
    rows = tuple(
        (_shown(found, mean.value), f"{mean.responses:,}", points(mean.mean), _about(mean.interval),
         "" if mean.best_probability is None else probability(mean.best_probability),
         "yes" if mean.in_range and found.significant else "", *_prices(mean))
        for mean in found.means
    )  # fmt: skip
    title = f"{name_of(found.metric).capitalize()} by {name_of(found.parameter)}"
    return Grid(title, columns, rows, (False, True, True, True, True, False, True, True))


def _about(interval: Interval | None) -> str:
    return between(interval) if interval else ""


def _prices(found: LevelMean | Candidate) -> tuple[str, str]:
    latency = "" if found.latency_ms is None else f"{found.latency_ms:,.0f} ms"
    return ("" if found.cost_usd is None else _dollars(found.cost_usd), latency)


def _maps(contents: ReportContents) -> Section:
    if contents.metric and not contents.heat_maps:
        return Section("Heat maps", (Sentences(("A heat map needs two parameters that vary.",)),))
    plots = tuple(
        Plot(
            draw_heat_map(found),
            f"Mean {name_of(found.metric)} by {name_of(found.first)} and {name_of(found.second)}, of the responses as "
            "they are.",
            wide=is_wide(found),
        )
        for found in contents.heat_maps
    )
    return Section("Heat maps", (Plots(plots),) if plots else ())


def _best(contents: ReportContents) -> Section:
    optima = [found for found in contents.analysis.optima if found.metric == contents.metric]
    return Section("Probably the best", tuple(part for found in optima for part in _optimum(found)))


def _optimum(found: Optimum) -> Iterator[Part]:
    columns = ("combination", "responses", "mean", "estimate", "95 %", "is best", "cost", "latency")
    rows = tuple(
        (settings_of(one.settings), f"{one.responses:,}", points(one.mean), points(one.estimate), between(one.interval),
         probability(one.probability), *_prices(one))
        for one in found.candidates
    )  # fmt: skip
    yield Grid(f"Candidates for {name_of(found.metric)}", columns, rows, (False, *[True] * 7))


def _fronts(contents: ReportContents) -> Section:
    plots, told = [], []
    for front in contents.analysis.pareto:
        if len(front.against) > 1:
            continue
        price = front.against[0].split("_")[0]
        known = {getattr(each, front.against[0]) for each in contents.combinations} - {None}
        if len(known) > 1:
            score = name_of(front.metric).capitalize()
            caption = f"{score} against {price}: none beats those of the front in both."
            plots.append(Plot(draw_front(front, contents.combinations), caption))
        elif known:
            told.append(f"The {price} of every combination is the same.")
        if front.left_out:
            told.append(f"The {price} of {front.left_out:,} combinations is not known: they are on no front.")
    parts: tuple[Part, ...] = (Plots(tuple(plots)),) if plots else ()
    return Section("Quality against cost and latency", (*parts, Sentences(tuple(told))) if told else parts)


def _interactions(contents: ReportContents) -> Section:
    found = [each for each in contents.analysis.interactions if each.metric == contents.metric]
    rows = tuple(
        (f"{name_of(each.first)} and {name_of(each.second)}", points(each.difference), _about(each.interval),
         _p(each.p_adjusted), "yes" if each.significant else "")
        for each in found
    )  # fmt: skip
    columns = ("parameters", "difference of effects", "95 %", "p adjusted", "can be shown")
    return Section("Interactions", (Grid("", columns, rows, (False, True, True, True, False)),) if rows else ())


def _pairs(contents: ReportContents) -> Section:
    before = ["", *(pair.prompt for pair in contents.pairs)]
    pairs = (_pair(pair, contents, before[place]) for place, pair in enumerate(contents.pairs))
    return Section("Best and worst answers", tuple(pairs))


def _pair(pair: AnswerPair, contents: ReportContents, above: str) -> SideBySide:
    worst = contents.response(pair.worst) if pair.worst else None
    return SideBySide(
        prompt=pair.prompt if pair.prompt != above else "",
        best=_answer(
            "Best" if worst else "No answer is better or worse", contents.response(pair.best), contents.metric
        ),
        worst=_answer("Worst", worst, contents.metric) if worst else None,
    )


def _answer(label: str, response: ReportedResponse, metric: str | None) -> Answer:
    settings: dict[str, Level] = {"model": response.model, **response.parameters}
    if response.system_prompt:
        settings["system_prompt"] = response.system_prompt
    score = f", {name_of(metric)} {points(response.scores[metric])}" if metric and metric in response.scores else ""
    if response.status == "failed":
        reason = f"{response.error_class}: {response.error_message}" if response.error_message else response.error_class
        return Answer(f"{label}, failed", settings_of(settings), reason or "")
    about = settings_of(settings)
    if response.repetition is not None:
        about += f", repetition {response.repetition + 1}"
    return Answer(f"{label}{score}", f"{about} (response {response.number})", response.content or "(empty)")


def _failures(contents: ReportContents) -> Section:
    rows = tuple((each.error_class, each.error_message or "", f"{each.calls:,}") for each in contents.failures)
    parts = (Grid("", ("error", "reason", "calls"), rows, (False, False, True)),) if rows else ()
    return Section("Failed calls", parts)


def _asked(contents: ReportContents) -> Section:
    said = tuple((str(place), prompt) for place, prompt in enumerate(asked_prompts(contents), 1))
    asked = tuple((str(what), exact(value)) for what, value in spec(contents).rows if not _is_prompt(str(what)))
    cost = tuple((str(what), exact(value)) for what, value in summary(contents).rows if what in _COSTS)
    grids = (
        Grid("Prompts", ("", "prompt"), said, (True, False)),
        Grid("Spec", ("what", "value"), asked, (False, False)),
        Grid("Calls and cost", ("what", "value"), cost, (False, True)),
    )
    return Section("What was asked", tuple(grid for grid in grids if grid.rows))


_COSTS = frozenset({"calls planned", "responses stored", "answers", "failed calls", "replayed from the ledger",
                    "answered after a retry", "tokens in", "tokens out", "paid (USD)", "saved by replays (USD)",
                    "limit (USD)"})  # fmt: skip


def _is_prompt(what: str) -> bool:
    return what == "prompt" or what.startswith("prompts ")


def _exact_grids(table: Table, contents: ReportContents) -> Iterator[Grid]:
    """The table as texts; so wide a one as of all responses in pieces, each with the numbers of the rows."""
    if table.name in {"conclusions", "prompts", "failures", "spec"}:
        return  # they are above as they are
    note = table.note
    if len(table.rows) > LISTED:
        note = f"{note} The first {LISTED:,} of {len(table.rows):,}; the other formats have all.".strip()
    if table.name != "responses" or len(contents.metrics) <= METRICS_ABREAST:
        yield _grid(table, note, list(range(len(table.columns))))
        return
    first = len(table.columns) - len(contents.metrics)
    for start in range(first, len(table.columns), METRICS_ABREAST):
        scores = list(range(start, min(start + METRICS_ABREAST, len(table.columns))))
        yield _grid(table, note, [*(range(first) if start == first else [0]), *scores])


def _grid(table: Table, note: str, places: Sequence[int]) -> Grid:
    shown: Callable[[Sequence[Value]], tuple[str, ...]] = lambda row: tuple(exact(row[place]) for place in places)  # noqa: E731
    rows = table.rows[:LISTED]
    numeric = tuple(any(_is_number(row[place]) for row in rows) and not any(isinstance(row[place], str) for row in rows)
                    for place in places)  # fmt: skip
    columns = tuple(table.columns[place] for place in places)
    return Grid(table.name, columns, tuple(shown(row) for row in rows), numeric, note)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
