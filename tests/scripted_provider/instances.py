"""An instance of a JSON schema, chosen by a seed: the same schema and seed give the same value."""

from __future__ import annotations

import math
import random
from typing import Any

from tests.scripted_provider.patterns import text_matching

MAX_DEPTH = 8
_WORDS: tuple[str, ...] = (
    "housing",
    "agency",
    "rental",
    "board",
    "county",
    "permit",
    "grant",
    "tenant",
    "owner",
    "period",
)
_WORDS += ("notice", "report", "district", "income", "fund", "program", "applicant", "review", "cost", "limit")
_FORMATS = {
    "date": "2024-03-01",
    "time": "12:30:00Z",
    "date-time": "2024-03-01T12:30:00Z",
    "duration": "P3D",
    "email": "clerk@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uuid": "7d9f2f0e-6d5c-4c3a-9a3b-2f1e0d9c8b7a",
}


class InstanceMaker:
    """Makes instances of one schema."""

    def __init__(self, schema: dict[str, Any], seed: str) -> None:
        self._root = schema
        self._random = random.Random(seed)

    def make(self) -> Any:
        """One instance of the whole schema."""
        return self._value(self._root, 0)

    def _value(self, schema: Any, depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self._value(self._branch(schema[union], depth), depth + 1)
        return self._typed(schema, self._type_of(schema, depth), depth)

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """`schema` with `$ref` followed and `allOf` merged into one mapping."""
        if not isinstance(schema, dict):
            return {}
        if "$ref" in schema:
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return self._resolved({**self._target(schema["$ref"]), **rest})
        if "allOf" in schema:
            merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
            for part in map(self._resolved, schema["allOf"]):
                properties = {**merged.get("properties", {}), **part.get("properties", {})}
                merged = {**part, **merged, **({"properties": properties} if properties else {})}
            return merged
        return schema

    def _target(self, reference: str) -> dict[str, Any]:
        found: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            found = found[part] if part else found
        return dict(found)

    def _branch(self, options: list[Any], depth: int) -> Any:
        nulls = [option for option in options if self._resolved(option).get("type") == "null"]
        others = [option for option in options if option not in nulls]
        return nulls[0] if nulls and (depth >= MAX_DEPTH or not others) else self._random.choice(others)

    def _type_of(self, schema: dict[str, Any], depth: int) -> str:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            real = [kind for kind in kinds if kind != "null"]
            return "null" if not real or (depth >= MAX_DEPTH and "null" in kinds) else str(self._random.choice(real))
        if kinds is None:
            return "object" if "properties" in schema else "array" if "items" in schema else "string"
        return str(kinds)

    def _typed(self, schema: dict[str, Any], kind: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return self._integer(schema)
            case "number":
                return self._number(schema)
            case "boolean":
                return self._random.random() < 0.5
            case "null":
                return None
        return self._string(schema)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        wanted = {
            name: part for name, part in schema.get("properties", {}).items() if name in required or depth < MAX_DEPTH
        }
        made = {name: self._value(part, depth + 1) for name, part in wanted.items()}
        more = schema.get("additionalProperties")
        if isinstance(more, dict) and depth < MAX_DEPTH:
            for name in self._random.sample(_WORDS, max(schema.get("minProperties", 1) - len(made), 1)):
                made.setdefault(name, self._value(more, depth + 1))
        return made

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        fewest = schema.get("minItems", 0 if depth >= MAX_DEPTH else min(1, schema.get("maxItems", 1)))
        most = fewest if depth >= MAX_DEPTH else min(schema.get("maxItems", fewest + 2), fewest + 2)
        count = self._random.randint(fewest, max(fewest, most))
        made = [self._value(part, depth + 1) for part in schema.get("prefixItems", ())]
        if "items" not in schema and "prefixItems" in schema:
            return made
        for _ in range(100):
            if len(made) >= count:
                break
            item = self._value(schema.get("items", {}), depth + 1)
            if not schema.get("uniqueItems") or item not in made:
                made.append(item)
        return made

    def _integer(self, schema: dict[str, Any]) -> int:
        step = int(schema.get("multipleOf", 1))
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0 if schema.get("maximum", 1) >= 0 else -1000))
        low = math.floor(low) + 1 if "exclusiveMinimum" in schema and "minimum" not in schema else math.ceil(low)
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 100 * step))
        high = math.ceil(high) - 1 if "exclusiveMaximum" in schema and "maximum" not in schema else math.floor(high)
        return self._random.randint(-(-low // step), high // step) * step

    def _number(self, schema: dict[str, Any]) -> float:
        if "multipleOf" in schema:
            step = schema["multipleOf"]
            low, high = schema.get("minimum", 0), schema.get("maximum", schema.get("minimum", 0) + 10 * step)
            return float(self._random.randint(math.ceil(low / step), math.floor(high / step)) * step)
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0.0))
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 1.0))
        return float(round(low + (high - low) * self._random.uniform(0.05, 0.95), 6))

    def _string(self, schema: dict[str, Any]) -> str:
        if "pattern" in schema:
            return text_matching(schema["pattern"], self._random)
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        shortest, longest = schema.get("minLength", 1), schema.get("maxLength", 10_000)
        text = " ".join(self._random.choices(_WORDS, k=6))
        while len(text) < shortest:
            text += " " + self._random.choice(_WORDS)
        return text[:longest]
