"""Which tool schemas need no repair: most of them, and a look at each keyword tells.

``is_sound`` says that ``tool_schemas`` would change nothing below the top of a schema, for no
family, so that it need not be taken apart and put together again (30 tools: 0.9 ms). It is a
shortcut and no judge: what it does not know for certain (references, definitions, look-around,
combinators on top, ``null`` for what is not set) it leaves to the repair. A test holds the two
together over schemas of every kind.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from proxy.converse.types import Json

_MAX_DEPTH: Final = 32
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_TYPES: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


def is_sound(schema: Mapping[str, Json]) -> bool:
    """Whether ``schema``, a function's parameters, can stay as it is."""
    return _COMBINATORS.isdisjoint(schema) and _node(schema, 0)


def _node(schema: Json, depth: int) -> bool:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return False
    for key, value in schema.items():
        look = _KEYWORDS.get(key)
        if look is None:
            if value is None:
                return False
        elif not look(value, depth):
            return False
    return True


def _properties(value: Json, depth: int) -> bool:
    if not isinstance(value, dict) or not all(map(_NAME.fullmatch, value)):
        return False
    return all(_node(inner, depth + 1) for inner in value.values())


def _items(value: Json, depth: int) -> bool:
    return _node(value, depth + 1)


def _type(value: Json, _depth: int) -> bool:
    if isinstance(value, str):
        return value in _TYPES
    return isinstance(value, list) and bool(value) and all(map(_is_type, value))


def _is_type(value: Json) -> bool:
    return isinstance(value, str) and value in _TYPES


def _required(value: Json, _depth: int) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _node_or_switch(value: Json, depth: int) -> bool:
    return isinstance(value, bool) or _node(value, depth + 1)


def _nodes(value: Json, depth: int) -> bool:
    return isinstance(value, list) and all(_node(inner, depth + 1) for inner in value)


def _bound(value: Json, _depth: int) -> bool:
    return value is not None and not isinstance(value, bool)


def _pattern(value: Json, _depth: int) -> bool:
    return isinstance(value, str) and "(?" not in value


def _data(_value: Json, _depth: int) -> bool:
    return True


def _list(value: Json, _depth: int) -> bool:
    return isinstance(value, list)


def _unsure(_value: Json, _depth: int) -> bool:
    return False


_COMBINATORS: Final = frozenset({"allOf", "anyOf", "oneOf"})
_LOOKS: Final[tuple[tuple[Callable[[Json, int], bool], tuple[str, ...]], ...]] = (
    (_type, ("type",)),
    (_properties, ("properties",)),
    (_required, ("required",)),
    (_items, ("items",)),
    (
        _node_or_switch,
        (
            "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
            "unevaluatedItems", "unevaluatedProperties", "contentSchema", "additionalItems",
        ),
    ),
    (_nodes, ("allOf", "anyOf", "oneOf", "prefixItems")),
    (_bound, ("exclusiveMinimum", "exclusiveMaximum")),
    (_pattern, ("pattern",)),
    (_data, ("default", "const", "example")),
    (_list, ("enum", "examples")),
    (_unsure, ("$ref", "$defs", "definitions", "patternProperties", "dependentSchemas")),
)  # fmt: skip
_KEYWORDS: Final = MappingProxyType({key: look for look, keys in _LOOKS for key in keys})
