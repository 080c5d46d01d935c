"""The numbers of a report as tables of plain values, exactly as they are stored: the same in every format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from schemas.sweep import PARAMETERS, SweepSpec
from schemas.sweep_reports import ReportContents, ReportedResponse, Value
from schemas.sweep_statistics import Correlation, Interval, Level, ParameterInsight
from tasks.sweep.statistics.observations import PROMPT
from tasks.sweep.statistics.sentences import level_of


@dataclass(frozen=True)
class Table:
    """Rows under columns.

    Attributes:
        name: in small letters, a word or two.
        note: what must be known to read it; empty where nothing must.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    note: str = ""


def exact(value: Value) -> str:
    """`value` to its last digit: a float as the shortest decimal that is it, money without an exponent."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return repr(value)
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.isoformat()
    return str(value)


def all_tables(contents: ReportContents) -> tuple[Table, ...]:
    """Every table of the report that has a row."""
    made = (
        summary(contents),
        Table("conclusions", ("sentence",), tuple((sentence,) for sentence in contents.analysis.sentences)),
        responses(contents),
        marginals(contents),
        effects(contents),
        correlations(contents),
        interactions(contents),
        optima(contents),
        fronts(contents),
        combinations(contents),
        maps(contents),
        failures(contents),
        prompts(contents),
        spec(contents),
    )
    return tuple(table for table in made if table.rows)


def summary(contents: ReportContents) -> Table:
    """What was asked, what came of it, what it cost."""
    calls, costs, analysis = contents.calls, contents.costs, contents.analysis
    rows: tuple[tuple[str, Value], ...] = (
        ("experiment", contents.name),
        ("id", contents.experiment_id),
        ("description", contents.description),
        ("project", contents.project),
        ("run", str(contents.run_id) if contents.run_id else None),
        ("tags", ", ".join(contents.tags) or None),
        ("status", contents.status),
        ("error", contents.error_message),
        ("begun", contents.created_at),
        ("completed", contents.completed_at),
        ("as of", contents.as_of),
        ("calls planned", calls.planned),
        ("responses stored", calls.stored),
        ("answers", calls.answered),
        ("failed calls", calls.failed),
        ("replayed from the ledger", calls.replayed),
        ("answered after a retry", calls.retried),
        ("tokens in", calls.input_tokens),
        ("tokens out", calls.output_tokens),
        ("paid (USD)", costs.paid_usd if costs.paid_usd is not None else "unknown"),
        ("saved by replays (USD)", costs.saved_usd),
        ("limit (USD)", costs.max_cost_usd),
        ("scores by", contents.analysis_version),
        ("responses analysed", analysis.responses),
        ("combinations", analysis.combinations),
        ("prompts", len(analysis.prompts)),
        ("seed", analysis.seed),
    )
    return Table("summary", ("what", "value"), tuple(row for row in rows if row[1] is not None))


def responses(contents: ReportContents) -> Table:
    """Every response; prompts by their number, answers left to whoever shows them."""
    parameters = [name for name in PARAMETERS if any(name in response.parameters for response in contents.responses)]
    asked = {prompt: place for place, prompt in enumerate(asked_prompts(contents), 1)}
    systems = any(response.system_prompt for response in contents.responses)
    columns = ("number", "model", "prompt", *(("system prompt",) if systems else ()), *parameters, "repetition",
               "status", "tokens out", "latency (ms)", "cost (USD)", "attempts", *contents.metrics)  # fmt: skip
    rows = tuple(
        (
            response.number, response.model, asked[response.prompt], *((response.system_prompt,) if systems else ()),
            *(response.parameters.get(name) for name in parameters), response.repetition, response.status,
            response.output_tokens, response.latency_ms, response.cost_usd, response.attempts,
            *scores_of(response, contents.metrics),
        )
        for response in contents.responses
    )  # fmt: skip
    return Table("responses", columns, rows, "Scores are 0 to 1; prompts by their number in the table of prompts.")


def scores_of(response: ReportedResponse, metrics: Sequence[str]) -> tuple[float | None, ...]:
    """The scores in the order of `metrics`."""
    return tuple(response.scores.get(metric) for metric in metrics)


def asked_prompts(contents: ReportContents) -> list[str]:
    """Texts of the prompts: those of the analysis in its order, then those without a scored answer."""
    return list(dict.fromkeys([*contents.analysis.prompts, *(response.prompt for response in contents.responses)]))


def _level(parameter: str, value: Level, contents: ReportContents) -> Value:
    """A value of a parameter: numbers as they are, prompts by their number."""
    if isinstance(value, int | float):
        return value
    return level_of(parameter, value, contents.analysis.prompts if parameter == PROMPT else ())


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (interval.low, interval.high) if interval else (None, None)


def marginals(contents: ReportContents) -> Table:
    """Mean scores at each value of each parameter."""
    columns = ("parameter", "metric", "value", "responses", "mean", "low", "high", "is best", "recommended",
               "cost (USD)", "latency (ms)")  # fmt: skip
    rows = tuple(
        (insight.parameter, insight.metric, _level(insight.parameter, mean.value, contents), mean.responses, mean.mean,
         *_ends(mean.interval), mean.best_probability, mean.in_range and insight.significant, mean.cost_usd,
         mean.latency_ms)
        for insight in contents.analysis.insights
        for mean in insight.means
    )  # fmt: skip
    note = "Means with what other parameters did taken out; low to high is the 95 % interval; is best: probability."
    return Table("marginals", columns, rows, note)


def effects(contents: ReportContents) -> Table:
    """What each parameter does to each metric."""
    columns = ("parameter", "metric", "unit", "n", "p", "p adjusted", "significant", "difference", "low", "high",
               "best value", "is best", "recommended", "detectable", "more responses")  # fmt: skip
    rows = tuple(
        (found.parameter, found.metric, found.unit, found.units, found.p_value, found.p_adjusted, found.significant,
         found.difference, *_ends(found.difference_interval), _best(found, contents), found.best_probability,
         _recommended(found, contents), found.detectable_difference, found.more_responses)
        for found in contents.analysis.insights
    )  # fmt: skip
    note = "n is of the unit; p is adjusted over metrics and parameters (Benjamini and Hochberg)."
    return Table("effects", columns, rows, note)


def _best(found: ParameterInsight, contents: ReportContents) -> Value:
    return None if found.best_probability is None else _level(found.parameter, found.best_value, contents)


def _recommended(found: ParameterInsight, contents: ReportContents) -> str | None:
    if not found.significant:
        return None
    return ", ".join(str(level_of(found.parameter, value, _levels(found, contents))) for value in found.recommended)


def _levels(found: ParameterInsight, contents: ReportContents) -> Sequence[Level]:
    return contents.analysis.prompts if found.parameter == PROMPT else ()


def correlations(contents: ReportContents) -> Table:
    """How scores go with numbers."""
    columns = ("parameter", "metric", "kind", "coefficient", "low", "high", "strength", "n", "unit", "p", "p adjusted")
    kinds: tuple[tuple[str, str], ...] = (("Pearson", "pearson"), ("Spearman", "spearman"))
    rows = tuple(
        (insight.parameter, insight.metric, kind, one.coefficient, *_ends(one.interval), one.strength, one.n, one.unit,
         one.p_value, one.p_adjusted)
        for insight in contents.analysis.insights
        for kind, name in kinds
        for one in _of_kind(insight, name)
    )  # fmt: skip
    return Table("correlations", columns, rows)


def _of_kind(insight: ParameterInsight, name: str) -> Iterator[Correlation]:
    found: Correlation | None = getattr(insight, name)
    if found is not None:
        yield found


def interactions(contents: ReportContents) -> Table:
    """Whether the effect of one parameter depends on another."""
    columns = ("first", "second", "metric", "unit", "difference", "low", "high", "p", "p adjusted", "significant")
    rows = tuple(
        (found.first, found.second, found.metric, found.unit, found.difference, *_ends(found.interval), found.p_value,
         found.p_adjusted, found.significant)
        for found in contents.analysis.interactions
    )  # fmt: skip
    note = (
        "How much more the step through the range of the first brings at the end of the second's than at its beginning."
    )
    return Table("interactions", columns, rows, note)


def _setting_names(settings: Sequence[Mapping[str, Level]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in settings for name in each))


def optima(contents: ReportContents) -> Table:
    """Combinations that may be the best of each metric."""
    found = [(optimum.metric, rank, candidate) for optimum in contents.analysis.optima
             for rank, candidate in enumerate(optimum.candidates, 1)]  # fmt: skip
    names = _setting_names([candidate.settings for *_, candidate in found])
    columns = ("metric", "rank", *names, "responses", "mean", "estimate", "low", "high", "is best", "cost (USD)",
               "latency (ms)")  # fmt: skip
    rows = tuple(
        (metric, rank, *(_level(name, one.settings.get(name), contents) for name in names), one.responses, one.mean,
         one.estimate, *_ends(one.interval), one.probability, one.cost_usd, one.latency_ms)
        for metric, rank, one in found
    )  # fmt: skip
    return Table("optima", columns, rows, "The estimate is drawn towards what the other combinations make expect.")


def fronts(contents: ReportContents) -> Table:
    """Pareto fronts."""
    found = [("cost and latency" if len(front.against) > 1 else front.against[0].split("_")[0], front.metric, point)
             for front in contents.analysis.pareto for point in front.points]  # fmt: skip
    names = _setting_names([point.settings for *_, point in found])
    rows = tuple(
        (against, metric, *(_level(name, point.settings.get(name), contents) for name in names), point.responses,
         point.score, point.cost_usd, point.latency_ms)
        for against, metric, point in found
    )  # fmt: skip
    note = "No other combination is better in one respect and at least as good in the others."
    return Table(
        "pareto", ("against", "metric", *names, "responses", "score", "cost (USD)", "latency (ms)"), rows, note
    )


def combinations(contents: ReportContents) -> Table:
    """All combinations, the best mean first."""
    names = _setting_names([each.settings for each in contents.combinations])
    rows = tuple(
        (*(_level(name, each.settings.get(name), contents) for name in names), each.responses, each.score,
         each.cost_usd, each.latency_ms)
        for each in contents.combinations
    )  # fmt: skip
    mean = f"mean {contents.metric}"
    return Table("combinations", (*names, "responses", mean, "cost (USD)", "latency (ms)"), rows)


def maps(contents: ReportContents) -> Table:
    """Mean scores at each pair of values."""
    rows = tuple(
        (each.metric, each.first, _level(each.first, one, contents), each.second, _level(each.second, other, contents),
         each.responses[row][column], each.means[row][column])
        for each in contents.heat_maps
        for row, one in enumerate(each.first_values)
        for column, other in enumerate(each.second_values)
    )  # fmt: skip
    return Table("heat maps", ("metric", "first", "value", "second", "and value", "responses", "mean"), rows)


def failures(contents: ReportContents) -> Table:
    """Why calls failed."""
    rows = tuple((each.error_class, each.error_message, each.calls) for each in contents.failures)
    return Table("failures", ("error", "reason", "calls"), rows)


def prompts(contents: ReportContents) -> Table:
    """What was asked, by number."""
    return Table("prompts", ("number", "prompt"), tuple(enumerate(asked_prompts(contents), 1)))


def spec(contents: ReportContents) -> Table:
    """The spec, a row for each thing that it says."""
    return Table("spec", ("what", "value"), tuple(_flat(_in_order(contents.spec), "")))


def _in_order(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, in the order of a spec; nothing is said of what is not set."""
    names = dict.fromkeys([*SweepSpec.model_fields, *said])
    return {name: said[name] for name in names if said.get(name) not in (None, {}, [], [None])}


def _flat(said: Any, path: str) -> Iterator[tuple[str, Value]]:
    match said:
        case Mapping():
            for name, value in said.items():
                yield from _flat(value, f"{path}.{name}" if path else str(name))
        case list() if any(isinstance(value, list | Mapping) for value in said) or path in _TEXTS:
            for place, value in enumerate(said, 1):
                yield from _flat(value, f"{path} {place}")
        case list():
            yield path, ", ".join(_said(value) for value in said)
        case _:
            yield path, _said(said)


_TEXTS = frozenset({"prompts", "system_prompts"})


def _said(value: Any) -> str:
    return "none" if value is None else str(value)
