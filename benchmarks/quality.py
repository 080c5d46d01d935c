"""How often the quality metrics agree with people: ours, the two older generations, and length alone.

    python -m benchmarks.quality [--data ../shared/data/conversations] [--meaning] [--json]

See README.md beside this file for what is compared and what was fitted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from tasks.sweep.quality import metrics
from tasks.sweep.quality.scoring import GENERATIONS, OVERALL, VERSION, score_response

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "conversations"
RESAMPLES = 10_000
SEED = 20261122
LENGTH = "length alone (characters)"
OURS = f"{VERSION} overall"
RIVALS = ("llm-lab-2 overall", "llm-lab-3 overall", LENGTH)
TRIED_SCALES = (20, 40, 80)
FITTED = (
    "Fitted: nothing. The weights of overall are equal, and no weight or constant was computed from these comparisons.",
    "Seen: while the formulas were drafted, single features (length, distinct words, words new to the prompt) and",
    "three scales of new words were looked at on both sets; overall with each of the scales is in the tables.",
    "llm-lab-2 and llm-lab-3 use lists of words of our own, as theirs are lost; llm-lab-3 had no overall and has the",
    "weights of llm-lab-2.",
)

Agreements = NDArray[np.float64]
Scorer = Callable[[str, str], float]


class Pair(NamedTuple):
    """Two answers to one prompt, of which people prefer the first."""

    prompt: str
    better: str
    worse: str


class Agreement(BaseModel):
    """How often a scorer prefers the answer that people prefer; equal scores are half a hit."""

    comparisons: str
    scorer: str
    agreement: float
    low: float
    high: float
    equal: int
    """Pairs that it scores alike."""


class Difference(BaseModel):
    """What ours has more than another scorer, pair by pair."""

    comparisons: str
    to: str
    difference: float
    low: float
    high: float


class Speed(BaseModel):
    """CPU time of scoring one answer with all metrics of ours."""

    answer: str
    milliseconds: float


class Report(BaseModel):
    """All that was measured."""

    said: tuple[str, ...]
    pairs: dict[str, int]
    prompts: dict[str, int]
    agreements: list[Agreement]
    differences: list[Difference]
    speeds: list[Speed]
    reached: dict[str, bool]


def read_pandalm(path: Path) -> list[Pair]:
    """Comparisons in which two of three people at least prefer the same answer; other verdicts are left out."""
    pairs = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        verdict, votes = Counter(row[f"annotator{number}"] for number in (1, 2, 3)).most_common(1)[0]
        if votes >= 2 and verdict != 0:
            prompt = "\n".join(filter(None, (row["instruction"], row["input"])))
            answers = (row["response1"], row["response2"])
            pairs.append(Pair(prompt, answers[verdict - 1], answers[2 - verdict]))
    return pairs


def read_oasst(path: Path) -> list[Pair]:
    """The best and the worst ranked reply to the last message."""
    rows = map(json.loads, path.read_text().splitlines())
    return [Pair(row["prompt"][-1]["content"], row["chosen"], row["rejected"]) for row in rows]


def agreements(score: Scorer, pairs: Sequence[Pair]) -> Agreements:
    """1 for each pair whose better answer scores higher, 0.5 where both score alike."""
    compared = (np.sign(score(pair.prompt, pair.better) - score(pair.prompt, pair.worse)) for pair in pairs)
    return np.array([(1 + sign) / 2 for sign in compared])


def clustered_bootstrap(
    values: Agreements, clusters: Sequence[str], *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """The interval that holds 95 % of the mean when clusters are drawn anew (Davison and Hinkley 1997, 3.8).

    Pairs with the same prompt are no independent witnesses: they are drawn together.
    """
    _, numbers = np.unique(np.array(clusters), return_inverse=True)
    sums, sizes = np.bincount(numbers, values), np.bincount(numbers)
    drawn = np.random.default_rng(seed).integers(0, sizes.size, (resamples, sizes.size))
    low, high = np.percentile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def scorers() -> dict[str, Scorer]:
    """Everything that is compared, by name."""

    def metric(version: str, name: str) -> Scorer:
        return lambda prompt, answer: score_response(prompt, answer, version=version).values[name]

    def scaled(scale: int) -> Scorer:
        def score(prompt: str, answer: str) -> float:
            kept = metrics.NEW_WORDS
            metrics.NEW_WORDS = scale
            try:
                return score_response(prompt, answer).values[OVERALL]
            finally:
                metrics.NEW_WORDS = kept

        return score

    return {
        OURS: metric(VERSION, OVERALL),
        **{f"{version} {OVERALL}": metric(version, OVERALL) for version in GENERATIONS if version != VERSION},
        LENGTH: lambda _, answer: len(answer),
        **{f"{VERSION} {name}": metric(VERSION, name) for name in metrics.METRICS},
        **{f"{OURS}, new words on a scale of {scale}": scaled(scale) for scale in TRIED_SCALES},
    }


def meaning_scorers(pairs: Sequence[Pair]) -> dict[str, Scorer]:
    """The metrics by embeddings, with the embedded model, computed for `pairs` at once."""
    from benchmarks.retrieval import embed_all
    from tasks.sweep.quality.meaning import PROMPT_COVERAGE, TOPIC_COHERENCE, prompt_coverage, topic_coherence
    from tasks.sweep.quality.texts import Text

    texts = dict.fromkeys(text for pair in pairs for text in pair)
    sentences = {text: [each.strip() for each in Text(text).sentences] for text in texts}
    places = {each: place for place, each in enumerate(dict.fromkeys(chain.from_iterable(sentences.values())))}
    vectors = embed_all(list(places), None)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    of = {text: vectors[[places[each] for each in found]] for text, found in sentences.items()}
    return {
        TOPIC_COHERENCE: lambda _, answer: topic_coherence(of[answer]),
        PROMPT_COVERAGE: lambda prompt, answer: prompt_coverage(of[prompt], of[answer]),
    }


def compare(name: str, pairs: Sequence[Pair], among: Mapping[str, Scorer]) -> tuple[list[Agreement], list[Difference]]:
    """Every scorer on `pairs`, and what ours has more than its rivals."""
    clusters = [pair.prompt for pair in pairs]
    found = {scorer: agreements(score, pairs) for scorer, score in among.items()}
    table = []
    for scorer, hits in found.items():
        low, high = clustered_bootstrap(hits, clusters)
        equal = int((hits == 0.5).sum())
        table.append(Agreement(comparisons=name, scorer=scorer, agreement=hits.mean(), low=low, high=high, equal=equal))
    differences = []
    for rival in RIVALS:
        more = found[OURS] - found[rival]
        low, high = clustered_bootstrap(more, clusters)
        differences.append(Difference(comparisons=name, to=rival, difference=more.mean(), low=low, high=high))
    return table, differences


def measure_speed(pairs: Sequence[Pair]) -> list[Speed]:
    """Milliseconds of CPU for answers of about 150 words, each seen for the first time, and of 100 kB."""
    words = " ".join(text for pair in pairs for text in (pair.better, pair.worse)).split()
    usual = [" ".join(words[start : start + 150]) for start in range(0, len(words) - 150, 75)]
    large = {
        "100 kB of prose": (" ".join(words) * 10)[:100_000],
        "100 kB of Chinese": "水位很高。闸门关了。" * 10_000,
        "100 kB of code": "for i in range(3):\n    print(i)\n" * 3_200,
    }
    speeds = [Speed(answer="150 words", milliseconds=_cpu_ms(pairs[0].prompt, usual) / len(usual))]
    return speeds + [Speed(answer=name, milliseconds=_cpu_ms("", [text])) for name, text in large.items()]


def _cpu_ms(prompt: str, answers: Sequence[str]) -> float:
    began = time.process_time()
    for answer in answers:
        score_response(prompt, answer)
    return 1000 * (time.process_time() - began)


def run(data: Path, *, meaning: bool) -> Report:
    """Both sets of comparisons, and the speed."""
    sets = {
        "PandaLM": read_pandalm(data / "pandalm_human_comparisons.jsonl"),
        "OASST2": read_oasst(data / "oasst2_human_ranked_pairs.jsonl"),
    }
    score_response("", "A word.")  # what is loaded once is loaded
    speeds = measure_speed(sets["PandaLM"])
    table, differences = [], []
    for name, pairs in sets.items():
        among = scorers() | (meaning_scorers(pairs) if meaning else {})
        rows, more = compare(name, pairs, among)
        table += rows
        differences += more
    return Report(
        said=FITTED,
        pairs={name: len(pairs) for name, pairs in sets.items()},
        prompts={name: len({pair.prompt for pair in pairs}) for name, pairs in sets.items()},
        agreements=table,
        differences=differences,
        speeds=speeds,
        reached={
            f"PandaLM: ours above {each.to}, interval without zero": each.low > 0
            for each in differences
            if each.comparisons == "PandaLM"
        },
    )


def show(report: Report) -> None:
    """The tables, for people."""
    for name, count in report.pairs.items():
        print(f"\n{name}: {count} pairs of answers to {report.prompts[name]} prompts, ties left out")
        print(f"{'':52} agreement   95 % interval   scored alike")
        for row in report.agreements:
            if row.comparisons == name:
                interval = f"{row.low:.3f} to {row.high:.3f}"
                print(f"  {row.scorer:50} {row.agreement:9.3f}  {interval:>14}  {row.equal:12}")
        for each in report.differences:
            if each.comparisons == name:
                print(f"  ours above {each.to:39} {each.difference:+9.3f}  {each.low:+.3f} to {each.high:+.3f}")
    print()
    for speed in report.speeds:
        print(f"{speed.answer:28} {speed.milliseconds:8.2f} ms of CPU")
    print()
    print("\n".join(report.said))
    for said, reached in report.reached.items():
        print(f"{'reached' if reached else 'MISSED ':8} {said}")


def main() -> None:
    """Prints what was measured; exit code 1 where a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--meaning", action="store_true", help="the metrics by embeddings too: half a minute more")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    given = parser.parse_args()
    report = run(given.data, meaning=given.meaning)
    if given.json:
        print(report.model_dump_json(indent=2))
    else:
        show(report)
    sys.exit(0 if all(report.reached.values()) else 1)


if __name__ == "__main__":
    main()
