"""How well search finds what is relevant: words, vectors and both, on judged collections.

    python -m benchmarks.retrieval [--data ../shared/data/retrieval] [--vectors FOLDER] [--json]
    python -m benchmarks.retrieval --chunk-tokens 128 200 256 512

Each document is one passage of a course, indexed and ranked by the functions that `headrace search` calls, with the
embedded model. What is fitted (the shares of fused scores, k of fused ranks, k1 and b of BM25) is chosen on one
collection and scored on the other. With `--chunk-tokens`, documents are cut instead into chunks of so many tokens, with
and without overlap, and found by the best of their chunks.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from benchmarks.search_index import Passage, load_passages
from tasks.retrieval.bm25 import Bm25Parameters
from tasks.retrieval.ranking import USUAL, Found, RankingOptions, look_up, rank
from tasks.retrieval.vector_search import active_generation

if TYPE_CHECKING:
    from schemas.search import SearchMode

Vectors = NDArray[np.float32]

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "retrieval"
FORMER_WORDS = {"cranfield": 0.409, "cacm": 0.483}
"""nDCG@10 of stemmed BM25 by bm25s, which words alone must reach."""
DEPTH = 100
RESAMPLES = 10_000
SEED = 20261121
SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))
RANK_CONSTANTS = (1, 5, 10, 20, 40, 60, 100)
BM25 = tuple(Bm25Parameters(k1, b) for k1, b in product((0.9, 1.2, 1.5, 2.0), (0.4, 0.5, 0.75, 0.9)))


class Query(NamedTuple):
    """A question, and how relevant documents are to it; those that are not judged are not relevant."""

    text: str
    relevant: dict[str, int]


class Collection(NamedTuple):
    """Documents as (id, title, text), and judged questions."""

    name: str
    documents: list[tuple[str, str, str]]
    queries: list[Query]


class Score(BaseModel):
    """What one way of ranking reaches on one collection, over its queries."""

    collection: str
    ranking: str
    ndcg_10: float
    recall_100: float
    chosen: str | None = None


class Gain(BaseModel):
    """The mean over both collections of what a ranking gains on BM25, with the interval of a paired bootstrap."""

    ranking: str
    words: float
    mean: float
    gain: float
    low: float
    high: float


class Report(BaseModel):
    """All that was measured."""

    scores: list[Score]
    gains: list[Gain]
    reached: dict[str, bool]


def read_collection(folder: Path) -> Collection:
    """A collection in the layout of BEIR."""
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    judged: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, relevance = line.split("\t")
        judged.setdefault(query, {})[document] = int(relevance)
    asked = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    return Collection(
        folder.name,
        [(row["_id"], row["title"], row["text"]) for row in rows],
        [Query(row["text"], judged[row["_id"]]) for row in asked if row["_id"] in judged],
    )


def ndcg(ranking: Sequence[str], relevant: Mapping[str, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain: relevance over log2(rank + 1), by that of the ideal ranking."""
    gains = [relevant.get(document, 0) for document in ranking[:depth]]
    ideal = _discounted(sorted(relevant.values(), reverse=True)[:depth])
    return _discounted(gains) / ideal if ideal else 0.0


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def recall(ranking: Sequence[str], relevant: Mapping[str, int], depth: int = DEPTH) -> float:
    """Share of the relevant documents that are among the first."""
    wanted = {document for document, relevance in relevant.items() if relevance > 0}
    return len(wanted.intersection(ranking[:depth])) / len(wanted) if wanted else 0.0


