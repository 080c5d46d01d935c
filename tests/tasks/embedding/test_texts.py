"""Templates, and vectors in the form in which Postgres takes them."""

from __future__ import annotations

import struct
from array import array

import pytest
from sqlalchemy import Engine, text

from tasks.embedding.index import operators, recall_of, typed
from tasks.embedding.templates import TEMPLATES, Template, text_hash
from tasks.embedding.vectors import as_stored


def test_a_chunk_is_embedded_with_its_title_and_the_headings_below_it() -> None:
    render = TEMPLATES["heading-1"].render
    assert render("Graphs", ["Graphs", "Trees", "Cuts"], "A cut is …") == "Graphs\nTrees > Cuts\n\nA cut is …"
    assert render("Graphs", [], "A cut is …") == "Graphs\n\nA cut is …"
    assert TEMPLATES["text-1"].render("Graphs", ["Trees"], "A cut is …") == "A cut is …"


def test_texts_are_known_by_their_sha_256() -> None:
    assert text_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_the_hash_of_a_chunk_is_that_of_the_text_that_is_embedded(template: Template) -> None:
    for path in ([], ["Größe"], ["Größe", "Trees"], [""]):
        rendered = template.render("Größe", path, "A cut is …")
        assert template.hash("Größe", path, "A cut is …") == text_hash(rendered)


def test_vectors_have_the_form_in_which_pgvector_takes_them(database: Engine) -> None:
    (stored,) = as_stored([array("f", (0.5, -2.0, 0.0))])
    assert stored == struct.pack(">hhfff", 3, 0, 0.5, -2.0, 0.0)
    with database.connect() as connection:
        sent = connection.execute(text("SELECT vector_send('[0.5,-2,0]'::vector)")).scalar_one()
    assert bytes(sent) == stored


def test_what_has_no_direction_is_no_vector() -> None:
    numbers = [(0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0), (1.0, 0.0)]
    assert as_stored([array("d", pair) for pair in numbers])[:3] == [None, None, None]


def test_above_two_thousand_dimensions_numbers_are_of_half_precision() -> None:
    assert (typed(2000), operators(2000)) == ("(embedding::vector(2000))", "vector_cosine_ops")
    assert (typed(2001), operators(2001)) == ("(embedding::halfvec(2001))", "halfvec_cosine_ops")


def test_recall_is_the_share_of_neighbours_as_near_as_the_nearest() -> None:
    exact = [{"a": 0.1, "b": 0.2}, {"c": 0.5, "d": 0.5}, {}]
    found = [{"a": 0.1, "x": 0.3}, {"e": 0.5, "f": 0.5}, {}]  # the second's are others, equally far
    assert recall_of(exact, found) == (0.5 + 1.0) / 2
    assert recall_of([{}], [{}]) is None
