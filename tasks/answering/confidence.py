"""How far the evidence carries an answer, from what can be counted; the model is not asked what it thinks. No I/O.

    score = 100 × support × (strength + agreement) / 2

support    claims whose quote was found, as a share of all claims that the model made
strength   mean relevance of the passages cited, each once: with the usual search the larger of the cosine similarity
           to the question and the share of the question's words that the passage has, weighed by how rare they are
agreement  1 − 2⁻ᵐ, m being the different materials that are cited: 0.5 for one, 0.75 for two, towards 1

An answer whose claims all stand in one passage of relevance 0.8 has 65; of the same from three materials, 84; if half
of the claims had to be dropped, half of that. It is an order, not a probability: nothing here has been calibrated
against people's judgement. Levels are those of the forum: high from 70, medium from 40.
"""

from __future__ import annotations

from schemas.answering import Confidence
from schemas.choices import ConfidenceLevel
from tasks.answering.claims import Checked

HIGH, MEDIUM = 70, 40


def confidence_of(checked: Checked) -> Confidence:
    """The confidence of an answer made of the supported claims of `checked`; 0 where there is none."""
    stated = len(checked.supported) + len(checked.dropped)
    if not checked.supported:
        return Confidence(score=0, level="low", support=0.0, strength=0.0, agreement=0.0)
    passages = {each.passage.number: each.passage for each in checked.supported}
    support = len(checked.supported) / stated
    strength = sum(passage.relevance for passage in passages.values()) / len(passages)
    agreement = 1 - 0.5 ** len({passage.material_id for passage in passages.values()})
    score = round(100 * support * (strength + agreement) / 2)
    return Confidence(
        score=score,
        level=level_of(score),
        support=round(support, 4),
        strength=round(strength, 4),
        agreement=round(agreement, 4),
    )


def level_of(score: int) -> ConfidenceLevel:
    """The forum's name of a score."""
    if score >= HIGH:
        return "high"
    return "medium" if score >= MEDIUM else "low"
