"""Terms: what is found again, whatever the language, and that nothing breaks them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.retrieval.tokenizing import LONGEST_TERM, chunk_terms, document_terms, query_terms


def test_words_are_stemmed_and_function_words_left_out() -> None:
    assert document_terms("The trees are rotated by rotating a tree.") == {"tree": 2, "rotat": 2}


def test_a_question_has_the_terms_of_what_it_asks() -> None:
    assert query_terms("How do I balance trees, and what's balancing?") == {"balanc": 2, "tree": 1}


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("call std::lower_bound(v.begin(), v.end(), x)", "lower_bound"),
        ("call std::lower_bound(v.begin(), v.end(), x)", "std::lower_bound"),
        ("def depthFirstSearch(graph):", "depth first search"),
        ("def depthFirstSearch(graph):", "depthFirstSearch"),
        ("node.next = head", "node.next"),
        ("written in C++ or C#", "C++"),
        ("sorting takes $O(n^2)$ time", "n^2"),
        ("sorting takes $n^{2}$ steps", "n^2"),
        (r"\sum_{i=1}^{n} i", "sum"),
        ("pi is 3.14159", "3.14159"),
        ("the U.S.A. and NATO", "USA"),
        ("Poincaré's inequality", "poincare"),
        ("Die Bäume des Waldes", "bäume"),
        ("快速排序是一种排序算法", "排序"),
        ("快速排序是一种排序算法", "排"),
        ("使用BFS遍历图", "bfs"),
        ("อัลกอริทึมการค้นหา", "ค้นหา"),
        ("정렬 알고리즘을 배운다", "알고리즘"),
        ("алгоритм Дейкстры", "Дейкстры"),
        ("द्विआधारी खोज", "खोज"),
    ],
)
def test_what_is_written_is_found_by_what_is_asked(written: str, asked: str) -> None:
    wanted = query_terms(asked)
    assert wanted
    assert wanted.keys() <= document_terms(written).keys()


def test_a_word_of_an_unspaced_script_is_asked_for_in_pairs() -> None:
    assert query_terms("算法图") == {"算法": 1, "法图": 1}
    assert document_terms("算法") == {"算": 1, "法": 1, "算法": 1}


def test_a_title_counts_three_times_and_is_not_counted_again_where_the_text_begins_with_it() -> None:
    assert chunk_terms("Heaps", ["Heaps", "Sift"], "# Heaps\n\nA heap sifts.") == {"heap": 3 + 1, "sift": 3 + 1}
    assert chunk_terms("Heaps", [], "Sift a heap") == {"heap": 3 + 1, "sift": 1}


def test_a_text_of_function_words_has_no_terms() -> None:
    assert query_terms("What is it that you do?") == {}


@given(st.text())
def test_any_text_has_terms_that_can_be_stored(text: str) -> None:
    for term, times in document_terms(text).items():
        assert 0 < len(term) <= LONGEST_TERM
        assert times > 0
        assert "\0" not in term
        assert not any(character.isspace() for character in term)


@given(st.text(), st.text())
def test_texts_apart_have_the_terms_of_both(first: str, second: str) -> None:
    assert document_terms(f"{first} \n {second}") == document_terms(first) + document_terms(second)


@given(st.text())
def test_a_text_is_found_by_itself(text: str) -> None:
    assert query_terms(text).keys() <= document_terms(text).keys()


@given(st.from_regex(r"[a-z]{3,12}( [a-z]{3,12}){0,5}", fullmatch=True))
def test_case_makes_no_difference_to_words(text: str) -> None:
    assert document_terms(text.title()) == document_terms(text)
