"""JSON schemas as OpenAI's strict mode takes them.

Rules: https://platform.openai.com/docs/guides/structured-outputs (supported schemas). Every object is
closed and all its properties are required; a union is `anyOf`; `$ref` stands alone; the keywords
beyond the list are refused. What strict mode cannot enforce (lengths, uniqueness) is told to the
model in the description instead: the answer is validated against the full schema anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson

from schemas.errors import BadInput

Schema = dict[str, Any]

KEPT = frozenset({"type", "description", "enum", "const", "pattern", "format", "minItems", "maxItems"}) | {
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
}
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
IN_WORDS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "uniqueItems": "no item twice",
    "format": "format {}",
}
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_DEFINITIONS = ("$defs", "definitions")


def strict_schema(schema: Schema) -> Schema:
    """An equivalent of `schema` (as Pydantic writes it) that OpenAI's strict mode accepts.

    Raises:
        BadInput: it holds what strict mode cannot express: free-form mappings, fixed-length tuples,
            values of any type, a root that is not an object. The message names the place.
    """
    try:
        given = orjson.dumps(schema)
    except orjson.JSONEncodeError as error:
        raise BadInput("the answer's schema holds a value that JSON has no form for") from error
    strict: Schema = orjson.loads(_strict_json(given))
    return strict


@lru_cache(maxsize=256)
def _strict_json(schema: bytes) -> bytes:
    return orjson.dumps(_Conversion(orjson.loads(schema)).result())


class _Conversion:
    """One schema on its way: the root, for looking up references."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    def result(self) -> Schema:
        root = {name: value for name, value in self._root.items() if name not in _DEFINITIONS}
        strict = self._convert(self._inlined(root), "", ())
        if strict.get("type") != "object":
            raise BadInput("the answer's schema must be an object at its root; wrap it in a model with one field")
        definitions = {
            f"{name}/{key}": self._convert(part, f"{name}/{key}", (f"#/{name}/{key}",))
            for name in _DEFINITIONS
            for key, part in self._root.get(name, {}).items()
        }
        return strict | _reachable(strict, definitions)

    def _inlined(self, schema: Schema) -> Schema:
        """`schema`, or where it is a reference, its target with the reference's own keywords laid over it."""
        while "$ref" in schema:
            rest = {name: value for name, value in schema.items() if name != "$ref"}
            schema = {**self._target(schema["$ref"]), **rest}
        return schema

    def _target(self, reference: str) -> Schema:
        found: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            found = found[part] if part else found
        return {name: value for name, value in found.items() if name not in _DEFINITIONS}

    def _convert(self, schema: Any, place: str, opened: tuple[str, ...]) -> Schema:
        if not isinstance(schema, dict) or not schema.keys() - {"title", "description", "default"}:
            raise BadInput(f"{place or 'the schema'} accepts any value; give it a type")
        if "$ref" in schema:
            return self._reference(schema, place, opened)
        if "allOf" in schema:
            return self._convert(self._merged(schema), place, opened)
        if "prefixItems" in schema:
            raise BadInput(f"{place} is a tuple; strict answers need a list or an object with named fields")
        strict = _kept(schema)
        if "properties" in schema or schema.get("type") == "object":
            strict |= self._object(schema, place, opened)
        if "items" in schema:
            strict["items"] = self._convert(schema["items"], f"{place}[]", opened)
        for union in ("anyOf", "oneOf"):
            if union in schema:
                strict["anyOf"] = [self._convert(part, place, opened) for part in schema[union]]
        return strict

    def _reference(self, schema: Schema, place: str, opened: tuple[str, ...]) -> Schema:
        """A reference stays when it stands alone or leads in a circle; else its target takes its place."""
        reference = schema["$ref"]
        alone = not schema.keys() & (KEPT | IN_WORDS.keys() | {"properties", "items", "anyOf"})
        if alone or reference in opened:
            return {"$ref": reference}
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        return self._convert({**self._target(reference), **rest}, place, (*opened, reference))

    def _merged(self, schema: Schema) -> Schema:
        """`allOf` taken together: properties united, the outermost keyword wins."""
        merged = {name: value for name, value in schema.items() if name != "allOf"}
        for part in map(self._inlined, schema["allOf"]):
            properties = {**part.get("properties", {}), **merged.get("properties", {})}
            merged = {**part, **merged, **({"properties": properties} if properties else {})}
        return merged

    def _object(self, schema: Schema, place: str, opened: tuple[str, ...]) -> Schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") and not properties:
            raise BadInput(f"{place or 'the schema'} is a free-form mapping; use a list of objects with key and value")
        return {
            "type": schema.get("type", "object"),
            "properties": {
                name: self._convert(part, f"{place}.{name}".lstrip("."), opened) for name, part in properties.items()
            },
            "required": list(properties),
            "additionalProperties": False,
        }


def _kept(schema: Schema) -> Schema:
    """The keywords strict mode knows; the others go into the description where the model can use them."""
    kept = {name: value for name, value in schema.items() if name in KEPT}
    if kept.get("format") not in FORMATS:
        kept.pop("format", None)
    if _LOOKAROUND.search(kept.get("pattern", "")):
        del kept["pattern"]
    told = [IN_WORDS[name].format(schema[name]) for name in IN_WORDS if schema.get(name) and name not in kept]
    if told:
        kept["description"] = " ".join(
            [*([kept["description"]] if "description" in kept else []), f"({', '.join(told)})"]
        )
    return kept


def _reachable(strict: Schema, definitions: dict[str, Schema]) -> Schema:
    """The definitions that `strict` refers to, directly or through others."""
    wanted: dict[str, Schema] = {}
    waiting = list(_references(strict))
    while waiting:
        name = waiting.pop().removeprefix("#/")
        if name in definitions and name not in wanted:
            wanted[name] = definitions[name]
            waiting += _references(definitions[name])
    grouped: Schema = {}
    for name in definitions:
        if name in wanted:
            group, _, key = name.partition("/")
            grouped.setdefault(group, {})[key] = wanted[name]
    return grouped


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for part in schema.values():
            yield from _references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)
