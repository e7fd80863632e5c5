"""Schemas of tools and answers: repaired, closed, and never changed twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import orjson
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalog.families import FAMILIES, foundation_of, traits_for
from proxy.catalog.model import Traits
from proxy.errors import ProxyError
from proxy.openai.chat.closed_schemas import closed_schema
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.tool_schemas import shape_of, tool_schema

CAPTURES = Path(__file__).resolve().parents[4] / "shared" / "captures"
CLAUDE = traits_for("anthropic.claude-sonnet-4-5-20250929-v1:0")
NOVA = traits_for("amazon.nova-lite-v1:0")
KIMI = traits_for("moonshotai.kimi-k3")
GPT = traits_for("openai.gpt-6-sol")

EMPTY = {"type": "object", "properties": {}}


def cleaned(parameters: Any, traits: Traits = CLAUDE) -> tuple[dict[str, Any], list[str]]:
    notes = Notes()
    schema = tool_schema(parameters, traits, "tools[0].function.parameters", notes)
    return schema, list(notes.tokens())


@pytest.mark.parametrize("absent", [None, {}, True, {"type": "object"}, {"type": None}])
def test_a_tool_without_arguments(absent: Any) -> None:
    assert cleaned(absent) == (EMPTY, [])


# (given, made of it, noted)
REPAIRS: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    (
        "a missing type",
        {"properties": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"type": "string"}}},
        [],
    ),
    (
        "a nullable object on top",
        {"type": ["object", "null"], "properties": {}},
        EMPTY,
        [],
    ),
    (
        "booleans and nulls as schemas",
        {"type": "object", "properties": {"a": True, "b": False, "c": None}},
        {"type": "object", "properties": {"a": {}, "b": {"not": {}}, "c": {}}},
        [],
    ),
    (
        "null for what is not set, data apart",
        {
            "type": "object",
            "properties": {
                "a": {"type": "string", "description": None, "enum": None, "default": None}
            },
            "required": None,
        },
        {"type": "object", "properties": {"a": {"type": "string", "default": None}}},
        [],
    ),
    (
        "draft-3 required and draft-4 bounds",
        {
            "type": "object",
            "properties": {
                "a": {"type": "number", "minimum": 1, "exclusiveMinimum": True, "required": True},
                "b": {"type": "number", "maximum": 9, "exclusiveMaximum": False},
            },
        },
        {
            "type": "object",
            "properties": {
                "a": {"type": "number", "exclusiveMinimum": 1},
                "b": {"type": "number", "maximum": 9},
            },
            "required": ["a"],
        },
        [],
    ),
    (
        "a draft-7 tuple",
        {"type": "object", "properties": {"a": {"type": "array", "items": [{}, True]}}},
        {"type": "object", "properties": {"a": {"type": "array", "prefixItems": [{}, {}]}}},
        [],
    ),
    (
        "a type that JSON does not have, a reference that is none",
        {"type": "object", "$ref": 1, "properties": {"a": {"type": "str"}, "b": {"type": ["any"]}}},
        {"type": "object", "properties": {"a": {}, "b": {}}},
        ["tools.parameters:dropped"],
    ),
    (
        "alternatives on top",
        {
            "anyOf": [
                {"properties": {"a": {"type": "string"}, "c": {}}, "required": ["a", "c"]},
                {"properties": {"b": {"type": "string"}, "c": {}}, "required": ["c", "b"]},
                {"type": "string"},
            ],
        },
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "c": {}, "b": {"type": "string"}},
            "required": ["c"],
        },
        ["tools.parameters:merged"],
    ),
    (
        "all of several on top",
        {
            "type": "object",
            "properties": {"z": {}},
            "required": ["z"],
            "allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"required": ["z"]}],
        },
        {"type": "object", "properties": {"z": {}, "a": {}}, "required": ["z", "a"]},
        ["tools.parameters:merged"],
    ),
    (
        "a reference on top",
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"n": {}}}}},
        {
            "type": "object",
            "properties": {"n": {}},
            "$defs": {"A": {"type": "object", "properties": {"n": {}}}},
        },
        [],
    ),
    (
        "references inside what is merged",
        {
            "allOf": [{"$ref": "#/$defs/A"}, {"anyOf": [{"properties": {"m": {}}}]}],
            "$defs": {"A": {"properties": {"n": {"$ref": "#/$defs/B"}}}, "B": {"type": "null"}},
        },
        {
            "$defs": {"A": {"properties": {"n": {"$ref": "#/$defs/B"}}}, "B": {"type": "null"}},
            "type": "object",
            "properties": {"n": {"$ref": "#/$defs/B"}, "m": {}},
        },
        ["tools.parameters:merged"],
    ),
    (
        "types in capitals",
        {"type": "OBJECT", "properties": {"a": {"type": "STRING"}, "b": {"type": ["Null", "TEN"]}}},
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}},
        ["tools.parameters:dropped"],
    ),
    (
        "required in a way that says nothing",
        {"type": "object", "properties": {"a": {"required": "yes"}}, "required": "a"},
        {"type": "object", "properties": {"a": {}}},
        ["tools.parameters:dropped"],
    ),
    (
        "property names that Claude refuses",
        {
            "type": "object",
            "properties": {
                "$filter": {"type": "string"},
                "ok": {"type": "object", "properties": {"a b": {}, "c": {}}},
            },
        },
        {
            "type": "object",
            "properties": {"ok": {"type": "object", "properties": {"c": {}}}},
        },
        ["tools.parameters:dropped"],
    ),
]


@pytest.mark.parametrize(
    ("about", "given_", "made", "noted"), REPAIRS, ids=lambda value: str(value)[:30]
)
def test_repairs(about: str, given_: Any, made: Any, noted: list[str]) -> None:
    before = orjson.dumps(given_)
    schema, tokens = cleaned(given_)
    assert (schema, tokens) == (made, noted)
    assert orjson.dumps(given_) == before, "the request itself must not change"
    assert cleaned(schema)[0] == schema


def test_order_of_keys_is_kept() -> None:
    parameters = {
        "properties": {"b": {"type": "string"}, "a": {"description": "x", "type": "string"}},
        "type": "object",
        "required": ["b"],
    }
    assert list(cleaned(parameters)[0]["properties"]) == ["b", "a"]
    assert list(cleaned(parameters)[0]["properties"]["a"]) == ["description", "type"]


DEFS = {
    "type": "object",
    "title": "Order",
    "properties": {
        "item": {"$ref": "#/$defs/Item", "description": "what"},
        "more": {"type": "array", "items": {"$ref": "#/definitions/Leaf"}},
    },
    "$defs": {"Item": {"type": "object", "properties": {"leaf": {"$ref": "#/definitions/Leaf"}}}},
    "definitions": {"Leaf": {"type": "string", "title": "Leaf"}},
    "additionalProperties": False,
}


def test_references_stay_where_they_are_followed() -> None:
    assert cleaned(DEFS) == (DEFS, [])


def test_references_are_inlined_elsewhere() -> None:
    schema, tokens = cleaned(DEFS, NOVA)
    leaf = {"type": "string", "title": "Leaf"}
    assert schema == {
        "type": "object",
        "title": "Order",
        "properties": {
            "item": {"type": "object", "properties": {"leaf": leaf}, "description": "what"},
            "more": {"type": "array", "items": leaf},
        },
        "additionalProperties": False,
    }
    assert tokens == []


@pytest.mark.parametrize("reference", ["#", "#/$defs/Node", "#/$defs/None", "http://x/y", "##"])
def test_what_cannot_be_inlined_is_left_open(reference: str) -> None:
    parameters = {
        "type": "object",
        "properties": {"next": {"$ref": reference}},
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }
    schema, tokens = cleaned(parameters, NOVA)
    assert "$ref" not in orjson.dumps(schema).decode()
    assert tokens == ["tools.parameters:emulated"]


def test_a_type_that_holds_itself_is_shown_twice() -> None:
    """As openai-python's ``parse`` writes a recursive model: the reference stands on top, too."""
    members: dict[str, Any] = {
        "type": "object",
        "properties": {
            "value": {"type": "integer"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
        },
        "required": ["value", "children"],
    }
    schema, tokens = cleaned({"$defs": {"Node": members}, "$ref": "#/$defs/Node", **members}, NOVA)
    once = schema["properties"]["children"]["items"]
    assert once["required"] == ["value", "children"]
    assert once["properties"]["children"] == {"type": "array", "items": {"type": "object"}}
    assert tokens == ["tools.parameters:emulated"]


def test_types_that_hold_each_other_stay_small() -> None:
    names = "abcdef"
    every = {name: {"$ref": f"#/$defs/{name}"} for name in names}
    defs = {name: {"type": "object", "properties": every} for name in names}
    schema, _ = cleaned({"type": "object", "properties": every, "$defs": defs}, NOVA)
    assert len(orjson.dumps(schema)) < 250_000


def test_inlining_does_not_explode() -> None:
    """Each level names the next one twice: 2^40 nodes if it were followed."""
    defs = {
        f"L{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/L{n + 1}"} for k in "ab"}}
        for n in range(40)
    }
    schema, tokens = cleaned(
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/L0"}}, "$defs": defs}, NOVA
    )
    assert tokens == ["tools.parameters:emulated"]
    assert len(orjson.dumps(schema)) < 3_000_000