def paired_bootstrap(
    differences: Sequence[NDArray[np.float64]], *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """The interval that holds 95 % of the mean difference when queries are drawn anew, collection by collection.

    Efron and Tibshirani: An Introduction to the Bootstrap (1993), 13.3: percentiles. Each collection weighs the same.
    """
    random = np.random.default_rng(seed)
    means = np.mean(
        [some[random.integers(0, some.size, (resamples, some.size))].mean(axis=1) for some in differences], axis=0
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def embed_all(texts: Sequence[str], folder: Path | None) -> Vectors:
    """The vectors of the embedded model; those of texts that were embedded before are read from `folder`."""
    from blocks.embedded.embedding_model import DIMENSIONS, EmbeddingModel, batches_by_length, identity

    digest = hashlib.sha256("\0".join([identity(), *texts]).encode()).hexdigest()
    kept = folder / f"{digest[:32]}.npy" if folder else None
    if kept and kept.exists():
        found: Vectors = np.load(kept)
        return found
    print(f"embedding {len(texts):,} texts", file=sys.stderr)
    model = EmbeddingModel()
    vectors = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
    for batch in batches_by_length(model.tokenize(texts)):
        vectors[[text.position for text in batch]] = model.embed(batch)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, vectors)
    return vectors


class Trial:
    """A collection in a database: every query with what the index says of it, for each way of scoring words."""

    def __init__(
        self, collection: Collection, found: dict[Bm25Parameters, list[Found]], ids: Mapping[int, str]
    ) -> None:
        self.name = collection.name
        self.queries = collection.queries
        self.passages = len(ids)
        self._found = found
        self._ids = ids

    def rankings(self, mode: SearchMode, options: RankingOptions = USUAL) -> list[list[str]]:
        """The documents found for each query, best first, each by the best of its passages."""
        ranked = [rank(found, mode, options)[:DEPTH] for found in self._found[options.bm25]]
        return [list(dict.fromkeys(self._ids[one.number] for one in ranking)) for ranking in ranked]

    def ndcgs(self, mode: SearchMode, options: RankingOptions = USUAL) -> NDArray[np.float64]:
        """nDCG@10 of each query."""
        pairs = zip(self.rankings(mode, options), self.queries, strict=True)
        return np.array([ndcg(ranking, query.relevant) for ranking, query in pairs])

    def score(self, name: str, mode: SearchMode, options: RankingOptions = USUAL, chosen: str | None = None) -> Score:
        """What the mode reaches."""
        pairs = list(zip(self.rankings(mode, options), self.queries, strict=True))
        return Score(
            collection=self.name,
            ranking=name,
            ndcg_10=float(np.mean([ndcg(ranking, query.relevant) for ranking, query in pairs])),
            recall_100=float(np.mean([recall(ranking, query.relevant) for ranking, query in pairs])),
            chosen=chosen,
        )


Cut = Callable[[str], Sequence[str]]
"""A document into the texts of its passages."""
Embed = Callable[[Sequence[str]], Vectors]


def uncut(text: str) -> Sequence[str]:
    """A document that is a passage."""
    return [text]


async def try_collection(
    url: str,
    collection: Collection,
    embed: Embed,
    cut: Cut = uncut,
    scorings: Sequence[Bm25Parameters] = BM25,
) -> Trial:
    """The collection, cut and indexed in the database at `url` and asked every query."""
    from sqlalchemy import text

    from blocks.database import create_async_database, create_database, migrate, normal_url

    passages = [
        Passage(course=collection.name, material=key, title=title, content=part)
        for key, title, body in collection.documents
        for part in cut(body)
    ]
    of_documents = embed([f"{passage.title}\n{passage.content}" for passage in passages])
    of_queries = embed([query.text for query in collection.queries])
    engine = create_database(normal_url(url))
    migrate(engine)
    with engine.begin() as connection:
        load_passages(connection, passages, of_documents, "local/embedding")
    engine.dispose()
    reading = create_async_database(normal_url(url))
    async with reading.connect() as connection:
        generation = await active_generation(connection)
        assert generation is not None
        numbered = await connection.execute(text("SELECT number, term_documents.material_id FROM term_documents"))
        ids = {row.number: row.material_id for row in numbered}
        found = {}
        for parameters in scorings:
            options = RankingOptions(bm25=parameters)
            found[parameters] = [
                await look_up(connection, generation, query.text, vector.tolist(), limit=DEPTH, options=options)
                for query, vector in zip(collection.queries, of_queries, strict=True)
            ]
    await reading.dispose()
    return Trial(collection, found, ids)


def choose(trial: Trial, mode: SearchMode, among: Sequence[RankingOptions]) -> RankingOptions:
    """The options with the highest mean nDCG@10 on the collection; the first of equal ones."""
    return max(among, key=lambda options: float(trial.ndcgs(mode, options).mean()))


FITTED: dict[str, tuple[Literal["words", "hybrid"], list[RankingOptions], Callable[[RankingOptions], str]]] = {
    "words, k1 and b fitted": (
        "words",
        [RankingOptions(bm25=parameters) for parameters in BM25],
        lambda options: f"k1 {options.bm25.k1:g}, b {options.bm25.b:g}",
    ),
    "hybrid, share fitted": (
        "hybrid",
        [RankingOptions(words_share=share) for share in SHARES],
        lambda options: f"words {options.words_share:g}",
    ),
    "hybrid by ranks, k fitted": (
        "hybrid",
        [RankingOptions(fusion="ranks", rank_constant=k) for k in RANK_CONSTANTS],
        lambda options: f"k {options.rank_constant:g}",
    ),
}
BY_RANKS = RankingOptions(fusion="ranks")


def measure(trials: Sequence[Trial]) -> Report:
    """Every ranking on every collection; what is fitted is chosen on the others."""
    scores = []
    for trial in trials:
        scores += [trial.score("words", "words"), trial.score("vectors", "vectors"), trial.score("hybrid", "hybrid")]
        scores.append(trial.score("hybrid by ranks", "hybrid", BY_RANKS))
        for other in trials:
            for name, (mode, among, say) in FITTED.items():
                if other is not trial:
                    options = choose(other, mode, among)
                    scores.append(trial.score(name, mode, options, f"{say(options)}, chosen on {other.name}"))
    gains = [_gain(trials, "hybrid", USUAL), _gain(trials, "hybrid by ranks", BY_RANKS)]
    return Report(scores=scores, gains=gains, reached=_reached(scores, gains))


def _gain(trials: Sequence[Trial], name: str, options: RankingOptions) -> Gain:
    words = [trial.ndcgs("words") for trial in trials]
    hybrid = [trial.ndcgs("hybrid", options) for trial in trials]
    differences = [both - alone for both, alone in zip(hybrid, words, strict=True)]
    low, high = paired_bootstrap(differences)
    mean = float(np.mean([some.mean() for some in hybrid]))
    of_words = float(np.mean([some.mean() for some in words]))
    return Gain(ranking=name, words=of_words, mean=mean, gain=mean - of_words, low=low, high=high)


def _reached(scores: Sequence[Score], gains: Sequence[Gain]) -> dict[str, bool]:
    table = {(score.collection, score.ranking): score.ndcg_10 for score in scores}
    reached = {}
    for name, former in FORMER_WORDS.items():
        if (name, "words") in table:
            words, vectors, hybrid = (table[name, ranking] for ranking in ("words", "vectors", "hybrid"))
            reached[f"{name}: hybrid above words and vectors"] = hybrid > max(words, vectors)
            reached[f"{name}: words at least {former}"] = words >= former
    reached["hybrid above BM25 over both, interval without zero"] = gains[0].low > 0
    return reached


def show(report: Report) -> None:
    """The tables, for people."""
    for collection in dict.fromkeys(score.collection for score in report.scores):
        print(f"\n{collection:28} nDCG@10  recall@100")
        for score in report.scores:
            if score.collection == collection:
                print(f"  {score.ranking:26} {score.ndcg_10:7.4f}  {score.recall_100:10.4f}  {score.chosen or ''}")
    print()
    for gain in report.gains:
        print(
            f"{gain.ranking}: mean over both {gain.mean:.4f}, BM25 {gain.words:.4f}, "
            f"gain {gain.gain:+.4f} (95 % paired bootstrap {gain.low:+.4f} to {gain.high:+.4f})"
        )
    for said, reached in report.reached.items():
        print(f"{'reached' if reached else 'MISSED ':8} {said}")


async def run(data: Path, vectors: Path | None) -> Report:
    """All collections, each in a database of its own."""
    from benchmarks.servers import running_servers

    trials = []
    with running_servers(with_prefect=False) as servers:
        for name in FORMER_WORDS:
            url = servers.stack.database_url(f"headrace_{name}")
            embed = partial(embed_all, folder=vectors)
            trials.append(await try_collection(url, read_collection(data / name), embed))
    return measure(trials)


def main() -> None:
    """Prints what was measured; exit code 1 where a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--vectors", type=Path, help="folder where vectors are kept between runs")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument(
        "--chunk-tokens", type=int, nargs="+", metavar="TOKENS", help="cut into chunks of these lengths"
    )
    given = parser.parse_args()
    if given.chunk_tokens:
        from benchmarks.chunk_lengths import run_lengths, show_lengths

        lengths = asyncio.run(run_lengths(given.data, given.vectors, given.chunk_tokens))
        print(lengths.model_dump_json(indent=2)) if given.json else show_lengths(lengths)
        return
    report = asyncio.run(run(given.data, given.vectors))
    if given.json:
        print(report.model_dump_json(indent=2))
    else:
        show(report)
    sys.exit(0 if all(report.reached.values()) else 1)


if __name__ == "__main__":
    main()
