"""Two metrics of an answer that need embeddings, as a pass of their own over stored responses.

A sentence's vector is that of the embedding model, `c` the cosine of two, below 0 taken as 0.

- *topic_coherence*: mean of `c` of neighbouring sentences (Foltz, Kintsch and Landauer 1998, with their latent semantic
  analysis replaced by the model); 1 for a single sentence, which strays from nothing.
- *prompt_coverage*: mean over the prompt's sentences of the greatest `c` with a sentence of the answer (recall of
  BERTScore, Zhang et al. 2020, over sentences instead of tokens); 1 where the prompt has no sentence.

An answer without a word has 0 in both. Scores of different models are not comparable: the model is in the version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from blocks.providers.token_bound import TOKENS_PER_TEXT, count_text_tokens
from tasks.ledger.calls import embed
from tasks.ledger.fan_out import for_each
from tasks.ledger.session import open_ledger
from tasks.sweep.quality.scoring import VERSION, Scores
from tasks.sweep.quality.texts import Text, prompt_text

if TYPE_CHECKING:
    from numpy import floating
    from numpy.typing import NDArray

    from schemas.settings import Settings

    Vectors = NDArray[floating[Any]]

TOPIC_COHERENCE = "topic_coherence"
PROMPT_COVERAGE = "prompt_coverage"
MEANING_METRICS = (TOPIC_COHERENCE, PROMPT_COVERAGE)
LONGEST_SENTENCE = 1000
"""Characters of a sentence that are embedded; models read little more of a text."""
MOST_SENTENCES = 500
"""Of a text that are looked at, the first."""
PURPOSE = "quality metrics"


def meaning_version(model: str) -> str:
    """The `analysis_version` of scores by `model`'s embeddings."""
    return f"{VERSION}+{model}"


async def score_meaning(
    pairs: Sequence[tuple[str, str]], *, model: str | None = None, project: str | None = None
) -> list[Scores]:
    """`topic_coherence` and `prompt_coverage` of each answer in `pairs` of a prompt and an answer.

    Sentences that occur several times are embedded once, in requests as large and as many at once as the settings say
    of embeddings. Requests are on record; the same pairs again are answered from there for nothing. Holds a vector for
    each distinct sentence: give it some hundred pairs at a time.

    Args:
        model: LiteLLM name; by default HEADRACE_EMBEDDING_MODEL, else the embedded one, which costs nothing.

    Raises:
        BudgetExceeded, ConfigurationError, RetriesExhausted: as `tasks.ledger.calls.complete`.
    """
    answers = [Text(answer) for _, answer in pairs]
    parts = [_sentences(prompt_text(prompt)) for prompt, _ in pairs]
    sentences = [_sentences(answer) for answer in answers]
    async with open_ledger() as ledger:
        name = model or ledger.settings.model_for("embedding")
        wanted = list(dict.fromkeys(chain.from_iterable(chain(parts, sentences))))
        places, vectors = await _embed_all(ledger.settings, wanted, name, project)
    found = []
    for answer, asked, said in zip(answers, parts, sentences, strict=True):
        of_prompt, of_answer = (vectors[[places[each] for each in texts]] for texts in (asked, said))
        values = {TOPIC_COHERENCE: topic_coherence(of_answer), PROMPT_COVERAGE: prompt_coverage(of_prompt, of_answer)}
        found.append(Scores(meaning_version(name), values, len(answer.words), len(answer.sentences)))
    return found


def topic_coherence(sentences: Vectors) -> float:
    """See the module; a row of length 1, or 0, is a sentence."""
    if len(sentences) < 2:
        return float(len(sentences))
    return _mean((sentences[:-1] * sentences[1:]).sum(axis=1))


def prompt_coverage(parts: Vectors, sentences: Vectors) -> float:
    """See the module; a row of length 1, or 0, is a sentence of the prompt or of the answer."""
    if not len(sentences) or not len(parts):
        return float(len(sentences) > 0)
    return _mean((parts @ sentences.T).max(axis=1))


def _mean(cosines: Vectors) -> float:
    return float(cosines.clip(0.0, 1.0).mean())


def _sentences(text: Text) -> list[str]:
    return [each.strip()[:LONGEST_SENTENCE] for each in text.sentences[:MOST_SENTENCES]]


async def _embed_all(
    settings: Settings, texts: Sequence[str], model: str, project: str | None
) -> tuple[Mapping[str, int], Vectors]:
    """Row of each text, and the rows, of length 1 or, where the model gave no direction, 0."""
    import numpy

    async def ask(batch: Sequence[str]) -> Vectors:
        dimensions = settings.embedding_dimensions
        answer = await embed(batch, model=model, dimensions=dimensions, project=project, purpose=PURPOSE)
        return numpy.asarray([numpy.asarray(vector) for vector in answer.vectors], dtype=numpy.float64)

    batches = _batches(texts, settings.embedding_batch_items, settings.embedding_batch_tokens)
    found = await for_each(batches, ask, at_once=settings.embedding_parallel)
    rows = numpy.concatenate(found) if found else numpy.zeros((0, 1))
    lengths = numpy.linalg.norm(rows, axis=1, keepdims=True)
    good = numpy.isfinite(lengths) & (lengths > 0)
    unit = numpy.where(good, rows / numpy.where(good, lengths, 1.0), 0.0)
    return {text: place for place, text in enumerate(texts)}, unit


def _batches(texts: Iterable[str], items: int, tokens: int) -> Iterable[list[str]]:
    """`texts` in their order, at most `items` and, as bounded, `tokens` together."""
    batch: list[str] = []
    held = 0
    for text in texts:
        size = TOKENS_PER_TEXT + count_text_tokens(text)
        if batch and (len(batch) >= items or held + size > tokens):
            yield batch
            batch, held = [], 0
        batch.append(text)
        held += size
    if batch:
        yield batch
