"""JSON schemas for constrained decoding: every object closed, in the subset that compiles.

Native structured output and strict tools share one subset: closed objects, ``anyOf``, ``enum``,
``const``, references inside the document without recursion, a handful of formats. A constraint
outside it (a bound, a length) is told to the model in the description instead. A schema whose
meaning closing would change (a free-form map, any value at all) has no closed form; the caller then
takes a way that needs none.

Source: Amazon Bedrock user guide, *Structured outputs*, and Anthropic's page of the same name
(both give the supported subset; families other than Claude were not tried beyond it).
"""

import re
from collections.abc import Mapping
from typing import Final

import orjson

from proxy.converse.types import Json

Schema = dict[str, Json]

_MAX_DEPTH: Final = 64
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_SPOKEN: Final = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
        "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties", "contains",
        "minContains", "maxContains", "propertyNames", "not", "if", "then", "else",
        "dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties",
        "contentEncoding", "contentMediaType", "contentSchema",
    }
)  # fmt: skip
"""Constraints that constrained decoding does not know."""
_SILENT: Final = frozenset({"$schema", "$id", "$comment", "examples", "example", "nullable"})
_HARD_PATTERN: Final = re.compile(r"\(\?|\\[1-9bB]")
"""Look-around and other group forms, back references, word boundaries."""
_MEANING: Final = frozenset({"type", "enum", "const", "anyOf", "$ref"})
_OPEN: Final = frozenset({"patternProperties", "prefixItems", "$dynamicRef", "$recursiveRef"})


class _NoClosedForm(Exception):
    """The schema says something that a closed one cannot."""


def closed_schema(schema: Json) -> tuple[Schema, bool] | None:
    """The schema's closed form, and whether constraints became words; ``None`` if it has none."""
    if not isinstance(schema, Mapping) or _recursive(schema):
        return None
    closer = _Closer(schema)
    try:
        return closer.node(schema, 0), closer.spoken
    except _NoClosedForm:
        return None


class _Closer:
    def __init__(self, root: Mapping[str, Json]) -> None:
        self._root = root
        self.spoken = False

    def node(self, schema: Json, depth: int) -> Schema:
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or _OPEN & schema.keys():
            raise _NoClosedForm
        schema = _single(schema)
        if "$ref" in schema:
            self._check_reference(schema["$ref"])
        out: Schema = {}
        words: list[str] = []
        for key, value in schema.items():
            if key in _SPOKEN or _is_spoken(key, value):
                words.append(f"{key}: {orjson.dumps(value).decode()}")
            elif key not in _SILENT:
                out["anyOf" if key == "oneOf" else key] = self._value(key, value, depth)
        _close(out)
        if words:
            self.spoken = True
            said = f"({', '.join(words)})"
            before = out.get("description")
            out["description"] = f"{before} {said}" if isinstance(before, str) else said
        return out

    def _value(self, key: str, value: Json, depth: int) -> Json:
        if key in ("properties", "$defs", "definitions"):
            if not isinstance(value, Mapping):
                raise _NoClosedForm
            return {name: self.node(entry, depth + 1) for name, entry in value.items()}
        if key in ("anyOf", "oneOf"):
            if not isinstance(value, list):
                raise _NoClosedForm
            return [self.node(entry, depth + 1) for entry in value]
        if key == "items":
            return self.node(value, depth + 1)
        if key == "enum" and not _plain_values(value):
            raise _NoClosedForm
        if key == "additionalProperties" and value is not False:
            raise _NoClosedForm
        return value

    def _check_reference(self, reference: Json) -> None:
        if _definition(self._root, reference) is None:
            raise _NoClosedForm


def _plain_values(value: Json) -> bool:
    return isinstance(value, list) and not any(isinstance(one, dict | list) for one in value)


def _single(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    """``allOf`` of one entry is that entry (how older generators attach words to a reference)."""
    if "allOf" not in schema:
        return schema
    every = schema["allOf"]
    rest = {key: value for key, value in schema.items() if key != "allOf"}
    if not isinstance(every, list) or len(every) != 1 or not isinstance(every[0], Mapping):
        raise _NoClosedForm
    if _MEANING & rest.keys() or "properties" in rest:
        raise _NoClosedForm
    return _single({**every[0], **rest})


def _is_spoken(key: str, value: Json) -> bool:
    if key == "minItems":
        return value not in (0, 1)
    if key == "format":
        return value not in _FORMATS
    if key == "pattern":
        return not isinstance(value, str) or _HARD_PATTERN.search(value) is not None
    return False


def _close(schema: Schema) -> None:
    """Close an object in place; refuse what would then mean something else."""
    if "properties" in schema:
        schema.setdefault("type", "object")
    if not _MEANING & schema.keys():
        raise _NoClosedForm
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "object" in kinds:
        if "properties" not in schema and "additionalProperties" not in schema:
            raise _NoClosedForm
        schema["additionalProperties"] = False
    if "array" in kinds and "items" not in schema:
        raise _NoClosedForm


def _definition(root: Mapping[str, Json], reference: Json) -> Json:
    if not isinstance(reference, str):
        return None
    for home in ("$defs", "definitions"):
        stem = f"#/{home}/"
        known = root.get(home)
        if reference.startswith(stem) and isinstance(known, Mapping):
            return known.get(reference[len(stem) :].replace("~1", "/").replace("~0", "~"))
    return None


def _recursive(root: Mapping[str, Json]) -> bool:
    """A definition leads back to itself, or a reference to the whole document."""
    done: set[str] = set()

    def leads_back(reference: str, above: frozenset[str]) -> bool:
        if reference in above or len(above) > _MAX_DEPTH:
            return True
        if reference in done:
            return False
        inner = _references(_definition(root, reference), 0)
        if any(leads_back(one, above | {reference}) for one in inner):
            return True
        done.add(reference)
        return False

    return any(leads_back(one, frozenset()) for one in _references(root, 0))


def _references(node: Json, depth: int) -> list[str]:
    if depth > 2 * _MAX_DEPTH:
        return ["#"]
    if isinstance(node, list):
        return [one for entry in node for one in _references(entry, depth + 1)]
    if not isinstance(node, Mapping):
        return []
    own = node.get("$ref")
    found = [own] if isinstance(own, str) else []
    for value in node.values():
        found += _references(value, depth + 1)
    return found
