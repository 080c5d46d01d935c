"""Plots of a report: heat maps, marginal means with their intervals, the Pareto front. Equal data, equal bytes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from schemas.sweep_reports import CombinationMean, HeatMap
from schemas.sweep_statistics import Level, ParameterInsight, ParetoFront
from tasks.sweep.statistics.sentences import TIMES, level_of, name_of, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, PALE = "#1f2933", "#0b6e8a", "#9fb3c0"
MOST_WRITTEN_CELLS = 150
MOST_TICKS = 12
LONGEST_TICK = 22
NARROW, WIDE = 3.3, 6.7
"""Inches: half the width of a page, and all of it."""
COLUMNS_OF_NARROW = 6
PIXELS_PER_INCH = 144
_STYLE: Any = {
    "svg.hashsalt": "headrace",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}
_one_at_a_time = Lock()


@contextmanager
def _styled() -> Iterator[Any]:
    """Matplotlib with our settings, which are one dictionary for all threads."""
    import matplotlib

    from tasks.sweep.reports.fonts import plot_families

    with _one_at_a_time, matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.rcParams["font.family"] = plot_families()
        yield matplotlib


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _saved(figure: Figure, form: Literal["svg", "png"]) -> bytes:
    out = BytesIO()
    nothing: dict[str, Any] = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    figure.savefig(out, format=form, metadata=nothing, dpi=PIXELS_PER_INCH)
    return out.getvalue()


def is_wide(found: HeatMap) -> bool:
    """It needs the whole width of a page."""
    return len(found.second_values) > COLUMNS_OF_NARROW


def draw_heat_map(found: HeatMap, form: Literal["svg", "png"] = "svg") -> bytes:
    """Mean scores of 100 by two parameters; what was not asked is blank."""
    import numpy as np

    with _styled():
        rows, columns = len(found.first_values), len(found.second_values)
        figure, axes = _new(WIDE if is_wide(found) else NARROW, min(6.0, max(2.4, 1.1 + 0.27 * rows)))
        means = TIMES * np.array([[np.nan if mean is None else mean for mean in row] for row in found.means])
        image = axes.imshow(means, cmap="cividis", aspect="auto", origin="lower")
        axes.spines[:].set_visible(False)
        _label(axes, "y", found.first, found.first_values)
        _label(axes, "x", found.second, found.second_values)
        if rows * columns <= MOST_WRITTEN_CELLS and columns <= MOST_TICKS:
            _write_cells(axes, found, image)
        figure.colorbar(image, ax=axes, label=f"mean {name_of(found.metric)}", shrink=0.9).outline.set_visible(False)
        return _saved(figure, form)


def _write_cells(axes: Axes, found: HeatMap, image: Any) -> None:
    for row, means in enumerate(found.means):
        for column, mean in enumerate(means):
            if mean is not None:
                dark = image.norm(TIMES * mean) < 0.55
                axes.text(column, row, points(mean), ha="center", va="center", fontsize=6.5,
                          color="white" if dark else "black")  # fmt: skip


def _label(axes: Axes, side: Literal["x", "y"], parameter: str, values: Sequence[Level]) -> None:
    every = -(-len(values) // MOST_TICKS)
    places = list(range(0, len(values), every))
    labels = [_short(level_of(parameter, values[place], values)) for place in places]
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_ticks(places, labels)
    if side == "x" and max(map(len, labels)) > 8:
        axes.tick_params("x", rotation=30)
    axis.set_label_text(name_of(parameter))


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_TICK else f"{label[: LONGEST_TICK // 2]}…{label[-LONGEST_TICK // 2 + 1 :]}"


def scale_of(insights: Sequence[ParameterInsight]) -> tuple[float, float]:
    """The lowest and the highest mean or end of an interval, of 100, with some room; for plots to be compared."""
    ends = [end for found in insights for mean in found.means
            for end in (mean.mean, *((mean.interval.low, mean.interval.high) if mean.interval else ()))]  # fmt: skip
    low, high = TIMES * min(ends), TIMES * max(ends)
    room = max(1.0, 0.06 * (high - low))
    return low - room, high + room


def draw_marginal(
    found: ParameterInsight, scale: tuple[float, float] | None = None, form: Literal["svg", "png"] = "svg"
) -> bytes:
    """Mean scores of 100 at each value with 95 % intervals; recommended values are filled."""
    with _styled():
        figure, axes = _new(NARROW, 2.5)
        axes.set_ylim(*(scale or scale_of([found])))
        numeric = all(isinstance(mean.value, int | float) for mean in found.means)
        values: list[Level] = [mean.value for mean in found.means]
        places = [float(mean.value) if isinstance(mean.value, int | float) and numeric else float(place)
                  for place, mean in enumerate(found.means)]  # fmt: skip
        means = [TIMES * mean.mean for mean in found.means]
        if numeric and len(places) > 1:
            axes.plot(places, means, color=PALE, linewidth=1, zorder=1)
        for place, shown, mean in zip(places, means, found.means, strict=True):
            ends = [[0.0], [0.0]]
            if mean.interval:
                ends = [[max(0.0, shown - TIMES * mean.interval.low)], [max(0.0, TIMES * mean.interval.high - shown)]]
            filled = mean.in_range and found.significant
            axes.errorbar([place], [shown], yerr=ends, fmt="o", color=ACCENT, markersize=4.5, capsize=2, linewidth=1,
                          markerfacecolor=ACCENT if filled else "white")  # fmt: skip
        if not numeric or len(places) == 1:
            _label(axes, "x", found.parameter, values)
            axes.margins(x=0.15)
        axes.set_xlabel(name_of(found.parameter))
        axes.set_ylabel(name_of(found.metric))
        axes.grid(axis="y", color="#e4eaee", linewidth=0.6)
        axes.set_axisbelow(True)
        return _saved(figure, form)


def draw_front(
    front: ParetoFront, combinations: Sequence[CombinationMean], form: Literal["svg", "png"] = "svg"
) -> bytes:
    """Every combination by its cost or latency and its score; those on the front are joined."""
    price = front.against[0]
    with _styled():
        figure, axes = _new(NARROW, 2.5)
        known = [
            (getattr(each, price), TIMES * each.score) for each in combinations if getattr(each, price) is not None
        ]
        axes.scatter([x for x, _ in known], [y for _, y in known], s=12, color=PALE, linewidths=0, label="combinations")
        steps = sorted((getattr(point, price), TIMES * point.score) for point in front.points)
        axes.plot([x for x, _ in steps], [y for _, y in steps], color=ACCENT, marker="o", markersize=4, linewidth=1,
                  drawstyle="steps-post", label="Pareto front")  # fmt: skip
        axes.set_xlabel("cost of a response (USD)" if price == "cost_usd" else "latency of a response (ms)")
        axes.set_ylabel(name_of(front.metric))
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter("{x:.4g}" if price == "cost_usd" else "{x:,.0f}")
        axes.grid(color="#e4eaee", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=7)
        return _saved(figure, form)
