"""Instances of JSON schemas, checked by a small validator written from the specification."""

from __future__ import annotations

import re
from typing import Any

import pytest

from proxy.simulator.instance import Hints, instance_of

NODE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
    },
    "required": ["name", "children"],
}
LINK: dict[str, Any] = {
    "type": "object",
    "properties": {
        "value": {"type": "number"},
        "next": {"anyOf": [{"$ref": "#/$defs/link"}, {"type": "null"}]},
        "last": {"type": ["integer", "null"]},
    },
    "required": ["value", "next", "last"],
}

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object"},
    {"type": "string", "enum": ["celsius", "kelvin"]},
    {"type": "string", "minLength": 30},
    {"type": "string", "maxLength": 3},
    {"type": "string", "pattern": "^[A-Z]{3}$"},
    {"type": "string", "format": "date-time"},
    {"type": ["string", "null"]},
    {"type": "integer", "minimum": 5, "maximum": 9},
    {"type": "integer", "exclusiveMinimum": 5, "multipleOf": 4},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "maximum": -2.5},
    {"type": "boolean"},
    {"type": "null"},
    {"const": 7},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 4},
    {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
    {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 3}]},
    {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ]
    },
    {"allOf": [{"type": "integer", "minimum": 3}, True]},
    {
        "type": "object",
        "properties": {
            "place": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "zip": {"type": "string"}},
                "required": ["city"],
            },
            "unit": {"$ref": "#/$defs/unit"},
        },
        "required": ["place", "unit"],
        "$defs": {"unit": {"type": "string", "enum": ["C", "F"]}},
    },
    {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
    {"$ref": "#/$defs/link", "$defs": {"link": LINK}},
    {"$ref": "#/$defs/link", "$defs": {"link": {**LINK, "type": ["object", "null"]}}},
    {"type": "object", "required": ["free"], "additionalProperties": {"type": "integer"}},
]


def fits(value: Any, schema: Any, root: dict[str, Any]) -> bool:
    if not isinstance(schema, dict):
        return bool(schema)
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "const" in schema:
        return bool(value == schema["const"])
    return all(
        (
            "enum" not in schema or value in schema["enum"],
            "anyOf" not in schema or any(fits(value, s, root) for s in schema["anyOf"]),
            "oneOf" not in schema or sum(fits(value, s, root) for s in schema["oneOf"]) == 1,
            all(fits(value, s, root) for s in schema.get("allOf", [])),
            "type" not in schema or typed(value, schema["type"]),
            not isinstance(value, str) or fits_string(value, schema),
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or fits_number(value, schema),
            not isinstance(value, list) or fits_array(value, schema, root),
            not isinstance(value, dict) or fits_object(value, schema, root),
        )
    )


def typed(value: Any, names: str | list[str]) -> bool:
    types: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
    }
    for name in [names] if isinstance(names, str) else names:
        if name in ("integer", "number"):
            whole = not isinstance(value, bool) and isinstance(value, int)
            if whole or (name == "number" and isinstance(value, float)):
                return True
        elif isinstance(value, types[name]):
            return True
    return False


def fits_string(value: str, schema: dict[str, Any]) -> bool:
    within = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**6)
    return within and re.search(schema.get("pattern", ""), value) is not None


def fits_number(value: float, schema: dict[str, Any]) -> bool:
    infinite = float("inf")
    return (
        schema.get("minimum", -infinite) <= value <= schema.get("maximum", infinite)
        and schema.get("exclusiveMinimum", -infinite) < value
        and value < schema.get("exclusiveMaximum", infinite)
        and value % schema.get("multipleOf", value or 1) == 0
    )


def fits_array(value: list[Any], schema: dict[str, Any], root: dict[str, Any]) -> bool:
    within = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**6)
    unique = not schema.get("uniqueItems") or len(set(map(str, value))) == len(value)
    items = all(fits(item, schema.get("items", True), root) for item in value)
    prefix = all(
        fits(item, inner, root)
        for item, inner in zip(value, schema.get("prefixItems", []), strict=False)
    )
    return within and unique and items and prefix


def fits_object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any]) -> bool:
    properties = schema.get("properties", {})
    return set(schema.get("required", [])) <= set(value) and all(
        fits(inner, properties.get(name, True), root) for name, inner in value.items()
    )


@pytest.mark.parametrize("schema", SCHEMAS, ids=[str(s)[:60] for s in SCHEMAS])
@pytest.mark.parametrize("text", ["", "Weather in Oslo for 7 days in kelvin", "a" * 500])
def test_instances_fit(schema: dict[str, Any], text: str) -> None:
    value = instance_of(schema, Hints.of(text))
    assert fits(value, schema, schema), value


def test_the_prompt_fills_the_arguments() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "note": {"type": "string"},
        },
        "required": ["city"],
    }
    text = "Show the weather of New York for 5 days, unit fahrenheit"
    filled = instance_of(schema, Hints.of(text))
    assert filled == {"city": "New York", "days": 5, "unit": "fahrenheit"}


def test_a_schema_without_a_finite_instance_comes_to_an_end() -> None:
    schema = {"properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert instance_of(schema, Hints())["next"]["next"]["next"]


def test_turns_take_turns() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    text = "the weather of Oslo and Lima"
    assert [instance_of(schema, Hints.of(text, turn))["city"] for turn in range(2)] == [
        "Oslo",
        "Lima",
    ]