def recorded_schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """(model id, ``inputSchema.json``) of tools that Bedrock was recorded taking."""
    for path in sorted(CAPTURES.glob("*/*.json")):
        exchange = orjson.loads(path.read_bytes())
        body = exchange["request"]["body"]
        taken = exchange["recorded"] == "real" and exchange["response"]["status"] == 200
        if taken and exchange["operation"].startswith("Converse") and isinstance(body, dict):
            for tool in body.get("toolConfig", {}).get("tools", ()):
                if "toolSpec" in tool:
                    yield exchange["model"], tool["toolSpec"]["inputSchema"]["json"]


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no recordings beside the project")
def test_what_bedrock_took_is_sent_as_it_was() -> None:
    seen = 0
    for model_id, schema in recorded_schemas():
        made, tokens = cleaned(schema, traits_for(foundation_of(model_id)))
        lost = {"strict"} if "nova" in model_id else set()  # recorded as overlooked there
        kept = {key: value for key, value in schema.items() if key not in lost}
        assert (made, tokens) == (kept, []), model_id
        seen += 1
    assert seen > 80


def test_a_strict_top_keeps_what_it_may() -> None:
    parameters = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "T",
        "description": "d",
        "strict": True,
        "type": "object",
        "properties": {"a": {"type": "string", "title": "A"}},
        "required": ["a"],
        "additionalProperties": False,
        "patternProperties": {"^x": {}},
    }
    schema, tokens = cleaned(parameters, NOVA)
    assert list(schema) == ["type", "title", "properties", "required", "additionalProperties"]
    assert schema["properties"] == parameters["properties"]
    assert tokens == ["tools.parameters:dropped"]
    del parameters["patternProperties"]
    assert cleaned(parameters, NOVA)[1] == []


