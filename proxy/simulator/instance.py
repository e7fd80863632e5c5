"""A valid instance of a JSON schema, made from what the prompt says.

The simulated model fills tool arguments and structured output with this. Required members are
always there, optional ones when the prompt names them (or when nothing is required); enums, const,
bounds, formats, `$ref`, `anyOf` and nesting are honoured. Deterministic: the same schema and hints
give the same instance. Not covered: `not`, `if/then/else`, `patternProperties`, and patterns that
none of a list of common strings meets.

Source: JSON Schema 2020-12, the subset that tools use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

Schema = dict[str, Any]

_DEEPEST = 8
"""From here on lists are empty, optional members left out, and what may be null is null."""
_ENDLESS = 2 * _DEEPEST
"""A schema that still wants more has no finite instance: it gets null."""
_FORMATS = MappingProxyType(
    {
        "date": "2026-01-31",
        "date-time": "2026-01-31T12:00:00Z",
        "time": "12:00:00Z",
        "email": "ada@example.com",
        "uri": "https://example.com/",
        "url": "https://example.com/",
        "uuid": "123e4567-e89b-42d3-a456-426614174000",
        "ipv4": "192.0.2.1",
        "ipv6": "2001:db8::1",
        "hostname": "example.com",
    }
)
_CANDIDATES = (
    *("a", "A", "0", "1", "42", "abc", "ABC", "example", "Example", "abc-123", "ABC-123", "a1"),
    *("2026-01-31", "12:00", "+15550100", "#a1b2c3", "/tmp/notes.txt", "notes.txt", "1.0.0"),
    *("ada@example.com", "https://example.com/", "USD", "en", "en-US", "00000", "123456789"),
)
_FREE_TEXT = frozenset(
    {"query", "text", "message", "prompt", "input", "question", "content", "code", "command"}
)


_SAID = re.compile(r"\b([A-Za-z_]\w*)\s?=\s?(?:[\"']([^\"'\n]*)[\"']|(-?[\w.]*\w))")


@dataclass(frozen=True, slots=True)
class Hints:
    """What the prompt offers: its text, its names (what is quoted before what is capitalised),
    its numbers, which name comes first, and what it says outright (`city="Oslo"`, `a=40`)."""

    text: str = ""
    names: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    turn: int = 0
    said: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, turn: int = 0) -> Hints:
        starts = {found.start(1) for found in re.finditer(r"(?:^|[.!?:]\s+)([A-Z])", text)}
        words = re.finditer(r"\b[A-Z][a-zà-öø-ÿ]+(?:[ -][A-Z][a-zà-öø-ÿ]+)*", text)
        quoted = re.findall(r"(?<!\w)['\"“]([^'\"“”\n]{1,80})['\"”](?!\w)", text)
        names = [*quoted, *(w.group() for w in words if w.start() not in starts)]
        numbers = [float(n) for n in re.findall(r"(?<![\w.])-?\d{1,12}(?:\.\d+)?(?![\w.])", text)]
        said = {name.lower(): quoted or bare for name, quoted, bare in _SAID.findall(text)}
        unique = tuple(dict.fromkeys(names))
        return cls(text, unique, tuple(numbers), turn, said)

    def past_numbers(self, count: int) -> Hints:
        """Without the first numbers, while there are others: "add 40 and 2" has two of them."""
        return replace(self, numbers=self.numbers[count:] or self.numbers)


def instance_of(schema: Any, hints: Hints) -> Any:
    """A value that the schema accepts."""
    return _make(schema, schema if isinstance(schema, dict) else {}, hints, "value", 0)


def _make(schema: Any, root: Schema, hints: Hints, name: str, depth: int) -> Any:
    if not isinstance(schema, dict):
        return f"example {name}"
    schema = _resolved(schema, root, deep=depth >= _DEEPEST)
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    if schema.get("enum"):
        return _mentioned(schema["enum"], hints)
    maker = None if depth > _ENDLESS else _MAKERS.get(_type(schema, deep=depth >= _DEEPEST))
    return None if maker is None else maker(schema, root, hints, name, depth)


def _resolved(schema: Schema, root: Schema, *, deep: bool = False) -> Schema:
    """Follow `$ref`, take the first real branch of anyOf/oneOf (deep down: null), merge allOf."""
    for _ in range(_DEEPEST):
        if "$ref" in schema:
            schema = _lookup(str(schema["$ref"]), root)
        elif "allOf" in schema:
            schema = _merged(schema, root)
        elif branches := schema.get("anyOf") or schema.get("oneOf"):
            rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
            real = [b for b in branches if isinstance(b, dict) and b.get("type") != "null"]
            ended = not real or (deep and {"type": "null"} in branches)
            schema = {**rest, **({"type": "null"} if ended else real[0])}
        else:
            break
    return schema


def _lookup(reference: str, root: Schema) -> Schema:
    node: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            key = part.replace("~1", "/").replace("~0", "~")
            node = node.get(key, {}) if isinstance(node, dict) else {}
    return node if isinstance(node, dict) else {}


def _merged(schema: Schema, root: Schema) -> Schema:
    merged = {k: v for k, v in schema.items() if k != "allOf"}
    for part in schema["allOf"]:
        branch = _resolved(part, root) if isinstance(part, dict) else {}  # true says nothing
        properties = {**merged.get("properties", {}), **branch.get("properties", {})}
        required = [*merged.get("required", []), *branch.get("required", [])]
        merged = {**merged, **branch, "properties": properties, "required": required}
    return merged


def _type(schema: Schema, *, deep: bool = False) -> str:
    declared = schema.get("type")
    if isinstance(declared, list):
        ended = deep and "null" in declared
        declared = "null" if ended else next((t for t in declared if t != "null"), "null")
    if declared is None:
        declared = (
            "object" if "properties" in schema else "array" if "items" in schema else "string"
        )
    return str(declared)


def _mentioned(options: list[Any], hints: Hints) -> Any:
    """The option that the prompt names, else the first."""
    lowered = hints.text.lower()
    for option in options:
        if isinstance(option, str) and re.search(rf"\b{re.escape(option.lower())}\b", lowered):
            return option
    return options[0]


def _object(schema: Schema, root: Schema, hints: Hints, name: str, depth: int) -> Schema:
    properties = schema.get("properties") or {}
    required = list(dict.fromkeys(schema.get("required") or []))
    lowered = hints.text.lower()
    wanted = [p for p in properties if p not in required and p.lower().replace("_", " ") in lowered]
    if not required and not wanted and depth < 2:
        wanted = list(properties)
    if depth >= _DEEPEST:
        wanted = []
    filled = {}
    numeric = 0
    for member in required + wanted:
        one = properties.get(member, {})
        left = hints.past_numbers(numeric)
        filled[member] = _make(one, root, left, member, depth + 1)
        numeric += isinstance(one, dict) and one.get("type") in ("integer", "number")
    extra = schema.get("additionalProperties")
    if not properties and not required and isinstance(extra, dict):
        filled["example"] = _make(extra, root, hints, "example", depth + 1)
    return filled


def _array(schema: Schema, root: Schema, hints: Hints, name: str, depth: int) -> list[Any]:
    if prefix := schema.get("prefixItems"):
        return [_make(item, root, hints, name, depth + 1) for item in prefix]
    least = schema.get("minItems", 1)
    most = schema.get("maxItems", max(1, least))
    unknown = schema.get("items") == {"type": "object"}  # an empty list is never wrong
    if (depth >= _DEEPEST or unknown) and not schema.get("minItems"):
        return []
    items = [
        _make(
            schema.get("items", {}),
            root,
            replace(hints, turn=turn),
            name,
            depth + 1,
        )
        for turn in range(min(max(1, least), most))
    ]
    if schema.get("uniqueItems") and len(items) > 1 and all(isinstance(i, str) for i in items):
        items = [f"{item} {at}" if at else item for at, item in enumerate(items)]
    return items


def _string(schema: Schema, root: Schema, hints: Hints, name: str, depth: int) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if schema.get("examples"):
        return str(schema["examples"][0])
    text = _worded(hints, name)
    pattern = schema.get("pattern")
    if pattern and not _fits(pattern, text):
        pool = (*hints.names, *_CANDIDATES)
        text = next((c for c in pool if _fits(pattern, c)), text)
    least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
    return text.ljust(least, "x")[:most]


def _worded(hints: Hints, name: str) -> str:
    if name.lower() in hints.said:
        return hints.said[name.lower()]
    if name.lower() in _FREE_TEXT and hints.text:
        return hints.text.strip()[:120]
    if hints.names:
        return hints.names[hints.turn % len(hints.names)]
    return f"example {name.replace('_', ' ')}"


def _fits(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True


def _number(schema: Schema, root: Schema, hints: Hints, name: str, depth: int) -> float:
    low, high = _bounds(schema)
    outright = re.fullmatch(r"-?\d{1,12}(?:\.\d+)?", hints.said.get(name.lower(), ""))
    offered = (float(outright.group()), *hints.numbers) if outright else hints.numbers
    said = next((n for n in offered if low <= n <= high), None)
    value = said if said is not None else min(max(1.0, low), high)
    step = schema.get("multipleOf")
    if step:
        value = -(-value // step) * step
        value = value if value <= high else value - step
    return value


def _integer(schema: Schema, root: Schema, hints: Hints, name: str, depth: int) -> int:
    low, high = _bounds(schema)
    whole = tuple(n for n in hints.numbers if n == int(n) and low <= n <= high)
    value = _number(schema, root, replace(hints, numbers=whole), name, depth)
    return int(-(-value // 1)) if value == low else int(value)


def _bounds(schema: Schema) -> tuple[float, float]:
    tiny = 1 if _type(schema) == "integer" else 0.001
    low = schema.get("minimum", float("-inf"))
    high = schema.get("maximum", float("inf"))
    if isinstance(schema.get("exclusiveMinimum"), int | float):
        low = max(low, schema["exclusiveMinimum"] + tiny)
    if isinstance(schema.get("exclusiveMaximum"), int | float):
        high = min(high, schema["exclusiveMaximum"] - tiny)
    return low, high


def _boolean(schema: Schema, root: Schema, hints: Hints, name: str, depth: int) -> bool:
    return True


_MAKERS: MappingProxyType[str, Callable[[Schema, Schema, Hints, str, int], Any]] = MappingProxyType(
    {
        "object": _object,
        "array": _array,
        "string": _string,
        "number": _number,
        "integer": _integer,
        "boolean": _boolean,
    }
)
