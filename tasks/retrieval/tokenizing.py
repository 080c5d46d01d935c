"""Text as the terms that word search knows: stemmed words, identifiers, formulas, and pieces of unspaced scripts.

A term is never empty, has no white space, and at most 64 characters. The same word gives the same terms wherever it
stands, so that terms are made once for each distinct word.
"""

from __future__ import annotations

import importlib
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

ANALYZER = "words-1"
"""Raised when the same text gives other terms: what was indexed before is then indexed anew."""
LONGEST_TERM = 64
HEADING_WEIGHT = 3
"""How many times a word counts in a title or heading; textbook BM25 otherwise. See benchmarks/README.md."""
_FUNCTION_WORDS = """
    a an the this that these those such
    i me my mine we us our ours you your yours he him his she her hers it its they them their theirs one
    myself ourselves yourself himself herself itself themselves
    what which who whom whose when where why how
    am is are was were be been being do does did doing done have has had having
    can could may might must shall should will would ought need
    about above across after against along among around as at before behind below beneath beside between beyond by
    down during except for from in inside into near of off on onto out outside over per since through throughout till
    to toward towards under until up upon with within without via
    and or nor but if then than because while whereas although though unless so yet both either neither whether
    not no any all each every some few many much more most other another same own only just also too very
    again further once here there now ever never
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words that say nothing of what a text is about: articles, pronouns, auxiliaries, prepositions, conjunctions,
quantifiers and the adverbs that go with them."""

_MARKS = r"\u0300-\u036f\u0610-\u061a\u064b-\u065f\u0900-\u0dff\u0e00-\u0eff\u0f18-\u0f84\u1000-\u109f\u1780-\u17d3"
"""Signs that are part of words although Python's `\\w` leaves them out, and the blocks that have them."""
_WORD = rf"[\w{_MARKS}]+"
_TOKEN = re.compile(rf"{_WORD}(?:(?:['’.]|::|->|\^\{{?|_\{{){_WORD}\}}?)*(?:\+\+|\#(?!\w))?")
"""A word, or words joined as identifiers, decimals and powers are: `node.next`, `std::map`, `3.14`, `n^{2}`, `C++`."""
_PARTS = re.compile(rf"[^\W_{_MARKS}][^\W_]*|[{_MARKS}\w]+")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\U00020000-\U0003134f]+"
)
"""Thai, Lao, Burmese, Khmer, kana, Han and Hangul: scripts whose words are not, or not reliably, set apart."""
_CLITIC = re.compile(r"(?:n['’]t|['’](?:s|d|m|ll|re|ve|t))$", re.IGNORECASE)
_INITIALS = re.compile(r"[^\W\d_](?:\.[^\W\d_])+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_COMBINING = re.compile(r"[\u0300-\u036f\u0591-\u05c7\u064b-\u065f]")
_stemmers = threading.local()


def document_terms(text: str) -> Counter[str]:
    """The terms of a text that is searched, each with how often it occurs."""
    terms: Counter[str] = Counter()
    for token, times in Counter(_tokens(text)).items():
        for term in _terms_of(token):
            terms[term] += times
    return terms


def chunk_terms(title: str, headings: Sequence[str], content: str) -> Counter[str]:
    """The terms of a chunk: its own, and those of its title and of the headings that it stands under.

    Where the text itself begins with one of them, as after a Markdown heading, that is not counted again.
    """
    above = [heading for heading in dict.fromkeys([title, *headings]) if heading.strip()]
    terms = document_terms(_without_headings(content, above))
    for term, times in document_terms("\n".join(above)).items():
        terms[term] += HEADING_WEIGHT * times
    return terms


def _without_headings(content: str, headings: Sequence[str]) -> str:
    for heading in headings:
        start = content.lstrip("#=* \t\r\n")
        if start[: len(heading)].casefold() == heading.casefold():
            content = start[len(heading) :]
    return content


def query_terms(text: str) -> Counter[str]:
    """The terms to look for, each with its weight: how often it is asked for.

    Where a run of an unspaced script has two characters or more, its pairs are looked for and not each character.
    """
    terms: Counter[str] = Counter()
    for token, times in Counter(_tokens(text)).items():
        found = _terms_of(token)
        pairs = {character for term in found if len(term) == 2 and _UNSPACED.fullmatch(term) for character in term}
        for term in found:
            if term not in pairs:
                terms[term] += times
    return terms


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text if text.isascii() else unicodedata.normalize("NFKC", text))


@lru_cache(maxsize=200_000)
def _terms_of(token: str) -> tuple[str, ...]:
    """The terms of one token, in order, as often as they occur in it."""
    if token.isascii() and token.isalpha() and (token.islower() or token.istitle()):
        return _plain(token.casefold())
    if _INITIALS.fullmatch(token):
        return (_folded(token).replace(".", "")[:LONGEST_TERM],)
    if _UNSPACED.search(token):
        return tuple(_of_mixed(token))
    return tuple(_of_joined(_CLITIC.sub("", token)))


def _plain(word: str) -> tuple[str, ...]:
    """The stem of a word, unless it is a stop word or a single character."""
    if len(word) < 2 or word in STOP_WORDS:
        return ()
    return (_stem(word)[:LONGEST_TERM],)


def _of_joined(token: str) -> list[str]:
    """The words of an identifier or formula, and it as a whole where its words alone would not find it."""
    parts = [part for run in _PARTS.findall(token) for part in _CAMEL.split(run)]
    terms = [term for part in parts for term in _plain(_folded(part))]
    whole = _folded(token).replace("{", "").replace("}", "").strip("_")
    if len(whole) > 1 and (len(parts) > 1 or not parts or whole != _folded(parts[0])):
        terms.append(whole[:LONGEST_TERM])
    return [term for term in terms if term]


def _of_mixed(token: str) -> list[str]:
    """Each character and each pair of neighbours of the unspaced runs; what stands between them as it always is."""
    terms: list[str] = []
    end = 0
    for run in _UNSPACED.finditer(token):
        terms += document_terms(token[end : run.start()]).elements()
        text, end = run[0], run.end()
        terms += [*text, *(text[place : place + 2] for place in range(len(text) - 1))]
    return [*terms, *document_terms(token[end:]).elements()]


def _folded(text: str) -> str:
    """Without case and without accents: `Poincaré` is found as `poincare`."""
    if text.isascii():
        return text.lower()
    bare = _COMBINING.sub("", unicodedata.normalize("NFD", text.casefold()))
    return unicodedata.normalize("NFC", bare)


def _stem(word: str) -> str:
    """Snowball's English stem (snowballstem.org) of a word in Latin letters; other words are their own stems."""
    return str(_stemmer().stemWord(word)) if word.isascii() and word.isalpha() else word


def _stemmer() -> Any:
    """The stemmer of this thread: one must not be used by two at once."""
    if not hasattr(_stemmers, "english"):
        _stemmers.english = importlib.import_module("Stemmer").Stemmer("english")
    return _stemmers.english
