"""JSON schemas of tools, made legal for the family that is to read them.

``tool_schema`` repairs what services refuse outright (a missing top-level object, top-level
combinators, draft-4 and draft-7 leftovers, references where a family follows none) and leaves all
else to the model: a tool's schema is guidance. Constrained decoding wants more, see
``closed_schemas.py``. ``shape_of`` goes the other way, from recorded arguments to a schema.

All are pure, keep key order and are idempotent, so prompt caches see the same bytes each time.
Sources: JSON Schema 2020-12 (and drafts 3 to 7 for what is repaired); Anthropic's tool use pages
for property names and combinators; per-family rules are field reports (``Traits``).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.errors import invalid
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.sound_schemas import is_sound

Schema = dict[str, Json]

_MAX_DEPTH: Final = 64
_MAX_NODES: Final = 20_000
"""Inlining references multiplies; a schema that grows past this keeps its rest open."""
_NODES_SHOWN_AGAIN: Final = 200
"""Up to this size a type that holds itself is unfolded twice; it costs tokens with every call."""

_TYPES: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_ONE: Final = frozenset(
    {
        "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
        "unevaluatedItems", "unevaluatedProperties", "contentSchema", "additionalItems",
    }
)  # fmt: skip
_MAPS: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
_COMBINATORS: Final = ("allOf", "anyOf", "oneOf")
_LISTS: Final = frozenset({*_COMBINATORS, "prefixItems"})
_VALUES: Final = frozenset({"default", "const", "enum", "examples", "example"})
"""Keywords whose value is data, not schema."""
_LISTED_VALUES: Final = ("enum", "examples")
"""Of them, those for which ``null`` is no value."""
_TOP_KEPT: Final = frozenset({"type", "properties", "required", "additionalProperties", "title"})
"""What a model that is picky at the top was recorded taking there."""
_NO_LOSS: Final = frozenset(
    {
        "$schema", "$id", "$comment", "$anchor", "description", "examples", "example",
        "strict",  # no keyword: clients put it inside, though it belongs beside the schema
    }
)  # fmt: skip
_PROPERTY_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_LOOKAROUND: Final = re.compile(r"\(\?<?[=!]")


def tool_schema(parameters: Json, traits: Traits, path: str, notes: Notes) -> Schema:
    """A function's ``parameters`` as ``inputSchema.json``: an object schema this family takes.

    Absent, null, true and {} mean a tool without arguments. Raises ``ProxyError`` 400 naming
    ``path`` for what is no object schema. What had to be loosened is noted as ``tools.parameters``.
    """
    if parameters is None or parameters is True:
        parameters = {}
    if not isinstance(parameters, Mapping):
        raise invalid("A tool's parameters must be a JSON schema object.", path, "invalid_type")
    if is_sound(parameters):
        top = _object_on_top(parameters, path)
    else:
        schema = _Cleaner(dict(parameters), traits, path, notes).cleaned()
        top = _object_on_top(_uncombined(schema, path, notes), path)
        if not traits.schema_any_name:
            _legal_property_names(top, path, notes)
    return _without_top_keywords(top, path, notes) if traits.schema_top_strict else top


def shape_of(values: Sequence[Json]) -> Schema:
    """The schema that all these values fit, as far as their JSON types tell; {} if none does."""
    objects = [value for value in values if isinstance(value, Mapping)]
    lists = [value for value in values if isinstance(value, list)]
    if values and len(objects) == len(values):
        members: dict[str, list[Json]] = {}
        for value in objects:
            for name, inner in value.items():
                members.setdefault(name, []).append(inner)
        return {
            "type": "object",
            "properties": {name: shape_of(seen) for name, seen in members.items()},
        }
    if values and len(lists) == len(values):
        entries = [entry for value in lists for entry in value]
        return {"type": "array", "items": shape_of(entries)} if entries else {"type": "array"}
    kinds = sorted({_kind(value) for value in values})
    if kinds == ["integer", "number"]:
        kinds = ["number"]
    if len(kinds) == 2 and "null" in kinds:
        return {"type": kinds if kinds[1] == "null" else kinds[::-1]} if _flat(kinds) else {}
    return {"type": kinds[0]} if len(kinds) == 1 and _flat(kinds) else {}


class _Cleaner:
    """One pass over one tool's schema."""

    def __init__(self, root: Schema, traits: Traits, path: str, notes: Notes) -> None:
        self._root = root
        self._traits = traits
        self._path = path
        self._notes = notes
        self._nodes = 0

    def cleaned(self) -> Schema:
        schema = self._node(self._root, 0, (), top=True)
        if not self._traits.schema_refs:
            schema.pop("$defs", None)
            schema.pop("definitions", None)
        return schema

    def _node(
        self, schema: Json, depth: int, within: tuple[str, ...], *, top: bool = False
    ) -> Schema:
        """``top``: what will stand on top, or is merged into it: no reference may be left there."""
        if depth > _MAX_DEPTH:
            raise invalid("The schema is nested too deeply.", self._path)
        self._nodes += 1
        if schema is True or schema is None:
            return {}
        if schema is False:
            return {"not": {}}
        if not isinstance(schema, Mapping):
            raise invalid(
                "A JSON schema must be an object or a boolean.", self._path, "invalid_type"
            )
        reference = schema.get("$ref")
        if isinstance(reference, str) and (top or not self._traits.schema_refs):
            return self._inlined(schema, reference, depth, within, top)
        out: Schema = {}
        for key, value in schema.items():
            if top and key in _COMBINATORS and isinstance(value, list):
                out[key] = [self._node(entry, depth + 1, within, top=True) for entry in value]
            else:
                self._keyword(out, key, value, depth, within)
        return _modern(out, schema)

    def _keyword(
        self, out: Schema, key: str, value: Json, depth: int, within: tuple[str, ...]
    ) -> None:
        if key in _VALUES and (value is not None or key not in _LISTED_VALUES):
            out[key] = value
        elif value is None:
            return  # frameworks write null for "not set"
        elif key in _MAPS:
            named = self._map(key, value, depth, within)
            if named is not None:
                out[key] = named
        elif key in _LISTS and isinstance(value, list):
            out[key] = [self._node(entry, depth + 1, within) for entry in value]
        elif key == "items" and isinstance(value, list):  # a tuple, as draft 7 wrote it
            out["prefixItems"] = [self._node(entry, depth + 1, within) for entry in value]
        elif key in _ONE:
            keep = isinstance(value, bool) and key != "items"
            out[key] = value if keep else self._node(value, depth + 1, within)
        else:
            self._plain(out, key, value)

    def _map(
        self, key: str, value: Json, depth: int, within: tuple[str, ...]
    ) -> dict[str, Schema] | None:
        if not isinstance(value, Mapping):
            raise invalid(f"{key} must be an object.", self._path, "invalid_type")
        if key in ("$defs", "definitions") and not self._traits.schema_refs:
            return None
        return {name: self._node(entry, depth + 1, within) for name, entry in value.items()}

    def _plain(self, out: Schema, key: str, value: Json) -> None:
        if key == "pattern" and self._unreadable(value):
            self._note("dropped", "This model's schemas take no look-around in a pattern.")
        elif key == "$ref" and not isinstance(value, str):
            self._note("dropped", "A reference in the schema is not a string.")
        elif key == "type":
            self._type(out, value)
        elif key == "required":
            if isinstance(value, list):
                out[key] = [name for name in value if isinstance(name, str)]
            elif not isinstance(value, bool):  # that is draft 3's, see _modern
                self._note("dropped", "What a schema requires is not a list of names.")
        else:
            out[key] = value

    def _type(self, out: Schema, value: Json) -> None:
        """Gemini's schemas name types in capitals."""
        kinds = [one.lower() if isinstance(one, str) else one for one in _listed(value)]
        if _is_type(kinds):
            out["type"] = kinds if isinstance(value, list) else kinds[0]
        else:
            self._note("dropped", "The schema names a type that JSON does not have.")

    def _unreadable(self, pattern: Json) -> bool:
        if self._traits.schema_lookaround or not isinstance(pattern, str):
            return False
        return _LOOKAROUND.search(pattern) is not None

    def _inlined(
        self,
        schema: Mapping[str, Json],
        reference: str,
        depth: int,
        within: tuple[str, ...],
        top: bool,
    ) -> Schema:
        """The referenced schema in place; what stands beside ``$ref`` is laid over it."""
        target = _pointed_at(self._root, reference)
        if target is None or self._is_large(depth) or self._is_repeated(reference, within):
            self._note("emulated", "A reference in the schema cannot be followed for this model.")
            target = _outline(target)
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        whole = {**target, **beside} if isinstance(target, Mapping) else beside or target
        return self._node(whole, depth + 1, (*within, reference), top=top)

    def _is_repeated(self, reference: str, within: tuple[str, ...]) -> bool:
        """A type within itself is shown once more, so that a model sees how it nests."""
        seen = within.count(reference)
        return seen > 1 or (seen == 1 and self._nodes > _NODES_SHOWN_AGAIN)

    def _is_large(self, depth: int) -> bool:
        return depth > _MAX_DEPTH // 2 or self._nodes > _MAX_NODES

    def _note(self, what: str, message: str) -> None:
        self._notes.add(f"tools.parameters:{what}", self._path, message)


