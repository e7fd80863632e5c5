"""Tools of a request by family: what is offered, withheld, forced, or told in words."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Traits
from proxy.errors import ProxyError
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.request import ChatRequest, ToolChoice, ToolSpec
from proxy.openai.chat.tools import (
    ANSWER_IN_TEXT,
    HistoryCall,
    ToolTranslation,
    translate_tools,
    with_answer_tool,
    without_choice,
)

CLAUDE = traits_for("anthropic.claude-sonnet-4-5-20250929-v1:0")
SONNET_55 = traits_for("anthropic.claude-sonnet-5-5")
NOVA = traits_for("amazon.nova-lite-v1:0")
NOVA_2 = traits_for("amazon.nova-2-lite-v1:0")
LLAMA = traits_for("meta.llama3-3-70b-instruct-v1:0")
MISTRAL = traits_for("mistral.mistral-large-2407-v1:0")
QWEN = traits_for("qwen.qwen3-32b-v1:0")
R1 = traits_for("deepseek.r1-v1:0")

EMPTY = {"type": "object", "properties": {}}


def function(name: str, index: int = 0, **members: Any) -> ToolSpec:
    source = {"type": "function", "function": {"name": name, **members}}
    return ToolSpec(
        "function",
        name,
        f"tools[{index}]",
        members.get("description", ""),
        members.get("parameters"),
        members.get("strict", False),
        source,
    )


def builtin(kind: str, **members: Any) -> ToolSpec:
    return ToolSpec("builtin", kind, "tools[0]", source={"type": kind, **members})


def ask(*tools: ToolSpec, **members: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=(), tools=tools, **members)


def translated(
    request: ChatRequest, traits: Traits = CLAUDE, history: tuple[HistoryCall, ...] = ()
) -> tuple[ToolTranslation, tuple[str, ...]]:
    notes = Notes()
    return translate_tools(request, history, traits, notes), notes.tokens()


def refused(request: ChatRequest, traits: Traits = CLAUDE) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        translate_tools(request, (), traits, Notes())
    assert caught.value.status == 400
    return caught.value


def tool_names(tools: ToolTranslation) -> list[str]:
    assert tools.config is not None
    return [tool["toolSpec"]["name"] for tool in tools.config["tools"] if "toolSpec" in tool]


A, B = function("a"), function("b", 1)
CALLED_A = (HistoryCall("a", {"x": 1}),)
CALLED_OLD = (HistoryCall("old", {"q": "x"}), HistoryCall("old", {"n": 2}))


def test_no_tools_no_config() -> None:
    tools, noted = translated(ask())
    assert (tools.config, tools.offered, tools.forced, noted) == (None, None, False, ())


def test_a_function() -> None:
    parameters = {"type": "object", "properties": {"x": {"type": "string"}}}
    tools, noted = translated(ask(function("a", description="Does a.", parameters=parameters)))
    assert tools.config == {
        "tools": [
            {
                "toolSpec": {
                    "name": "a",
                    "description": "Does a.",
                    "inputSchema": {"json": parameters},
                }
            }
        ]
    }
    assert (tools.offered, tools.fields, noted) == (None, {}, ())


@pytest.mark.parametrize("description", ["", "  "])
def test_a_blank_description_is_left_out_or_named(description: str) -> None:
    bare = ask(function("a", description=description))
    spec = translated(bare)[0].config["tools"][0]["toolSpec"]  # type: ignore[index]
    assert "description" not in spec
    spec = translated(bare, QWEN)[0].config["tools"][0]["toolSpec"]  # type: ignore[index]
    assert spec["description"] == "a"


def test_tools_of_one_name_become_the_last() -> None:
    tools, noted = translated(
        ask(function("a", description="1"), B, function("a", 2, description="2"))
    )
    assert tool_names(tools) == ["a", "b"]
    assert tools.config["tools"][0]["toolSpec"]["description"] == "2"  # type: ignore[index]
    assert noted == ("tools:merged",)
    assert translated(ask(A, A))[1] == ()


def test_a_cache_mark_stands_behind_its_tool() -> None:
    marked = function("a")
    marked = replace(marked, source={**marked.source, "cache_control": {"type": "ephemeral"}})
    inner = function("b", 1, cache_control={"type": "ephemeral", "ttl": "1h"})
    tools, _ = translated(ask(marked, inner))
    assert [next(iter(tool)) for tool in tools.config["tools"]] == [  # type: ignore[index]
        "toolSpec",
        "cachePoint",
        "toolSpec",
        "cachePoint",
    ]
    assert tools.config["tools"][3] == {  # type: ignore[index]
        "cachePoint": {"type": "default", "ttl": "1h"}
    }
    bad = replace(marked, source={**marked.source, "cache_control": 1})
    assert refused(ask(bad)).param == "tools[0].cache_control"


# Strict


STRICT = {"type": "object", "properties": {"x": {"type": "integer", "minimum": 1}}}


def test_strict_where_it_is_known_and_the_schema_closes() -> None:
    tools, noted = translated(ask(function("a", parameters=STRICT, strict=True)))
    spec = tools.config["tools"][0]["toolSpec"]  # type: ignore[index]
    assert spec["strict"] is True
    assert spec["inputSchema"]["json"] == {
        "type": "object",
        "properties": {"x": {"type": "integer", "description": "(minimum: 1)"}},
        "additionalProperties": False,
    }
    assert noted == ("tools.parameters:moved",)


@pytest.mark.parametrize(
    ("traits", "parameters"),
    [(NOVA, STRICT), (CLAUDE, {"type": "object", "properties": {"m": {"type": "object"}}})],
)
def test_strict_is_dropped_elsewhere(traits: Traits, parameters: dict[str, Any]) -> None:
    tools, noted = translated(ask(function("a", parameters=parameters, strict=True)), traits)
    spec = tools.config["tools"][0]["toolSpec"]  # type: ignore[index]
    assert "strict" not in spec
    assert spec["inputSchema"]["json"] == parameters
    assert noted == ("tools.strict:dropped",)


def test_at_most_twenty_strict_tools() -> None:
    many = [function(f"t{n}", n, parameters=EMPTY, strict=True) for n in range(22)]
    tools, noted = translated(ask(*many))
    strict = ["strict" in tool["toolSpec"] for tool in tools.config["tools"]]  # type: ignore[index]
    assert strict == [True] * 20 + [False] * 2
    assert noted == ("tools.strict:dropped",)


# Other kinds


def test_a_custom_tool_takes_text() -> None:
    custom = ToolSpec(
        "custom",
        "patch",
        "tools[0]",
        "Applies a patch.",
        source={
            "type": "custom",
            "custom": {
                "name": "patch",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "s: X"}},
            },
        },
    )
    tools, noted = translated(ask(custom))
    spec = tools.config["tools"][0]["toolSpec"]  # type: ignore[index]
    assert spec["description"] == (
        "Applies a patch.\n\nThe input must follow this lark grammar:\ns: X"
    )
    assert spec["inputSchema"]["json"]["required"] == ["input"]
    assert tools.custom == {"patch"}
    assert noted == ("tools.format:emulated",)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (builtin("web_search"), "nova_grounding"),
        (builtin("web_search_preview_2025_03_11"), "nova_grounding"),
        (builtin("code_interpreter"), "nova_code_interpreter"),
        (builtin("nova_grounding"), "nova_grounding"),
        (builtin("system_tool", name="nova_code_interpreter"), "nova_code_interpreter"),
    ],
)
def test_built_in_tools_where_the_family_has_its_own(spec: ToolSpec, name: str) -> None:
    tools, noted = translated(ask(spec), NOVA_2)
    assert tools.config == {"tools": [{"systemTool": {"name": name}}]}
    assert noted == ()


def test_built_in_tools_elsewhere_are_dropped_and_told() -> None:
    tools, noted = translated(ask(builtin("web_search"), B))
    assert tool_names(tools) == ["b"]
    assert noted == ("tools:dropped",)
    assert translated(ask(builtin("mcp")))[0].config is None


def test_web_search_options() -> None:
    grounding = {"systemTool": {"name": "nova_grounding"}}
    assert translated(ask(web_search=True), NOVA_2)[0].config == {"tools": [grounding]}
    both = translated(ask(builtin("web_search"), web_search=True), NOVA_2)[0]
    assert both.config == {"tools": [grounding]}
    none = ask(A, web_search=True, tool_choice=ToolChoice("none"))
    assert translated(none, NOVA_2)[0].config == {"tools": [grounding]}
    assert refused(ask(A, web_search=True)).param == "web_search_options"


# Choices


@pytest.mark.parametrize(
    ("traits", "choice", "member", "left", "hinted"),
    [
        (CLAUDE, ToolChoice("auto"), None, ["a", "b"], False),
        (CLAUDE, ToolChoice("required"), {"any": {}}, ["a", "b"], False),
        (CLAUDE, ToolChoice("named", ("b",)), {"tool": {"name": "b"}}, ["a", "b"], False),
        (MISTRAL, ToolChoice("required"), {"any": {}}, ["a", "b"], False),
        (MISTRAL, ToolChoice("named", ("b",)), {"any": {}}, ["b"], False),
        (LLAMA, ToolChoice("auto"), None, ["a", "b"], False),
        (LLAMA, ToolChoice("required"), None, ["a", "b"], True),
        (QWEN, ToolChoice("named", ("b",)), None, ["a", "b"], True),
        (SONNET_55, ToolChoice("required"), None, ["a", "b"], True),
        (SONNET_55, ToolChoice("named", ("b",)), None, ["a", "b"], True),
        (CLAUDE, ToolChoice("allowed", ("b",)), None, ["b"], False),
        (CLAUDE, ToolChoice("allowed", ("b",), True), {"any": {}}, ["b"], False),
        (CLAUDE, ToolChoice("allowed", ("b", "a"), True), {"any": {}}, ["a", "b"], False),
    ],
)
def test_choices(
    traits: Traits, choice: ToolChoice, member: Any, left: list[str], hinted: bool
) -> None:
    tools, noted = translated(ask(A, B, tool_choice=choice), traits)
    assert tools.config is not None
    assert tools.config.get("toolChoice") == member
    assert tool_names(tools) == left
    assert tools.forced is (member is not None)
    assert (tools.system_hint is not None) is hinted
    assert ("tool_choice:emulated" in noted) is hinted
    if hinted and choice.mode == "named":
        assert "tool b now" in (tools.system_hint or "")


@pytest.mark.parametrize("mode", ["named", "allowed"])
@pytest.mark.parametrize(("legacy", "param"), [(False, "tool_choice"), (True, "function_call")])
def test_a_choice_must_be_offered(mode: Any, legacy: bool, param: str) -> None:
    request = ask(A, tool_choice=ToolChoice(mode, ("z",)), legacy_functions=legacy)
    assert refused(request).param == param


def test_a_demand_that_nothing_can_meet() -> None:
    search = builtin("web_search")
    assert refused(ask(search, tool_choice=ToolChoice("required"))).param == "tools"
    named = ask(search, tool_choice=ToolChoice("named", ("web_search",)))
    assert refused(named).param == "tool_choice"
    allowed = ToolChoice("allowed", ("web_search",), True)
    assert refused(ask(search, A, tool_choice=allowed)).param == "tool_choice"
    mild = ToolChoice("allowed", ("web_search",))
    assert translated(ask(search, A, tool_choice=mild))[0].config is None


# Histories


def test_none_without_a_history_needs_no_tools() -> None:
    tools, _ = translated(ask(A, tool_choice=ToolChoice("none")))
    assert tools.config is None


def test_none_with_a_history_keeps_the_tools_and_withholds_calls() -> None:
    tools, noted = translated(ask(A, B, tool_choice=ToolChoice("none")), CLAUDE, CALLED_A)
    assert tool_names(tools) == ["a", "b"]
    assert (tools.offered, tools.system_hint, tools.forced) == (frozenset(), ANSWER_IN_TEXT, False)
    assert noted == ()


def test_a_history_without_tools_is_read_with_rebuilt_ones() -> None:
    tools, noted = translated(ask(), CLAUDE, (*CALLED_OLD, *CALLED_A))
    assert tools.config is not None
    assert [tool["toolSpec"]["inputSchema"]["json"] for tool in tools.config["tools"]] == [
        {"type": "object", "properties": {"q": {"type": "string"}, "n": {"type": "integer"}}},
        {"type": "object", "properties": {"x": {"type": "integer"}}},
    ]
    assert tools.offered == frozenset()
    assert noted == ("tools:added",)


def test_a_tool_of_the_past_is_not_offered_by_being_remembered() -> None:
    tools, _ = translated(ask(A), CLAUDE, CALLED_OLD)
    assert tool_names(tools) == ["a"]
    assert tools.offered == {"a"}
    assert translated(ask(A), CLAUDE, CALLED_A)[0].offered is None


def test_a_named_tool_is_the_only_one_offered_where_the_others_are_left_out() -> None:
    """The history shows what else could be called; it was not what the client has asked for."""
    request = ask(A, B, tool_choice=ToolChoice("named", ("b",)))
    tools, _ = translated(request, MISTRAL, CALLED_A)
    assert tool_names(tools) == ["b"]
    assert tools.offered == frozenset({"b"})
    assert translated(request, MISTRAL)[0].offered is None


def test_allowed_tools_keep_what_the_history_uses() -> None:
    request = ask(A, B, tool_choice=ToolChoice("allowed", ("b",)))
    tools, _ = translated(request, CLAUDE, CALLED_A)
    assert tool_names(tools) == ["a", "b"]
    assert tools.offered == {"b"}


def test_rebuilt_specs_have_legal_names() -> None:
    history = (HistoryCall("get-x.y", {}),)
    tools, noted = translated(ask(), NOVA, history)
    safe = tool_names(tools)[0]
    assert tools.names.to_client == {safe: "get-x.y"}
    assert "tools.name:renamed" in noted


def test_a_family_without_tools() -> None:
    assert refused(ask(A), R1).param == "tools"
    tools, noted = translated(ask(), R1, CALLED_A)
    assert (tools.config, tools.flatten) == (None, True)
    assert noted == ("messages.tool_calls:emulated",)
    none, _ = translated(ask(A, tool_choice=ToolChoice("none")), R1, CALLED_A)
    assert (none.config, none.flatten) == (None, True)
    assert translated(ask(A, tool_choice=ToolChoice("none")), R1)[0].config is None


# Parallel calls


def test_one_call_at_a_time() -> None:
    dial = {"disable_parallel_tool_use": True}
    single = ask(A, parallel_tool_calls=False)
    tools, _ = translated(single)
    assert tools.one_call
    assert tools.fields == {"tool_choice": {"type": "auto", **dial}}
    forced, _ = translated(replace(single, tool_choice=ToolChoice("required")))
    assert forced.fields == {"tool_choice": dial}
    elsewhere, _ = translated(single, NOVA)
    assert elsewhere.one_call
    assert elsewhere.fields == {}
    assert not translated(ask(A, parallel_tool_calls=True))[0].one_call


def test_a_choice_taken_back_is_put_into_words() -> None:
    forced, _ = translated(ask(A, parallel_tool_calls=False, tool_choice=ToolChoice("required")))
    free = without_choice(forced)
    assert free.config == {"tools": forced.config["tools"]}  # type: ignore[index]
    assert free.fields["tool_choice"]["type"] == "auto"
    assert free.system_hint
    assert not free.forced
    assert without_choice(free) == free


def test_an_answer_tool_among_others() -> None:
    tools, _ = translated(ask(A, parallel_tool_calls=False), CLAUDE, CALLED_OLD)
    spec = {"toolSpec": {"name": "answer", "inputSchema": {"json": EMPTY}}}
    more = with_answer_tool(tools, spec, {"any": {}}, alone=False)
    assert tool_names(more) == ["a", "answer"]
    assert more.offered == {"a", "answer"}
    assert more.fields == {"tool_choice": {"disable_parallel_tool_use": True}}
    assert more.forced
    alone = with_answer_tool(tools, spec, {"any": {}}, alone=True)
    assert tool_names(alone) == ["answer"]


def test_strict_mode_refuses_losses() -> None:
    for request in (
        ask(builtin("web_search")),
        ask(function("a", parameters={"type": "object"}, strict=True)),
    ):
        with pytest.raises(ProxyError) as caught:
            translate_tools(request, (), NOVA, Notes(strict=True))
        assert caught.value.param is not None
        assert caught.value.param.startswith("tools[0]")
