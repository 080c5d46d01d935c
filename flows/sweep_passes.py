"""What a judge said of a sweep's answers, and how far it is to be trusted: in words, and as a table of Prefect."""

from __future__ import annotations

from flows.artifacts import publish_table
from flows.presentation import money
from schemas.sweep_passes import Agreement, JudgeReport, MeaningReport
from schemas.sweep_results import SweepReport


def pass_sentences(judge: JudgeReport | None, meaning: MeaningReport | None) -> list[str]:
    """What came of the passes so far."""
    told = []
    if meaning is not None:
        means = ", ".join(f"{name.replace('_', ' ')} {100 * mean:.1f}" for name, mean in meaning.means.items())
        said = f": mean {means} of 100" if means else ""
        told.append(
            f"{meaning.measured:,} of {meaning.answers:,} answers measured by {meaning.model}{said}, "
            f"{money(meaning.cost_usd)}"
        )
    if judge is not None:
        told.append(
            f"{judge.judged:,} of {judge.pairs:,} pairs judged by {judge.model} in {judge.calls:,} calls, "
            f"{money(judge.cost_usd)}"
        )
        told += _trust(judge)
    return told


def _trust(judge: JudgeReport) -> list[str]:
    """How far the judge agrees with itself and with the metrics."""
    told = []
    if judge.swapped.pairs:
        told.append(f"with the answers swapped the judge agrees with itself on {_share(judge.swapped)}")
    if judge.first_place is not None:
        told[-1] += f", and {100 * judge.first_place:.0f} % of its verdicts are for the answer it read first"
    if judge.overall.pairs:
        told.append(f"with overall it agrees on {_share(judge.overall)} that both decide")
    if judge.unjudged:
        told.append(f"{judge.unjudged:,} pairs are without its verdict")
    return told


def _share(found: Agreement) -> str:
    """`81 % of 36 pairs (66 to 91, kappa 0.62)`."""
    assert found.raw is not None
    assert found.low is not None
    assert found.high is not None
    kappa = "" if found.kappa is None else f", kappa {found.kappa:.2f}"
    pairs = f"{found.pairs:,} pair{'s' if found.pairs != 1 else ''}"
    return f"{100 * found.raw:.0f} % of {pairs} ({100 * found.low:.0f} to {100 * found.high:.0f}{kappa})"


async def publish_agreement(report: SweepReport) -> None:
    """Inside a Prefect flow run the judge's agreement is a table artifact, where there was a judge."""
    if report.judge is not None:
        await publish_table(agreement_rows(report.judge), report.run_id, "judge", report.name)


def agreement_rows(judge: JudgeReport) -> list[dict[str, object]]:
    """The judge's agreement with itself and with the metric, a row each."""
    return [
        {
            "judge": judge.model,
            "agreement with": other,
            "pairs": found.pairs,
            "share": found.raw,
            "low": found.low,
            "high": found.high,
            "kappa": found.kappa,
        }
        for other, found in (("itself, answers swapped", judge.swapped), ("overall", judge.overall))
    ]