def _modern(schema: Schema, before: Mapping[str, Json]) -> Schema:
    """Draft-4 bounds and draft-3 ``required``, booleans both, in today's words."""
    properties = before.get("properties")
    if isinstance(properties, Mapping):
        needed = [
            name
            for name, one in properties.items()
            if isinstance(one, Mapping) and one.get("required") is True
        ]
        if needed:
            schema["required"] = list(dict.fromkeys([*schema.get("required", ()), *needed]))
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        flag = schema.get(exclusive)
        if isinstance(flag, bool):
            del schema[exclusive]
            if flag and bound in schema:
                schema[exclusive] = schema.pop(bound)
    return schema


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def _is_type(value: Json) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, str) and one in _TYPES for one in value)
    return isinstance(value, str) and value in _TYPES


def _pointed_at(root: Schema, reference: str) -> Json:
    """What a reference within the document points at; ``None`` if it leaves it or dangles."""
    if not reference.startswith("#"):
        return None
    target: Json = root
    for step in reference.lstrip("#").split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or step not in target:
            return None
        target = target[step]
    return target


def _outline(target: Json) -> Schema:
    """What is left of a schema that is not shown: its type."""
    kind = target.get("type") if isinstance(target, Mapping) else None
    return {"type": kind} if _is_type(kind) else {}