@pytest.mark.parametrize("pattern", ["^(?=x)", "(?!a)b", "(?<=a)b", "(?<!a)b"])
def test_look_around_goes_where_it_is_refused(pattern: str) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    schema, tokens = cleaned(parameters, KIMI)
    assert schema["properties"]["a"] == {"type": "string"}
    assert tokens == ["tools.parameters:dropped"]
    assert cleaned(parameters)[0]["properties"]["a"]["pattern"] == pattern


def test_plain_patterns_stay() -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(?:a|b)$"}}}
    assert cleaned(parameters, KIMI) == (parameters, [])


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ("string", "p"),
        (False, "p"),
        ([], "p"),
        ({"type": "string"}, "p.type"),
        ({"type": ["array", "null"]}, "p.type"),
        ({"properties": []}, "p"),
        ({"properties": {"a": 1}}, "p"),
        ({"anyOf": ["x"]}, "p"),
        ({"properties": {"a b": {}}, "required": ["a b"]}, "p.properties"),
    ],
)
def test_what_is_no_object_schema_is_refused(parameters: Any, param: str) -> None:
    with pytest.raises(ProxyError) as caught:
        tool_schema(parameters, CLAUDE, "p", Notes())
    assert (caught.value.status, caught.value.param) == (400, param)


def test_depth_is_bounded() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(400):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(ProxyError) as caught:
        tool_schema(schema, CLAUDE, "p", Notes())
    assert caught.value.status == 400
    assert closed_schema(schema) is None


def test_strict_mode_refuses_a_repair() -> None:
    with pytest.raises(ProxyError) as caught:
        tool_schema({"anyOf": [{"properties": {}}]}, CLAUDE, "p", Notes(strict=True))
    assert caught.value.param == "p"


# Closed schemas


def test_objects_are_closed_at_every_level() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"properties": {"x": {"type": "string"}}}},
            "b": {"anyOf": [{"type": "object", "properties": {}}, {"type": "null"}]},
            "c": {"$ref": "#/$defs/C"},
        },
        "$defs": {"C": {"type": "object", "properties": {"y": {"type": "integer"}}}},
    }
    closed = closed_schema(schema)
    assert closed is not None
    made, spoken = closed
    assert not spoken
    assert made["additionalProperties"] is False
    item = made["properties"]["a"]["items"]
    assert item == {
        "properties": {"x": {"type": "string"}},
        "type": "object",
        "additionalProperties": False,
    }
    assert made["properties"]["b"]["anyOf"][0]["additionalProperties"] is False
    assert made["$defs"]["C"]["additionalProperties"] is False
    assert closed_schema(made) == (made, False)


