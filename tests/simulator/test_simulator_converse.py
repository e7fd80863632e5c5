"""Converse and ConverseStream, driven by a real botocore client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from proxy.simulator import Simulator

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
SONNET_5 = "us.anthropic.claude-sonnet-5"
NOVA = "us.amazon.nova-lite-v1:0"
GPT_OSS = "openai.gpt-oss-120b-1:0"
KIMI = "moonshot.kimi-k2-thinking"
R1 = "us.deepseek.r1-v1:0"

WEATHER = {
    "tools": [
        {
            "toolSpec": {
                "name": "get_weather",
                "description": "Look up the weather of a city",
                "inputSchema": {
                    "json": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    }
                },
            }
        }
    ]
}

Ask = Callable[..., dict[str, Any]]


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": b} if isinstance(b, str) else b for b in blocks]}


def text_of(answer: dict[str, Any]) -> str:
    content = answer["output"]["message"]["content"]
    return "".join(block.get("text", "") for block in content)


def folded(stream: Any) -> dict[str, Any]:
    """Fold botocore's parsed events into a Converse answer."""
    blocks: dict[int, dict[str, Any]] = {}
    answer: dict[str, Any] = {}
    for event in stream:
        kind, value = next(iter(event.items()))
        if kind == "contentBlockStart":
            use = dict(value["start"]["toolUse"])
            blocks[value["contentBlockIndex"]] = {"toolUse": {**use, "input": ""}}
        elif kind == "contentBlockDelta":
            _fold(blocks.setdefault(value["contentBlockIndex"], {}), value["delta"])
        elif kind == "messageStop":
            answer["stopReason"] = value["stopReason"]
        elif kind == "metadata":
            answer["usage"] = value["usage"]
    answer["content"] = [blocks[index] for index in sorted(blocks)]
    return answer


def _fold(block: dict[str, Any], delta: dict[str, Any]) -> None:
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    elif "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    else:
        told = block.setdefault("reasoningContent", {})
        for name, value in delta["reasoningContent"].items():
            told[name] = told.get(name, type(value)()) + value


def test_text(ask: Ask) -> None:
    answer = ask("Hello there", system=[{"text": "Be brief."}])
    assert "Hello there" in text_of(answer)
    assert "Be brief." in text_of(answer)
    assert answer["stopReason"] == "end_turn"
    usage = answer["usage"]
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]


@pytest.mark.parametrize("model", [SONNET, SONNET_5, NOVA, GPT_OSS, KIMI, R1])
def test_converse_and_stream_agree(runtime: Any, model: str) -> None:
    request: dict[str, Any] = {
        "modelId": model,
        "messages": [user("What is the weather in Oslo and Lima, in parallel?")],
    }
    if model != R1:
        request["toolConfig"] = WEATHER
    whole = runtime.converse(**request)
    streamed = folded(runtime.converse_stream(**request)["stream"])
    content = [block for block in streamed["content"] if block != {"text": ""}]
    expected = whole["output"]["message"]["content"]
    assert [next(iter(b)) for b in content] == [next(iter(b)) for b in expected]
    assert streamed["stopReason"] == whole["stopReason"]
    assert streamed["usage"]["totalTokens"] == whole["usage"]["totalTokens"]
    names = [b["toolUse"]["toolUseId"] for b in content if "toolUse" in b]
    assert names == [b["toolUse"]["toolUseId"] for b in expected if "toolUse" in b]


def test_words_on_demand(ask: Ask) -> None:
    assert len(text_of(ask("Write 200 words about rivers.")).split()) == 200


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Count to 5", "1, 2, 3, 4, 5"),
        ("count from 3 to 1", "3, 2, 1"),
        ('Say "pong"', "pong"),
        ("Reply with exactly: ready", "ready"),
        ("What is 12 * 7?", "84"),
    ],
)
def test_obeys(ask: Ask, asked: str, said: str) -> None:
    assert text_of(ask(asked)) == said


def test_remembers_a_name(runtime: Any) -> None:
    said = [{"role": "assistant", "content": [{"text": "Hello."}]}]
    messages = [user("My name is Ada."), *said, user("What is my name?")]
    answer = runtime.converse(modelId=SONNET, messages=messages)
    assert text_of(answer) == "Your name is Ada."


def test_max_tokens_cuts(ask: Ask) -> None:
    answer = ask("Write 200 words.", inferenceConfig={"maxTokens": 10})
    assert answer["stopReason"] == "max_tokens"
    assert answer["usage"]["outputTokens"] == 10
    assert len(text_of(answer)) == 40


def test_stop_sequence_cuts_and_is_named(ask: Ask) -> None:
    answer = ask(
        "Count to 9",
        inferenceConfig={"stopSequences": ["5", "7"]},
        additionalModelResponseFieldPaths=["/stop_sequence"],
    )
    assert text_of(answer) == "1, 2, 3, 4, "
    assert answer["stopReason"] == "stop_sequence"
    assert answer["additionalModelResponseFields"] == {"stop_sequence": "5"}


def test_results_are_quoted(runtime: Any) -> None:
    question = user("What is the weather in Oslo?")
    first = runtime.converse(modelId=SONNET, messages=[question], toolConfig=WEATHER)
    turn = first["output"]["message"]
    use = turn["content"][-1]["toolUse"]
    assert use["input"] == {"city": "Oslo"}
    result = {"toolUseId": use["toolUseId"], "content": [{"text": "4C and rain"}]}
    second = runtime.converse(
        modelId=SONNET,
        messages=[question, turn, user({"toolResult": result})],
        toolConfig=WEATHER,
    )
    assert "get_weather returned: 4C and rain" in text_of(second)
    assert second["stopReason"] == "end_turn"


def test_the_service_is_as_fast_as_a_load_test_needs(simulator: Simulator, runtime: Any) -> None:
    runtime.converse(modelId=SONNET, messages=[user("Hi")])
    assert [r.operation for r in simulator.requests] == ["Converse"]