def _object_on_top(schema: Mapping[str, Json], path: str) -> Schema:
    """A copy that is an object; what stands below the top is shared."""
    if not _may_be_object(schema):
        raise invalid("A tool's parameters must be of type object.", f"{path}.type")
    top: Schema = {"type": "object", **schema}
    top["type"] = "object"
    top["properties"] = schema.get("properties", {})
    return top


def _without_top_keywords(top: Schema, path: str, notes: Notes) -> Schema:
    lost = top.keys() - _TOP_KEPT - _NO_LOSS
    if lost:
        notes.add(
            "tools.parameters:dropped",
            path,
            "This model does not support this keyword in a schema.",
        )
    return {key: value for key, value in top.items() if key in _TOP_KEPT}


def _may_be_object(schema: Mapping[str, Json]) -> bool:
    kind = schema.get("type", "object")
    return kind == "object" or (isinstance(kind, list) and "object" in kind)


def _uncombined(schema: Schema, path: str, notes: Notes) -> Schema:
    """Top-level anyOf, oneOf and allOf as one object: all properties, what every branch needs."""
    branches = [(key, schema[key]) for key in _COMBINATORS if isinstance(schema.get(key), list)]
    if not branches:
        return schema
    notes.add(
        "tools.parameters:merged", path, "Top-level schema combinators are merged into one object."
    )
    merged = {key: value for key, value in schema.items() if key not in _COMBINATORS}
    properties = dict(merged.get("properties", {}))
    required = list(merged.get("required", ()))
    for key, options in branches:
        objects = [_uncombined(one, path, notes) for one in options if _may_be_object(one)]
        for one in objects:
            for name, value in one.get("properties", {}).items():
                properties.setdefault(name, value)
        required += _needed(key, objects)
    merged["type"] = "object"
    merged["properties"] = properties
    if required:
        merged["required"] = list(dict.fromkeys(required))
    return merged


def _needed(key: str, options: list[Schema]) -> list[str]:
    lists = [list(one.get("required", ())) for one in options]
    if key == "allOf":
        return [name for names in lists for name in names]
    shared = set(lists[0]).intersection(*lists) if lists else set()
    return [name for name in lists[0] if name in shared] if shared else []


def _legal_property_names(top: Schema, path: str, notes: Notes) -> None:
    """Leave out optional properties whose names this family refuses, at any depth."""
    for node in _objects(top):
        illegal = [name for name in node["properties"] if not _PROPERTY_NAME.fullmatch(name)]
        if not illegal:
            continue
        needed = set(illegal).intersection(node.get("required", ()))
        if needed:
            raise invalid(
                "This model takes property names of letters, digits, '_', '.', '-' (1-64) only, "
                f"and a required property is named {min(needed)!r}.",
                f"{path}.properties",
            )
        notes.add(
            "tools.parameters:dropped", path, f"The property {illegal[0]!r} has no legal name."
        )
        lost = set(illegal)
        node["properties"] = {k: v for k, v in node["properties"].items() if k not in lost}


def _objects(node: Json) -> list[Schema]:
    """Every schema with properties, outermost first."""
    if not isinstance(node, dict):
        return []
    found = [node] if isinstance(node.get("properties"), dict) else []
    for child in _children(node):
        found += _objects(child)
    return found


def _children(node: Schema) -> list[Json]:
    children: list[Json] = [node[key] for key in node if key in _ONE]
    for key, value in node.items():
        if key in _MAPS and isinstance(value, dict):
            children += value.values()
        elif key in _LISTS and isinstance(value, list):
            children += value
    return children


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = ((int, "integer"), (float, "number"), (str, "string"), (list, "array"))
    if value is None:
        return "null"
    return next((name for python, name in names if isinstance(value, python)), "object")


def _flat(kinds: list[str]) -> bool:
    return not {"array", "object"} & set(kinds)