def test_bounds_become_words() -> None:
    closed = closed_schema(
        {
            "type": "object",
            "properties": {
                "n": {"type": "integer", "minimum": 1, "maximum": 5, "description": "Stars"},
                "s": {"type": "string", "format": "color", "pattern": r"^(?=a)\w+$"},
                "l": {"type": "array", "items": {"type": "string"}, "minItems": 2},
                "d": {"type": "string", "format": "date", "pattern": "^[0-9]+$"},
                "o": {"oneOf": [{"type": "string"}, {"type": "null"}]},
            },
        }
    )
    assert closed is not None
    made, spoken = closed
    assert spoken
    properties = made["properties"]
    assert properties["n"] == {"type": "integer", "description": "Stars (minimum: 1, maximum: 5)"}
    assert properties["s"]["description"] == r'(format: "color", pattern: "^(?=a)\\w+$")'
    assert properties["l"] == {
        "type": "array",
        "items": {"type": "string"},
        "description": "(minItems: 2)",
    }
    assert properties["d"] == {"type": "string", "format": "date", "pattern": "^[0-9]+$"}
    assert properties["o"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert closed_schema(made) == (made, False)


def test_words_beside_a_reference_in_the_old_way() -> None:
    closed = closed_schema(
        {
            "properties": {"a": {"allOf": [{"$ref": "#/definitions/A"}], "description": "d"}},
            "definitions": {"A": {"enum": ["x", "y"]}},
        }
    )
    assert closed is not None
    assert closed[0]["properties"]["a"] == {"$ref": "#/definitions/A", "description": "d"}


@pytest.mark.parametrize(
    "open_",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        {"type": "array"},
        {"type": "array", "items": True},
        {"type": "array", "prefixItems": [{"type": "string"}]},
        {},
        {"description": "anything"},
        {"enum": [{"a": 1}]},
        {"enum": 3},
        {"$ref": "#"},
        {"$ref": "#/$defs/Missing"},
        {"$ref": "https://example.com/schema"},
        {"$ref": 7},
        {"$ref": "#/$defs/Loop"},
        {"$ref": "#/$defs/Far"},
        {"allOf": [{"type": "object"}, {"type": "object"}]},
        {"allOf": []},
        {"patternProperties": {"^a": {"type": "string"}}},
        {"anyOf": {}},
        {"anyOf": [True]},
        {"properties": []},
        True,
        None,
        [],
    ],
)
def test_what_has_no_closed_form(open_: Any) -> None:
    defs = {
        "Loop": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Loop"}}},
        "Far": {"anyOf": [{"$ref": "#/$defs/Near"}]},
        "Near": {"anyOf": [{"$ref": "#/$defs/Far"}]},
    }
    loops = any(f"/{name}'" in str(open_) for name in defs)
    schema = {
        "type": "object",
        "properties": {"a": open_, "b": {"type": "null"}},
        "$defs": defs if loops else {},
    }
    closable = {**schema, "properties": {"b": {"type": "null"}}, "$defs": {}}
    assert closed_schema(closable) is not None
    assert closed_schema(schema) is None
    assert isinstance(open_, dict) or closed_schema(open_) is None


def test_many_roads_to_one_definition_are_no_loop() -> None:
    defs: dict[str, Any] = {
        f"L{n}": {"anyOf": [{"$ref": f"#/$defs/L{n + 1}"}, {"$ref": f"#/$defs/L{n + 1}"}]}
        for n in range(40)
    }
    defs["L40"] = {"type": "null"}
    assert closed_schema({"$ref": "#/$defs/L0", "$defs": defs}) is not None


# Shapes seen in a history


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ([], {}),
        ([{}], EMPTY),
        (
            [{"a": 1, "b": "x"}, {"c": True, "a": 2.5}],
            {
                "type": "object",
                "properties": {
                    "a": {"type": "number"},
                    "b": {"type": "string"},
                    "c": {"type": "boolean"},
                },
            },
        ),
        (
            [{"l": [1, 2]}, {"l": []}],
            {
                "type": "object",
                "properties": {"l": {"type": "array", "items": {"type": "integer"}}},
            },
        ),
        ([{"l": []}], {"type": "object", "properties": {"l": {"type": "array"}}}),
        (
            [{"a": None}, {"a": "x"}],
            {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
        ),
        ([{"a": None}], {"type": "object", "properties": {"a": {"type": "null"}}}),
        ([{"a": 1}, {"a": "x"}], {"type": "object", "properties": {"a": {}}}),
        ([{"a": {"b": 1}}, {"a": None}], {"type": "object", "properties": {"a": {}}}),
        ([{"a": [1]}, {"a": {}}], {"type": "object", "properties": {"a": {}}}),
        ([{"a": True}, {"a": 1}], {"type": "object", "properties": {"a": {}}}),
    ],
)
def test_shapes(values: list[Any], shape: dict[str, Any]) -> None:
    assert shape_of(values) == shape


