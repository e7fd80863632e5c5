"""Reasoning: who may be asked for it, and what must come back intact."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from botocore.exceptions import ClientError

from proxy.simulator import Simulator

HAIKU_45 = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SONNET_45 = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
SONNET_46 = "us.anthropic.claude-sonnet-4-6"
OPUS_47 = "us.anthropic.claude-opus-4-7"
OPUS_55 = "us.anthropic.claude-opus-5-5"
FABLE = "us.anthropic.claude-fable-5"
OPUS_5 = "us.anthropic.claude-opus-5"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
GPT_OSS = "openai.gpt-oss-120b-1:0"
GPT_6 = "us.openai.gpt-6-sol"
QWEN = "qwen.qwen3-32b-v1:0"
R1 = "us.deepseek.r1-v1:0"

BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
ADAPTIVE = {"thinking": {"type": "adaptive"}}
LOOKUP = {
    "tools": [
        {
            "toolSpec": {
                "name": "lookup",
                "description": "Look a word up",
                "inputSchema": {"json": {"type": "object", "properties": {}}},
            }
        }
    ]
}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": b} if isinstance(b, str) else b for b in blocks]}


def answers(turn: dict[str, Any]) -> dict[str, Any]:
    """A user message that answers every call of a turn."""
    results = [
        {"toolResult": {"toolUseId": b["toolUse"]["toolUseId"], "content": [{"text": "done"}]}}
        for b in turn["content"]
        if "toolUse" in b
    ]
    return {"role": "user", "content": results}


def kinds(turn: dict[str, Any]) -> list[str]:
    return [next(iter(block)) for block in turn["content"]]


def refusal(runtime: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        runtime.converse(**{"messages": [user("Hi")], **request})
    return str(caught.value.response["Error"]["Message"])


def first_turn(runtime: Any, model: str, fields: dict[str, Any], text: str) -> Any:
    question = user(text)
    answer = runtime.converse(
        modelId=model,
        messages=[question],
        toolConfig=LOOKUP,
        additionalModelRequestFields=fields,
    )
    return question, answer["output"]["message"]


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("small budget", SONNET_45, {"thinking": {"type": "enabled", "budget_tokens": 1000}}, "1024"),
    ("no budget", SONNET_45, {"thinking": {"type": "enabled"}}, "1024"),
    ("adaptive too early", SONNET_45, ADAPTIVE, "expected tags: 'disabled', 'enabled'"),
    ("budget too late", OPUS_47, BUDGET, '"thinking.type.enabled" is not supported'),
    ("never off", OPUS_55, {"thinking": {"type": "disabled"}}, '"thinking.type.disabled"'),
    (
        "not off above high",
        OPUS_5,
        {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}},
        '"thinking.type.disabled"',
    ),
    ("unknown effort", SONNET_46, {"output_config": {"effort": "xhigh"}}, "output_config.effort"),
    ("effort too early", SONNET_45, {"output_config": {"effort": "low"}}, "output_config"),
    ("no thinking", "anthropic.claude-3-haiku-20240307-v1:0", BUDGET, "thinking: Extra inputs"),
    (
        "Nova level",
        NOVA_2,
        {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "max"}},
        "maxReasoningEffort",
    ),
    ("gpt-oss none", GPT_OSS, {"reasoning_effort": "none"}, "reasoning_effort"),
    ("R1 dial", R1, {"reasoning_effort": "low"}, "extraneous key [reasoning_effort]"),
    ("Qwen level", QWEN, {"reasoning_config": "medium"}, "reasoning_config"),
    ("top_k beside", SONNET_45, {**BUDGET, "top_k": 4}, "`top_k` must be unset"),
]


@pytest.mark.parametrize(
    ("model", "fields", "sentence"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_refused_wishes(runtime: Any, model: str, fields: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(runtime, modelId=model, additionalModelRequestFields=fields)


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"inferenceConfig": {"maxTokens": 1024}}, "`max_tokens` must be greater than"),
        ({"inferenceConfig": {"temperature": 0.5}}, "`temperature` may only be set to 1"),
        ({"inferenceConfig": {"topP": 0.5}}, "`top_p` must be greater than or equal to 0.95"),
        (
            {"toolConfig": {**LOOKUP, "toolChoice": {"any": {}}}},
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        (
            {"messages": [user("a"), {"role": "assistant", "content": [{"text": "b"}]}]},
            "must start with a thinking block",
        ),
        ({"outputConfig": {"effort": "low"}}, "outputConfig.effort field"),
    ],
)
def test_what_thinking_does_not_tolerate(
    runtime: Any, members: dict[str, Any], sentence: str
) -> None:
    request = {"modelId": SONNET_45, "additionalModelRequestFields": BUDGET, **members}
    assert sentence in refusal(runtime, **request)


def test_forced_tools_on_models_that_always_think(runtime: Any) -> None:
    forced = {**LOOKUP, "toolChoice": {"any": {}}}
    message = refusal(runtime, modelId=OPUS_55, toolConfig=forced)
    assert message.endswith("Thinking may not be enabled when tool_choice forces tool use.")
    answer = runtime.converse(modelId=FABLE, messages=[user("Hi")], toolConfig=forced)
    assert answer["stopReason"] == "tool_use"


def test_effort_in_one_place_only(runtime: Any) -> None:
    both = {"output_config": {"effort": "low"}}
    message = refusal(
        runtime,
        modelId=SONNET_46,
        outputConfig={"effort": "low"},
        additionalModelRequestFields=both,
    )
    assert "set both in outputConfig and in" in message


@pytest.mark.parametrize(("model", "fields"), [(HAIKU_45, BUDGET), (SONNET_46, ADAPTIVE)])
def test_a_tool_loop_with_thinking_returned(
    runtime: Any, model: str, fields: dict[str, Any]
) -> None:
    messages = [user("Use lookup for 4 rounds.")]
    turns = 0
    while True:
        answer = runtime.converse(
            modelId=model,
            messages=messages,
            toolConfig=LOOKUP,
            additionalModelRequestFields=fields,
        )
        turn = answer["output"]["message"]
        assert kinds(turn)[0] == "reasoningContent"
        assert turn["content"][0]["reasoningContent"]["reasoningText"]["signature"]
        if answer["stopReason"] != "tool_use":
            break
        turns += 1
        messages += [turn, answers(turn)]
    assert turns == 4


@pytest.mark.parametrize("model", [SONNET_46, OPUS_5, OPUS_55])
def test_fifty_turns_of_interleaved_thinking_and_parallel_calls(runtime: Any, model: str) -> None:
    asked = "Use lookup in parallel for 50 rounds, interleaved."
    messages = [user(asked)]
    fields = {} if model == OPUS_55 else ADAPTIVE
    seen: set[str] = set()
    for _ in range(50):
        answer = runtime.converse(
            modelId=model,
            messages=messages,
            toolConfig=LOOKUP,
            additionalModelRequestFields=fields,
        )
        turn = answer["output"]["message"]
        ids = {b["toolUse"]["toolUseId"] for b in turn["content"] if "toolUse" in b}
        assert len(ids) == 2
        assert not ids & seen
        seen |= ids
        messages += [turn, answers(turn)]
    assert len(seen) == 100


def test_a_lost_thinking_block(runtime: Any) -> None:
    question, turn = first_turn(runtime, SONNET_45, BUDGET, "Use lookup.")
    bare = {"role": "assistant", "content": [b for b in turn["content"] if "toolUse" in b]}
    loop = [question, bare, answers(turn)]
    request = {"modelId": SONNET_45, "messages": loop, "toolConfig": LOOKUP}
    message = refusal(runtime, **request, additionalModelRequestFields=BUDGET)
    assert "Expected `thinking` or `redacted_thinking`, but found `tool_use`" in message
    assert runtime.converse(**request)["stopReason"] == "end_turn"


def test_adaptive_thinking_may_be_lost(runtime: Any) -> None:
    question, turn = first_turn(runtime, OPUS_47, ADAPTIVE, "Use lookup.")
    bare = {"role": "assistant", "content": [b for b in turn["content"] if "toolUse" in b]}
    answer = runtime.converse(
        modelId=OPUS_47,
        messages=[question, bare, answers(turn)],
        toolConfig=LOOKUP,
        additionalModelRequestFields=ADAPTIVE,
    )
    assert answer["stopReason"] == "end_turn"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text": "something else"}, "Invalid `signature` in `thinking` block"),
        ({"signature": "AAAA"}, "Invalid `signature` in `thinking` block"),
        ({"signature": ""}, "thinking.signature: Field required"),
    ],
)
def test_a_changed_thinking_block(runtime: Any, change: dict[str, str], sentence: str) -> None:
    question, turn = first_turn(runtime, SONNET_45, BUDGET, "Use lookup.")
    turn["content"][0]["reasoningContent"]["reasoningText"].update(change)
    message = refusal(
        runtime,
        modelId=SONNET_45,
        messages=[question, turn, answers(turn)],
        toolConfig=LOOKUP,
        additionalModelRequestFields=BUDGET,
    )
    assert sentence in message


def test_a_block_left_out_of_several(runtime: Any) -> None:
    asked = "Use lookup, interleaved."
    question, turn = first_turn(runtime, SONNET_46, ADAPTIVE, asked)
    assert kinds(turn) == ["reasoningContent", "text", "reasoningContent", "toolUse"]
    request = {
        "modelId": SONNET_46,
        "toolConfig": LOOKUP,
        "additionalModelRequestFields": ADAPTIVE,
    }
    whole = runtime.converse(**request, messages=[question, turn, answers(turn)])
    assert whole["stopReason"] == "end_turn"
    part = copy.deepcopy(turn)
    del part["content"][2]
    message = refusal(runtime, **request, messages=[question, part, answers(turn)])
    assert "blocks in the latest assistant message cannot be modified" in message


def test_redacted_thinking(runtime: Any) -> None:
    asked = "Use lookup and redact your thinking."
    question, turn = first_turn(runtime, HAIKU_45, BUDGET, asked)
    sealed = turn["content"][0]["reasoningContent"]["redactedContent"]
    assert kinds(turn)[:2] == ["reasoningContent", "reasoningContent"]
    request = {
        "modelId": HAIKU_45,
        "toolConfig": LOOKUP,
        "additionalModelRequestFields": BUDGET,
    }
    whole = runtime.converse(**request, messages=[question, turn, answers(turn)])
    assert whole["stopReason"] == "end_turn"
    turn["content"][0]["reasoningContent"]["redactedContent"] = sealed[:-8] + b"AAAAAAA="
    message = refusal(runtime, **request, messages=[question, turn, answers(turn)])
    assert "Invalid `data` in `redacted_thinking` block" in message


def test_signatures_by_vendor_or_by_model(runtime: Any, simulator: Simulator) -> None:
    question, turn = first_turn(runtime, HAIKU_45, BUDGET, "Use lookup.")
    loop = {
        "messages": [question, turn, answers(turn)],
        "toolConfig": LOOKUP,
        "additionalModelRequestFields": BUDGET,
    }
    assert runtime.converse(modelId=SONNET_45, **loop)["stopReason"] == "end_turn"
    simulator.control(signature_scope="model")
    assert "Invalid `signature`" in refusal(runtime, modelId=SONNET_45, **loop)
    assert runtime.converse(modelId=HAIKU_45, **loop)["stopReason"] == "end_turn"


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (GPT_OSS, "reasoningText.signature field"),
        (R1, "reasoningContent field"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "reasoningContent field"),
    ],
)
def test_foreign_reasoning(runtime: Any, model: str, sentence: str) -> None:
    _, turn = first_turn(runtime, SONNET_45, BUDGET, "Use lookup.")
    signed = {"role": "assistant", "content": [turn["content"][0], {"text": "b"}]}
    message = refusal(runtime, modelId=model, messages=[user("a"), signed, user("c")])
    assert sentence in message


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (GPT_OSS, {}, ["reasoningContent", "text"]),
        (R1, {}, ["text", "reasoningContent"]),
        (QWEN, {}, ["text"]),
        (QWEN, {"reasoning_config": "high"}, ["reasoningContent", "text"]),
        (GPT_6, {"reasoning": {"effort": "high"}}, ["reasoningContent", "text"]),
        (GPT_6, {"reasoning": {"effort": "none"}}, ["text"]),
        (NOVA_2, {"reasoningConfig": {"type": "enabled"}}, ["reasoningContent", "text"]),
        (SONNET_45, {"reasoning_config": BUDGET["thinking"]}, ["reasoningContent", "text"]),
        (OPUS_55, {}, ["reasoningContent", "text"]),
        (OPUS_47, {}, ["text"]),
    ],
)
def test_how_families_reason(
    runtime: Any, model: str, fields: dict[str, Any], expected: list[str]
) -> None:
    answer = runtime.converse(
        modelId=model, messages=[user("Hi")], additionalModelRequestFields=fields
    )
    assert kinds(answer["output"]["message"]) == expected


def test_omitted_display_keeps_the_signature(runtime: Any) -> None:
    fields = {"thinking": {"type": "adaptive", "display": "omitted"}}
    answer = runtime.converse(
        modelId=OPUS_47, messages=[user("Hi")], additionalModelRequestFields=fields
    )
    told = answer["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"]
    assert told["text"] == ""
    assert told["signature"]


def test_high_effort_on_nova_2_wants_no_dials(runtime: Any) -> None:
    fields = {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}
    message = refusal(
        runtime,
        modelId=NOVA_2,
        inferenceConfig={"maxTokens": 100},
        additionalModelRequestFields=fields,
    )
    assert "maxTokens must be unset" in message
