"""Two experiments compared metric by metric, on what both asked alike where there is any."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, text

from blocks.database import database_errors
from schemas.errors import BadInput
from schemas.experiments import ExperimentComparison, MetricDifference, Side
from schemas.sweep import PARAMETERS
from schemas.sweep_statistics import Interval, Level
from tasks.ledger.session import open_ledger
from tasks.sweep.finding import find_experiment
from tasks.sweep.quality.metrics import METRICS
from tasks.sweep.quality.scoring import OVERALL, VERSION
from tasks.sweep.statistics.difference import Difference, Sample, paired_difference, separate_difference
from tasks.sweep.statistics.insights import number
from tasks.sweep.statistics.multiplicity import LEVEL, adjust_holm
from tasks.sweep.statistics.observations import Codes, Floats
from tasks.sweep.statistics.sentences import between, name_of, p_text, points

AT_ONCE = 5_000
FACTORS = (*PARAMETERS, "model", "system_prompt", "prompt")
"""What a cell is known by."""
SEED = 0

Key = tuple[Any, ...]

_SCORES = text("""
    SELECT experiment_id, analysis_version, metric, count(*) AS scores
    FROM quality_metrics JOIN responses ON responses.id = response_id
    WHERE experiment_id = ANY(:ids) GROUP BY experiment_id, analysis_version, metric
""")
_SIDE = text("""
    SELECT experiments.name, count(responses.id) AS responses,
           count(*) FILTER (WHERE responses.status = 'failed') AS failed,
           CASE WHEN bool_or(responses.status = 'succeeded' AND cost_usd IS NULL) THEN NULL
                ELSE coalesce(sum(cost_usd), 0) END AS total_cost_usd
    FROM experiments LEFT JOIN responses ON experiment_id = experiments.id WHERE experiments.id = :id
    GROUP BY experiments.name
""")
# A replayed answer cost nothing this time; what is compared is what it costs to have it.
_RESPONSES = """
    SELECT {parameters}, coalesce(responses.model, experiments.model) AS model, md5(system_prompt) AS system_prompt,
           md5(coalesce(responses.prompt, experiments.prompt)) AS prompt,
           (CASE WHEN replayed THEN (SELECT saved_usd FROM llm_requests WHERE id = request_id)
                 ELSE cost_usd END)::float8 AS cost_usd, latency_ms::float8 AS latency_ms, {scores}
    FROM responses JOIN experiments ON experiments.id = experiment_id
    JOIN quality_metrics ON response_id = responses.id AND analysis_version = :version
    WHERE experiment_id = :id AND responses.status = 'succeeded'
    GROUP BY responses.id, experiments.id ORDER BY responses.id COLLATE "C"
"""
_TEXTS = text("""
    SELECT DISTINCT md5(said) AS digest, said FROM responses JOIN experiments ON experiments.id = experiment_id,
    LATERAL (VALUES (coalesce(responses.prompt, experiments.prompt)), (system_prompt)) AS texts (said)
    WHERE experiment_id = ANY(:ids) AND md5(said) = ANY(:digests)
""")


async def compare_experiments(first: str, second: str, *, analysis_version: str = "") -> ExperimentComparison:
    """Two experiments by each metric that both have, the second less the first.

    Cells that were asked alike are paired. What each experiment has only one of (its model, its prompt) may differ:
    cells are alike but for that. Where there are not two such cells, the means of all are compared.

    Args:
        first, second: ids, names or beginnings of ids.
        analysis_version: of the scores; those of today, or else the version most scores of both have.

    Raises:
        NotFound: there is no such experiment.
        BadInput: they are the same, or have no scores of one version.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                read = await connection.run_sync(_read, first, second, analysis_version)
    return await asyncio.to_thread(_compare, read)


@dataclass
class _Experiment:
    """What an experiment answered: of each answer its cell, its scores (NaN: none), its cost and latency."""

    id: str
    about: Row[Any]
    keys: list[Key] = field(default_factory=list)
    scores: list[Sequence[float]] = field(default_factory=list)
    spent: list[Sequence[float]] = field(default_factory=list)

    def levels(self, place: int) -> set[Any]:
        return {key[place] for key in self.keys}


@dataclass(frozen=True)
class _Read:
    first: _Experiment
    second: _Experiment
    version: str
    metrics: tuple[str, ...]
    differs: dict[str, tuple[Level, Level]]


def _read(connection: Connection, first: str, second: str, analysis_version: str) -> _Read:
    ids = [find_experiment(connection, said) for said in (first, second)]
    if ids[0] == ids[1]:
        raise BadInput(f"{first} and {second} are one experiment: there is nothing to compare")
    version, metrics = _shared_scores(connection, ids, analysis_version)
    one, other = (_read_experiment(connection, each, version, metrics) for each in ids)
    return _Read(one, other, version, metrics, _differences(connection, one, other))


