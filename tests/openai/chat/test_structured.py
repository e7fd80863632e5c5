"""``response_format``: native where it is safe, by an answer tool, or in words."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Traits
from proxy.errors import ProxyError
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.request import ChatRequest, ResponseFormat, ToolChoice, ToolSpec
from proxy.openai.chat.structured import FormatTranslation, apply_format
from proxy.openai.chat.tools import HistoryCall, translate_tools

SONNET_45 = traits_for("anthropic.claude-sonnet-4-5-20250929-v1:0")
SONNET_4 = traits_for("anthropic.claude-sonnet-4-20250514-v1:0")
OPUS_55 = traits_for("anthropic.claude-opus-5-5")
NOVA = traits_for("amazon.nova-lite-v1:0")
MISTRAL = traits_for("mistral.mistral-large-2407-v1:0")
LLAMA = traits_for("meta.llama3-3-70b-instruct-v1:0")

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
FREE = {"type": "object", "properties": {"a": {"type": "object"}}}
TOOL = ToolSpec("function", "a", "tools[0]", source={"type": "function", "function": {"name": "a"}})


def ask(schema: Any = SCHEMA, *tools: ToolSpec, **members: Any) -> ChatRequest:
    wish = ResponseFormat("json_schema", name="city", description="A city.", schema=schema)
    return ChatRequest(
        **{"model": "m", "messages": (), "tools": tools, "response_format": wish, **members}
    )


def applied(
    request: ChatRequest, traits: Traits, history: tuple[HistoryCall, ...] = ()
) -> tuple[FormatTranslation, tuple[str, ...]]:
    notes = Notes()
    tools = translate_tools(request, history, traits, notes)
    return apply_format(request, traits, tools, notes), notes.tokens()


def names(form: FormatTranslation) -> list[str]:
    return [tool["toolSpec"]["name"] for tool in (form.tools.config or {"tools": []})["tools"]]


def test_text_changes_nothing() -> None:
    form, noted = applied(ask(response_format=ResponseFormat("text")), SONNET_45)
    assert form == FormatTranslation(form.tools)
    assert noted == ()


@pytest.mark.parametrize("traits", [SONNET_45, NOVA, LLAMA])
def test_a_json_object_is_asked_for_in_words(traits: Traits) -> None:
    form, noted = applied(ask(response_format=ResponseFormat("json_object")), traits)
    assert form.json_mode == "prompt"
    assert "one JSON object" in (form.system_hint or "")
    assert noted == ("response_format:emulated",)


def test_native() -> None:
    form, noted = applied(ask(SCHEMA, TOOL), SONNET_45)
    assert form.json_mode == "native"
    assert form.output_config is not None
    text_format = form.output_config["textFormat"]
    assert text_format["type"] == "json_schema"
    definition = text_format["structure"]["jsonSchema"]
    assert (definition["name"], definition["description"]) == ("city", "A city.")
    assert orjson.loads(definition["schema"]) == {**SCHEMA, "additionalProperties": False}
    assert names(form) == ["a"]
    assert not form.tools.forced
    assert noted == ()


def test_native_tells_bounds_in_words() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}}
    assert applied(ask(schema), SONNET_45)[1] == ("response_format.schema:moved",)
    with pytest.raises(ProxyError) as caught:
        apply_format(
            ask(schema),
            SONNET_45,
            translate_tools(ask(schema), (), SONNET_45, Notes()),
            Notes(strict=True),
        )
    assert caught.value.param == "response_format.json_schema.schema"


def test_a_format_of_the_callers_own_wins() -> None:
    own = ask(native={"outputConfig": {"textFormat": {"type": "json_schema"}}})
    form, _ = applied(own, NOVA)
    assert (form.json_mode, form.output_config, form.json_tool) == ("native", None, None)


@pytest.mark.parametrize(
    ("traits", "schema", "choice"),
    [
        (SONNET_4, SCHEMA, {"tool": {"name": "city"}}),
        (SONNET_45, FREE, {"tool": {"name": "city"}}),  # no closed form
        (NOVA, SCHEMA, {"tool": {"name": "city"}}),
        (MISTRAL, SCHEMA, {"any": {}}),
    ],
)
def test_an_answer_tool(traits: Traits, schema: Any, choice: Any) -> None:
    form, noted = applied(ask(schema), traits)
    assert (form.json_mode, form.json_tool, form.output_config) == ("tool", "city", None)
    assert form.tools.config == {
        "tools": [
            {
                "toolSpec": {
                    "name": "city",
                    "description": "A city. Give the final answer by calling this tool.",
                    "inputSchema": {"json": schema},
                }
            }
        ],
        "toolChoice": choice,
    }
    assert form.tools.forced
    assert noted == ("response_format:emulated",)


def test_an_answer_tool_beside_the_callers_own() -> None:
    form, _ = applied(ask(SCHEMA, TOOL, parallel_tool_calls=False), SONNET_4)
    assert names(form) == ["a", "city"]
    assert form.tools.config is not None
    assert form.tools.config["toolChoice"] == {"any": {}}


def test_the_answer_tool_takes_no_name_of_theirs() -> None:
    tool = replace(TOOL, name="city")
    form, _ = applied(ask(SCHEMA, tool), SONNET_4)
    assert form.json_tool != "city"
    assert names(form) == ["city", form.json_tool]
    assert form.json_tool not in form.tools.names.to_client


@pytest.mark.parametrize(
    ("traits", "left"), [(SONNET_4, ["a", "city"]), (NOVA, ["a", "city"]), (MISTRAL, ["city"])]
)
def test_no_more_calls_and_a_schema(traits: Traits, left: list[str]) -> None:
    """The one call that is wanted is the answer; the history's tools stay if it can be named."""
    request = ask(SCHEMA, TOOL, tool_choice=ToolChoice("none"))
    form, _ = applied(request, traits, (HistoryCall("a", {}),))
    assert names(form) == left
    assert form.tools.offered == {"city"}
    assert form.tools.system_hint is None


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("named", ("a",))])
def test_a_demanded_call_comes_before_the_answer(choice: ToolChoice) -> None:
    form, noted = applied(ask(SCHEMA, TOOL, tool_choice=choice), SONNET_4)
    assert names(form) == ["a"]
    assert form.json_mode == "prompt"
    assert noted == ("response_format:emulated",)


@pytest.mark.parametrize(
    ("traits", "schema", "tools"),
    [
        (LLAMA, SCHEMA, ()),
        (OPUS_55, SCHEMA, ()),
        (SONNET_4, {"type": "array", "items": {"type": "string"}}, ()),
        (traits_for("deepseek.r1-v1:0"), SCHEMA, ()),
    ],
)
def test_words_are_the_last_way(traits: Traits, schema: Any, tools: Any) -> None:
    form, noted = applied(ask(schema, *tools), traits)
    assert form.json_mode == "prompt"
    assert (form.system_hint or "").endswith(orjson.dumps(schema).decode())
    assert form.json_tool is None
    assert noted == ("response_format:emulated",)
    with pytest.raises(ProxyError) as caught:
        apply_format(
            ask(schema),
            traits,
            translate_tools(ask(schema), (), traits, Notes()),
            Notes(strict=True),
        )
    assert caught.value.param == "response_format"


def test_a_schema_must_be_there() -> None:
    with pytest.raises(ProxyError) as caught:
        applied(ask(None), SONNET_45)
    assert caught.value.param == "response_format.json_schema.schema"
