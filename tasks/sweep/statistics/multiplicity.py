"""Adjusted p-values: of many null hypotheses that are tested, few are to be rejected by chance."""

from __future__ import annotations

import numpy as np

from tasks.sweep.statistics.observations import Floats

LEVEL = 0.05


def adjust_benjamini_hochberg(p_values: Floats, axis: int = -1) -> Floats:
    """Rejecting where these are at most q keeps the expected share of false rejections at q.

    NaN (no test) stays NaN and is not counted. Source: Benjamini and Hochberg 1995, JRSS B 57, step-up; valid for
    independent and positively dependent tests.
    """
    ordered = np.moveaxis(np.asarray(p_values, dtype=np.float64), axis, -1)
    tests = (~np.isnan(ordered)).sum(axis=-1, keepdims=True)
    places = np.argsort(ordered, axis=-1)  # NaN last
    ranks = np.arange(1, ordered.shape[-1] + 1)
    raised = np.take_along_axis(ordered, places, -1) * tests / ranks
    filled = np.where(np.isnan(raised), np.inf, raised)
    lowest = np.minimum.accumulate(filled[..., ::-1], axis=-1)[..., ::-1]
    adjusted = np.empty_like(ordered)
    np.put_along_axis(adjusted, places, np.minimum(lowest, 1.0), -1)
    return np.moveaxis(np.where(np.isnan(ordered), np.nan, adjusted), -1, axis)


def adjust_holm(p_values: Floats) -> Floats:
    """Rejecting where these are at most a makes a false rejection at all at most as probable as a, whatever depends.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, step-down. NaN stays and is not counted.
    """
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    raised = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return adjusted


def adjust_by_family(p_values: Floats) -> Floats:
    """Benjamini and Hochberg's within each family, made stricter by the share of families that show something.

    A row is a family: a parameter with all its metrics. Seven metrics are seven chances to call a parameter that does
    nothing significant; rejecting where the adjusted value is at most `LEVEL` has, for such a parameter, all of them
    together at most that probability, and bounds the expected share of false rejections averaged over the families
    with any. Source: Benjamini and Bogomolov 2014, JRSS B 76, with Simes' p for a family.

    Args:
        p_values: (…, families, tests); NaN where there is no test.

    Returns:
        As many, exact at `LEVEL`.
    """
    within = adjust_benjamini_hochberg(p_values)
    simes = np.min(np.where(np.isnan(within), np.inf, within), axis=-1)
    simes = np.where(np.isinf(simes), np.nan, simes)
    families = (~np.isnan(simes)).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        showing = (adjust_benjamini_hochberg(simes) <= LEVEL).sum(axis=-1)
    stricter = families / np.maximum(showing, 1)
    return np.asarray(np.minimum(within * stricter[..., None, None], 1.0))