def _shared_scores(connection: Connection, ids: list[str], analysis_version: str) -> tuple[str, tuple[str, ...]]:
    """The version to compare by, and the metrics that both have of it, `overall` first."""
    scores: dict[str, dict[str, dict[str, int]]] = {}
    for row in connection.execute(_SCORES, {"ids": ids}):
        scores.setdefault(row.analysis_version, {}).setdefault(row.experiment_id, {})[row.metric] = row.scores
    shared = {
        version: {metric: min(of[each][metric] for each in ids) for metric in of[ids[0]].keys() & of[ids[1]].keys()}
        for version, of in scores.items()
        if len(of) == len(ids)
    }
    known = {version: found for version, found in shared.items() if found}
    if not known or (analysis_version and analysis_version not in known):
        told = f"of {analysis_version}; of these both have: {', '.join(sorted(known)) or 'none'}"
        raise BadInput(f"the experiments have no scores in common{f' {told}' if analysis_version else ''}")
    most_used = max(sorted(known), key=lambda version: sum(known[version].values()))
    version = analysis_version or (VERSION if VERSION in known else most_used)
    order = (OVERALL, *METRICS)
    ordered = sorted(known[version], key=lambda name: (order.index(name) if name in order else len(order), name))
    return version, tuple(ordered)


def _read_experiment(connection: Connection, found: str, version: str, metrics: Sequence[str]) -> _Experiment:
    read = _Experiment(found, connection.execute(_SIDE, {"id": found}).one())
    columns = ", ".join(f"max(score) FILTER (WHERE metric = :metric_{n}) AS score_{n}" for n in range(len(metrics)))
    parameters = ", ".join(f"responses.{name}" for name in PARAMETERS)
    query = text(_RESPONSES.format(parameters=parameters, scores=columns)).execution_options(yield_per=AT_ONCE)
    values = {"id": found, "version": version, **{f"metric_{n}": metric for n, metric in enumerate(metrics)}}
    same: dict[Key, Key] = {}
    for row in connection.execute(query, values):
        key = tuple(row[: len(FACTORS)])
        numbers = [np.nan if value is None else value for value in row[len(FACTORS) :]]
        read.keys.append(same.setdefault(key, key))
        read.spent.append(numbers[:2])
        read.scores.append(numbers[2:])
    return read


def _differences(connection: Connection, one: _Experiment, other: _Experiment) -> dict[str, tuple[Level, Level]]:
    """What each has only one of, and not the same."""
    found: dict[str, tuple[Level, Level]] = {}
    for place, name in enumerate(FACTORS):
        levels = one.levels(place), other.levels(place)
        if len(levels[0]) == len(levels[1]) == 1 and levels[0] != levels[1]:
            found[name] = (levels[0].pop(), levels[1].pop())
    said = {name: ends for name, ends in found.items() if name.endswith("prompt")}
    if said:
        digests = [digest for ends in said.values() for digest in ends if digest]
        rows = connection.execute(_TEXTS, {"ids": [one.id, other.id], "digests": digests})
        texts = {row.digest: row.said for row in rows}
        found |= {name: (texts.get(ends[0]), texts.get(ends[1])) for name, ends in said.items()}
    return found


def _compare(read: _Read) -> ExperimentComparison:
    sides = [_Cells(side, tuple(read.differs)) for side in (read.first, read.second)]
    common = sorted(sides[0].places.keys() & sides[1].places.keys(), key=repr)
    found = [_difference(sides, common, place) for place in range(len(read.metrics))]
    p_values = np.array([np.nan if one.p_value is None else one.p_value for one, *_ in found])
    adjusted = adjust_holm(p_values)
    names = (read.first.about.name, read.second.about.name)
    if names[0] == names[1]:
        names = ("the first", "the second")
    return ExperimentComparison(
        first=_side(read.first, sides[0]),
        second=_side(read.second, sides[1]),
        analysis_version=read.version,
        common_cells=len(common),
        differs=read.differs,
        metrics=tuple(
            _told(metric, each, number(float(p)), names)
            for metric, each, p in zip(read.metrics, found, adjusted, strict=True)
        ),
    )


