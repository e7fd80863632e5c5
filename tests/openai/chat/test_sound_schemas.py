"""What passes for sound is what the repair would leave alone, byte for byte, in every family."""

from typing import Any

import orjson
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from proxy.catalog.families import FAMILIES
from proxy.catalog.model import Traits
from proxy.errors import ProxyError
from proxy.openai.chat import tool_schemas
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.sound_schemas import is_sound

EVERY_FAMILY = [traits for _, traits in FAMILIES] + [Traits()]
NAMES = st.sampled_from(["a", "b-c", "d.e", "x" * 64, "a b", "天", ""])
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["object", "string", "integer", ["string", "null"]]),
    "description": st.just("d"),
    "required": st.lists(NAMES, max_size=2),
    "enum": st.lists(st.none() | st.integers(-9, 9), max_size=2),
    "default": st.none() | st.booleans(),
    "minimum": st.integers(-9, 9),
    "exclusiveMaximum": st.integers(-9, 9),
    "pattern": st.just("^a+$"),
    "additionalProperties": st.booleans(),
}
BAD: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["str", 3, [], None]),
    "required": st.sampled_from([True, ["a", 1], "a"]),
    "exclusiveMinimum": st.booleans(),
    "exclusiveMaximum": st.none(),
    "pattern": st.sampled_from(["(?=a)", 3]),
    "$ref": st.sampled_from(["#", 1]),
    "$defs": st.just({}),
    "patternProperties": st.just({"^a b$": {}}),
    "dependentSchemas": st.just({"a": {}}),
    "properties": st.sampled_from([[], None, {"a": {"required": True}}]),
    "items": st.sampled_from([True, None, []]),
    "anyOf": st.sampled_from([{}, None, [False]]),
    "title": st.none(),
}


def nodes(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    nested = {
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "items": inner,
        "anyOf": st.lists(inner, max_size=2),
        "not": inner,
        "prefixItems": st.lists(inner, max_size=2),
    }
    good = st.fixed_dictionaries({}, optional={**GOOD, **nested})
    one_fault = st.one_of([st.fixed_dictionaries({key: value}) for key, value in BAD.items()])
    return st.one_of(good, good, good, st.builds(lambda a, b: a | b, good, one_fault))


schemas = st.recursive(nodes(st.just({})), nodes, max_leaves=6)


def repaired(schema: Any, traits: Traits) -> tuple[bytes, tuple[str, ...]] | int:
    """Bytes (with the order of keys) and notes, or the status of the refusal."""
    notes = Notes()
    try:
        made = tool_schemas.tool_schema(schema, traits, "tools[0].function.parameters", notes)
    except ProxyError as error:
        return error.status
    return orjson.dumps(made), notes.tokens()


@settings(max_examples=400)
@given(schemas, st.sampled_from(EVERY_FAMILY))
def test_sound_is_what_the_repair_would_not_change(schema: Any, traits: Traits) -> None:
    event("sound" if is_sound(schema) else "unsound")
    before = orjson.dumps(schema)
    quick = repaired(schema, traits)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tool_schemas, "is_sound", lambda _: False)
        assert quick == repaired(schema, traits)
    assert orjson.dumps(schema) == before, "the request's own schema was changed"


@pytest.mark.parametrize("fault", [{key: value} for key, v in BAD.items() for value in [v]])
def test_each_fault_is_seen(fault: dict[str, st.SearchStrategy[Any]]) -> None:
    @given(st.fixed_dictionaries(fault))
    def unsound(schema: Any) -> None:
        assert not is_sound(schema)
        assert not is_sound({"type": "object", "properties": {"a": schema}})

    unsound()


def test_a_usual_tool_is_sound() -> None:
    parameters = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "title": "Search",
        "properties": {
            "q": {"type": "string", "description": "what to look for", "minLength": 1},
            "where": {"type": "object", "properties": {"a": {"type": ["number", "null"]}}},
            "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
            "any": {"anyOf": [{"type": "string"}, {"type": "integer", "exclusiveMinimum": 0}]},
        },
        "required": ["q"],
        "additionalProperties": False,
    }
    assert is_sound(parameters)
    assert not is_sound({**parameters, "anyOf": [{"required": ["tags"]}]})


def test_depth_is_left_to_the_repair() -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(40):
        schema = {"type": "object", "properties": {"a": schema}}
    assert not is_sound(schema)
