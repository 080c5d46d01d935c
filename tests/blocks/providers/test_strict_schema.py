"""Schemas as Pydantic writes them, made fit for OpenAI's strict mode."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from blocks.providers.strict_schema import strict_schema
from schemas.errors import BadInput
from tests.scripted_provider.validation import strict_problems


class Side(Enum):
    """Who is asked."""

    TENANT = "tenant"
    OWNER = "owner"


class Quote(BaseModel):
    text: str = Field(min_length=6, max_length=400, description="word for word")
    sentences: list[int] = Field(min_length=1, max_length=5)


class Impact(BaseModel):
    model_config = ConfigDict(extra="allow")

    title: str
    direction: Literal["good", "bad"]
    side: Side = Field(Side.TENANT, description="who feels it")
    confidence: float = Field(ge=0, le=1)
    count: Annotated[int, Field(multiple_of=5, gt=0)] = 5
    when: date | None = None
    first: Quote = Field(description="the strongest quote")
    others: list[Quote] = []
    tags: set[str] = set()
    amount: Decimal | None = None


class Node(BaseModel):
    name: str
    parent: Node | None = None
    children: list[Node] = []


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Owner(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")


@pytest.mark.parametrize("model", [Impact, Node, Owner, Quote])
def test_what_comes_out_breaks_no_rule_of_strict_mode(model: type[BaseModel]) -> None:
    assert list(strict_problems(strict_schema(model.model_json_schema()))) == []


def test_every_property_is_required_and_every_object_closed() -> None:
    strict = strict_schema(Impact.model_json_schema())
    assert strict["required"] == list(Impact.model_fields)
    assert strict["additionalProperties"] is False
    assert strict["$defs"]["Quote"]["required"] == ["text", "sentences"]


def test_what_strict_mode_enforces_stays_and_the_rest_is_said_in_words() -> None:
    properties = strict_schema(Impact.model_json_schema())["properties"]
    assert properties["confidence"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert properties["count"] == {"type": "integer", "exclusiveMinimum": 0, "multipleOf": 5}
    assert properties["when"] == {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}
    assert properties["tags"] == {"type": "array", "items": {"type": "string"}, "description": "(no item twice)"}
    quote = strict_schema(Quote.model_json_schema())["properties"]
    assert quote["text"] == {
        "type": "string",
        "description": "word for word (at least 6 characters, at most 400 characters)",
    }
    assert quote["sentences"] == {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 5}


def test_a_property_that_is_called_like_a_keyword_stays() -> None:
    assert strict_schema(Impact.model_json_schema())["properties"]["title"] == {"type": "string"}


def test_a_pattern_with_lookaround_is_left_out() -> None:
    variants = strict_schema(Impact.model_json_schema())["properties"]["amount"]["anyOf"]
    assert {"type": "number"} in variants
    assert all("pattern" not in variant for variant in variants)


def test_a_reference_with_words_beside_it_is_unfolded_and_one_alone_is_kept() -> None:
    strict = strict_schema(Impact.model_json_schema())
    first = strict["properties"]["first"]
    assert first["description"] == "the strongest quote"
    assert first["properties"]["sentences"]["minItems"] == 1
    assert strict["properties"]["others"]["items"] == {"$ref": "#/$defs/Quote"}
    assert strict["properties"]["side"]["enum"] == ["tenant", "owner"]
    assert strict["properties"]["side"]["description"] == "who feels it"
    assert "Side" not in strict["$defs"]


def test_a_recursive_model_keeps_its_circle() -> None:
    strict = strict_schema(Node.model_json_schema())
    assert strict["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert strict["properties"]["parent"] == {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}
    assert strict["$defs"]["Node"]["required"] == ["name", "parent", "children"]


def test_a_circle_of_described_references_ends() -> None:
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/Node", "description": "the next one"}},
    }
    strict = strict_schema({"$ref": "#/$defs/Node", "$defs": {"Node": node}})
    assert list(strict_problems(strict)) == []


def test_a_choice_of_one_kind_becomes_any_of() -> None:
    pet = strict_schema(Owner.model_json_schema())["properties"]["pet"]
    assert pet == {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}


def test_all_of_is_merged() -> None:
    schema = {
        "type": "object",
        "properties": {
            "x": {"allOf": [{"$ref": "#/definitions/A"}, {"properties": {"b": {"type": "integer"}}}], "title": "X"}
        },
        "definitions": {"A": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }
    strict = strict_schema(schema)
    assert strict["properties"]["x"]["required"] == ["b", "a"] or strict["properties"]["x"]["required"] == ["a", "b"]
    assert list(strict_problems(strict)) == []


def test_the_schema_that_came_in_is_left_as_it_was() -> None:
    schema = Impact.model_json_schema()
    strict_schema(schema)["properties"].clear()
    assert schema == Impact.model_json_schema()
    assert strict_schema(schema)["properties"] != {}


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ({"type": "object", "additionalProperties": {"type": "number"}}, "prices"),
        ({"type": "object", "additionalProperties": True}, "prices"),
        ({"type": "array", "prefixItems": [{"type": "integer"}]}, "prices"),
        ({"title": "Anything"}, "prices"),
        ({"type": "array", "items": {}}, r"prices\[\]"),
        (True, "prices"),
    ],
)
def test_what_strict_mode_cannot_say_is_refused_by_place(field: Any, place: str) -> None:
    with pytest.raises(BadInput, match=place):
        strict_schema({"type": "object", "properties": {"prices": field}})


def test_a_schema_that_is_no_json_is_refused() -> None:
    with pytest.raises(BadInput, match="JSON"):
        strict_schema({"type": "object", "properties": {"x": {"enum": [object()]}}})


def test_a_reference_to_the_root_itself_stays() -> None:
    tree = {"type": "object", "properties": {"left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    assert strict_schema(tree)["properties"]["left"] == {"anyOf": [{"$ref": "#"}, {"type": "null"}]}


@pytest.mark.parametrize("root", [{"type": "array", "items": {"type": "string"}}, {"anyOf": [{"type": "string"}]}])
def test_a_root_that_is_no_object_is_refused(root: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="object at its root"):
        strict_schema(root)