class _Cells:
    """An experiment by its cells, known by all that is not `left_out`."""

    def __init__(self, read: _Experiment, left_out: Sequence[str]) -> None:
        kept = [place for place, name in enumerate(FACTORS) if name not in left_out]
        keys = [tuple(key[place] for place in kept) for key in read.keys]
        self.places: dict[Key, int] = {}
        self.cells: Codes = np.array([self.places.setdefault(key, len(self.places)) for key in keys], dtype=np.intp)
        self._has_prompt = FACTORS[-1] not in left_out
        self.combinations: Codes = _codes(self.combination_of(key) for key in keys)
        self.scores: Floats = np.asarray(read.scores, dtype=np.float64).reshape(len(keys), -1)

    def combination_of(self, key: Key) -> Key:
        """The cell without its prompt."""
        return key[:-1] if self._has_prompt else key

    def means(self, metric: int) -> Floats:
        """(cells,): NaN where no answer has the metric."""
        scores = self.scores[:, metric]
        known = ~np.isnan(scores)
        count = np.bincount(self.cells[known], minlength=len(self.places))
        with np.errstate(invalid="ignore"):
            return np.asarray(np.bincount(self.cells[known], scores[known], len(self.places)) / count)

    def sample(self, metric: int) -> Sample:
        """The answers that have the metric."""
        known = ~np.isnan(self.scores[:, metric])
        return Sample(self.scores[known, metric], self.cells[known], self.combinations[known])


def _codes(values: Iterable[Any]) -> Codes:
    places: dict[Any, int] = {}
    return np.array([places.setdefault(value, len(places)) for value in values], dtype=np.intp)


_Found = tuple[Difference, float, float, "Floats | None"]


def _difference(sides: Sequence[_Cells], common: Sequence[Key], metric: int) -> _Found:
    """The difference, both means, and the differences of pairs where there are."""
    first, second = (side.means(metric) for side in sides)
    pairs = np.array([(sides[0].places[key], sides[1].places[key]) for key in common], dtype=np.intp).reshape(-1, 2)
    differences = second[pairs[:, 1]] - first[pairs[:, 0]]
    known = ~np.isnan(differences)
    if known.sum() < 2:
        separate = separate_difference(sides[0].sample(metric), sides[1].sample(metric), SEED)
        return separate, float(np.nanmean(first)), float(np.nanmean(second)), None
    chosen = [key for key, kept in zip(common, known, strict=True) if kept]
    combinations = [sides[0].combination_of(key) for key in chosen]
    prompts = _codes(key[len(rest) :] for key, rest in zip(chosen, combinations, strict=True))
    paired = paired_difference(differences[known], _codes(combinations), prompts, SEED)
    one, other = first[pairs[known, 0]], second[pairs[known, 1]]
    return paired, float(one.mean()), float(other.mean()), differences[known]


def _told(metric: str, found: _Found, p_adjusted: float | None, names: tuple[str, str]) -> MetricDifference:
    difference, first, second, pairs = found
    made = MetricDifference(
        metric=metric,
        first=round(first, 12),
        second=round(second, 12),
        difference=round(difference.difference, 12),
        paired=pairs is not None,
        cells=0 if pairs is None else len(pairs),
        better=None if pairs is None else int((pairs > 1e-12).sum()),
        worse=None if pairs is None else int((pairs < -1e-12).sum()),
        unit=difference.unit,
        units=difference.units,
        interval=difference.interval,
        p_value=None if difference.p_value is None else number(difference.p_value),
        p_adjusted=p_adjusted,
        significant=p_adjusted is not None and p_adjusted <= LEVEL,
        sentence="",
    )
    return made.model_copy(update={"sentence": tell(made, names)})


def tell(found: MetricDifference, names: tuple[str, str]) -> str:
    """The difference as a sentence, of the better experiment where it can be told."""
    metric, turned = name_of(found.metric), found.significant and found.difference < 0
    better, worse = (found.worse, found.better) if turned else (found.better, found.worse)
    pairs = f"{found.cells:,} pairs, {better:,} better, {worse:,} worse" if found.paired else "nothing to pair"
    if found.interval is None or found.p_adjusted is None:
        return f"{metric}: {points(found.first)} and {points(found.second)}; one answer a side says no more ({pairs})."
    ends = Interval(low=-found.interval.high, high=-found.interval.low) if turned else found.interval
    about = f"({between(ends)}, {p_text(found.p_adjusted)}; {found.units:,} {found.unit}, {pairs})"
    if not found.significant:
        return f"{metric}: no difference can be shown: {points(found.difference)} {about}."
    return f"{metric}: {names[not turned]} is better by {points(abs(found.difference))} {about}."


def _side(read: _Experiment, cells: _Cells) -> Side:
    spent = np.asarray(read.spent, dtype=np.float64).reshape(-1, 2)
    cost, latency = (float(column[~np.isnan(column)].mean()) if (~np.isnan(column)).any() else None
                     for column in spent.T)  # fmt: skip
    return Side(
        experiment_id=read.id,
        **read.about._mapping,
        cells=len(cells.places),
        cost_usd=None if cost is None else number(cost),
        latency_ms=None if latency is None else number(latency),
    )
