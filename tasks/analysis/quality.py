"""How good an analysis is, as one number that can be taken apart.

``quality = 0.5 · located + 0.2 · coverage + 0.3 · rubric``

- *located*: share of evidence items found exactly in their source; 0 without any evidence.
- *coverage*: sections cited by supported impacts, of the sections that could be (40 words or more), counting at
  most ten of those.
- *rubric*: mean of the reviewer's four scores, 1 to 5, mapped to 0 to 1.

Evidence weighs most because it is the one part no model can talk up.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.analysis import BillAnalysis, Rubric

LOCATED_WEIGHT, COVERAGE_WEIGHT, RUBRIC_WEIGHT = 0.5, 0.2, 0.3
SECTIONS_EXPECTED = 10
SUBSTANTIAL_WORDS = 40


def quality_score(analysis: BillAnalysis, rubric: Rubric, section_words: Sequence[int]) -> float:
    """Quality of an analysis, 0 to 1, rounded to four decimals.

    Args:
        section_words: number of words of each section of the bill.
    """
    evidence = analysis.evidence
    located = sum(item.located for item in evidence) / len(evidence) if evidence else 0.0
    scores = [rubric.accuracy, rubric.completeness, rubric.evidence, rubric.clarity]
    rubric_share = (sum(scores) / len(scores) - 1) / 4
    coverage = section_coverage(analysis, section_words)
    return round(LOCATED_WEIGHT * located + COVERAGE_WEIGHT * coverage + RUBRIC_WEIGHT * rubric_share, 4)


def section_coverage(analysis: BillAnalysis, section_words: Sequence[int]) -> float:
    """Share of the sections worth citing that supported impacts cite, 0 to 1."""
    cited = {
        item.section for impact in analysis.impacts if impact.supported for item in impact.evidence if item.located
    }
    worth_citing = sum(words >= SUBSTANTIAL_WORDS for words in section_words) or 1
    return min(1.0, len(cited - {None}) / min(worth_citing, SECTIONS_EXPECTED))