# Any schema at all

KEYS = st.sampled_from(["a", "b", "a b", "$ref", "type", "天", ""])
data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(-9, 9)
    | st.sampled_from(["x", "", "#"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
TYPES = ["object", "array", "string", "number", "integer", "boolean", "null", "str", 3, None, []]


def _node(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from([*TYPES, ["string", "null"], ["object", "null"]]),
            "description": st.sampled_from(["d", "", None]),
            "properties": st.dictionaries(KEYS, inner, max_size=3),
            "required": st.lists(KEYS, max_size=3) | st.booleans(),
            "items": inner | st.lists(inner, max_size=2),
            "additionalProperties": inner | st.booleans(),
            "anyOf": st.lists(inner, max_size=3),
            "oneOf": st.lists(inner, max_size=2),
            "allOf": st.lists(inner, max_size=2),
            "not": inner,
            "enum": st.lists(data, max_size=3),
            "const": data,
            "default": data,
            "minimum": st.integers(0, 3),
            "exclusiveMinimum": st.booleans() | st.integers(0, 3),
            "pattern": st.sampled_from(["^a$", "(?=a)", "(a)\\1", 3]),
            "minItems": st.integers(0, 3),
            "format": st.sampled_from(["date", "color"]),
            "$ref": st.sampled_from(
                ["#", "#/$defs/A", "#/$defs/B", "#/properties/a", "http://x", 1]
            ),
            "$defs": st.dictionaries(st.sampled_from(["A", "B"]), inner, max_size=2),
            "title": data,
        },
    )


schemas = st.recursive(_node(st.booleans()) | st.booleans(), _node, max_leaves=8).filter(
    lambda value: isinstance(value, dict)
)


@pytest.fixture(scope="module")
def tool_shape() -> Any:
    service = botocore.session.Session().get_service_model("bedrock-runtime")
    return service.shape_for("ToolSpecification")


@given(schemas, st.sampled_from([CLAUDE, NOVA, KIMI, GPT, Traits()]))
def test_any_schema_is_made_legal_once(tool_shape: Any, schema: Any, traits: Traits) -> None:
    fault = None
    try:
        made, _ = cleaned(schema, traits)
    except ProxyError as error:
        fault = error
    if fault is not None:
        assert fault.status == 400
        assert (fault.param or "").startswith("tools[0].function.parameters")
        return
    assert made["type"] == "object"
    assert isinstance(made["properties"], dict)
    assert not {"anyOf", "allOf", "oneOf", "$ref"} & made.keys()
    if not traits.schema_refs:
        assert not has_reference(made)
    assert cleaned(made, traits)[0] == made
    spec = {"name": "t", "inputSchema": {"json": orjson.loads(orjson.dumps(made))}}
    report = ParamValidator().validate(spec, tool_shape)
    assert not report.has_errors(), report.generate_report()


def has_reference(node: Any) -> bool:
    """A reference as a keyword; a property or a datum may have that name."""
    if not isinstance(node, dict):
        return False
    if isinstance(node.get("$ref"), str):
        return True
    children = [node.get(key) for key in ("items", "additionalProperties", "not")]
    children += node.get("properties", {}).values()
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        children += node.get(key, [])
    return any(has_reference(child) for child in children)


@given(schemas)
def test_a_closed_schema_is_closed_and_stays_it(schema: Any) -> None:
    closed = closed_schema(schema)
    if closed is None:
        return
    made, _ = closed
    assert closed_schema(made) == (made, False)
    assert_closed(made)


def assert_closed(node: Any) -> None:
    assert isinstance(node, dict)
    kinds = node.get("type")
    if kinds == "object" or (isinstance(kinds, list) and "object" in kinds):
        assert node["additionalProperties"] is False
    assert not {"minimum", "oneOf", "allOf", "not", "patternProperties"} & node.keys()
    for key in ("properties", "$defs"):
        for child in node.get(key, {}).values():
            assert_closed(child)
    for child in node.get("anyOf", []):
        assert_closed(child)
    if "items" in node:
        assert_closed(node["items"])


@pytest.mark.parametrize("prefix", [prefix for prefix, row in FAMILIES if row.tools])
def test_a_plain_schema_means_the_same_to_every_family(prefix: str) -> None:
    plain = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "A city"}},
        "required": ["city"],
    }
    assert cleaned(plain, dict(FAMILIES)[prefix]) == (plain, [])
