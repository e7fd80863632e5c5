"""Converse and ConverseStream, driven by a real botocore client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from proxy.simulator import Simulator
from proxy.simulator.caching import PromptCache
from proxy.simulator.call import Call
from proxy.simulator.estate import Estate

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
        ("Say hello in five words.", "Hello there from simulated Bedrock"),
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


def test_nova_leaves_the_stop_sequence_in_its_text(ask: Ask) -> None:
    """Recorded: "The city of Paris" for a stop at "Paris", and end_turn."""
    answer = ask("Count to 9", NOVA, inferenceConfig={"stopSequences": ["5", "7"]})
    assert (text_of(answer), answer["stopReason"]) == ("1, 2, 3, 4, 5", "end_turn")


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


def test_received_requests_are_kept(simulator: Simulator, ask: Ask) -> None:
    answer = ask("Hi", NOVA)
    (received,) = simulator.requests
    assert (received.operation, received.model, received.status) == ("Converse", NOVA, 200)
    assert received.body["messages"][0]["content"] == [{"text": "Hi"}]
    assert received.headers["content-type"] == "application/json"
    assert received.request_id == answer["ResponseMetadata"]["RequestId"]
    assert not received.disconnected


def test_nova_tells_of_the_cache_where_it_is_asked_for(ask: Ask) -> None:
    """Recorded: zeros beside cache points that nothing was cached for, nothing without them."""
    marked = [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}]
    usage = ask("Hi", NOVA, system=marked)["usage"]
    assert (usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]) == (0, 0)
    assert "cacheReadInputTokens" not in ask("Hi", NOVA, system=marked[:1])["usage"]


def test_images_and_documents_are_seen(runtime: Any) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(40)
    image = {"image": {"format": "png", "source": {"bytes": png}}}
    document = {"document": {"format": "txt", "name": "notes", "source": {"bytes": b"a note"}}}
    answer = runtime.converse(modelId=SONNET, messages=[user("Look", image, image, document)])
    assert "I received 2 images. I received 1 document." in text_of(answer)


def test_json_by_schema_and_by_prompt(ask: Ask) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "capital": {"type": "boolean"}},
        "required": ["city", "capital"],
        "additionalProperties": False,
    }
    structure = {"jsonSchema": {"name": "city", "schema": json.dumps(schema)}}
    wanted = {"textFormat": {"type": "json_schema", "structure": structure}}
    strict = ask("Tell me about Lima please, is Lima a capital?", outputConfig=wanted)
    assert set(json.loads(text_of(strict))) == {"city", "capital"}
    prompted = ask("Tell me of Lima", system=[{"text": "Respond only with a JSON object."}])
    assert isinstance(json.loads(text_of(prompted)), dict)
    agent = "Look at package.json first, then answer in the user's words."
    assert text_of(ask("Tell me of Lima", system=[{"text": agent}])).startswith("You said")
    told = f"Answer in JSON that fits this schema: {json.dumps(schema)}"
    by_schema = ask("Tell me of Lima", system=[{"text": told}])
    assert set(json.loads(text_of(by_schema))) == {"city", "capital"}


def test_echoes_of_tier_and_latency(ask: Ask) -> None:
    answer = ask(
        "Hi",
        "us.amazon.nova-pro-v1:0",
        serviceTier={"type": "flex"},
        performanceConfig={"latency": "optimized"},
    )
    assert answer["serviceTier"] == {"type": "flex"}
    assert answer["performanceConfig"] == {"latency": "optimized"}
    fallen = ask("Hi", performanceConfig={"latency": "optimized"})
    assert fallen["performanceConfig"] == {"latency": "standard"}


def test_a_prompt_router_names_its_choice(ask: Ask) -> None:
    owner = "arn:aws:bedrock:us-east-1:123456789012"
    answer = ask("Hi", f"{owner}:default-prompt-router/anthropic.claude:1")
    invoked = answer["trace"]["promptRouter"]["invokedModelId"]
    assert invoked.endswith("foundation-model/anthropic.claude-3-5-sonnet-20240620-v1:0")


def test_native_response_fields(runtime: Any) -> None:
    request = {
        "modelId": SONNET,
        "messages": [user("Hi")],
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "additionalModelResponseFieldPaths": ["/usage/output_tokens_details", "/no/such"],
    }
    answer = runtime.converse(**request)
    assert list(answer["additionalModelResponseFields"]) == ["usage"]
    details = answer["additionalModelResponseFields"]["usage"]["output_tokens_details"]
    assert 0 < details["thinking_tokens"] < answer["usage"]["outputTokens"]


def test_guardrails(ask: Ask) -> None:
    config = {"guardrailIdentifier": "abc123", "guardrailVersion": "1", "trace": "enabled"}
    blocked = ask("Tell me of the forbidden topic", NOVA, guardrailConfig=config)
    assert blocked["stopReason"] == "guardrail_intervened"
    assert text_of(blocked) == "Sorry, the model cannot answer this question."
    assessment = blocked["trace"]["guardrail"]["inputAssessment"]["abc123"]
    assert assessment["topicPolicy"]["topics"][0]["action"] == "BLOCKED"
    masked = ask("Say ada@example.org twice", NOVA, guardrailConfig={**config, "trace": "disabled"})
    assert "ada@example.org" not in text_of(masked)
    assert "trace" not in masked
    passed = ask("Hello", NOVA, guardrailConfig=config)
    assert passed["stopReason"] == "end_turn"
    assert passed["trace"]["guardrail"]["actionReason"] == "No action."


def test_parallel_calls_can_be_switched_off(ask: Ask) -> None:
    asked = "Weather in Oslo and in Lima in parallel"
    both = ask(asked, toolConfig=WEATHER)
    calls = [b["toolUse"]["input"] for b in both["output"]["message"]["content"] if "toolUse" in b]
    assert calls == [{"city": "Oslo"}, {"city": "Lima"}]
    switch = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    one = ask(asked, toolConfig=WEATHER, additionalModelRequestFields=switch)
    assert sum("toolUse" in b for b in one["output"]["message"]["content"]) == 1


def test_a_forced_tool_is_called_without_words(ask: Ask) -> None:
    forced = {**WEATHER, "toolChoice": {"tool": {"name": "get_weather"}}}
    answer = ask("Hello", toolConfig=forced)
    assert [next(iter(b)) for b in answer["output"]["message"]["content"]] == ["toolUse"]
    assert answer["stopReason"] == "tool_use"
    assert ask("Hello, without any tools", toolConfig=WEATHER)["stopReason"] == "end_turn"


@pytest.mark.parametrize("order", ["at least one of the tools", "the tool get_weather"])
def test_an_order_in_words_is_obeyed_once(ask: Ask, runtime: Any, order: str) -> None:
    """Families without toolChoice (Llama, gpt-oss, Qwen) can only be told so."""
    system = [{"text": f"You must call {order} now; do not answer in text alone."}]
    answer = ask("Hi", model=GPT_OSS, toolConfig=WEATHER, system=system)
    assert answer["stopReason"] == "tool_use"
    assert not text_of(answer)
    said = answer["output"]["message"]
    (use,) = [block["toolUse"] for block in said["content"] if "toolUse" in block]
    result = {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"text": "sunny"}]}}
    after = runtime.converse(
        modelId=GPT_OSS,
        toolConfig=WEATHER,
        system=system,
        messages=[user("Hi"), said, user(result)],
    )
    assert after["stopReason"] == "end_turn"


def test_names_in_humps_and_in_quotes_are_understood(ask: Ask) -> None:
    schema = {"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]}
    spec = {"name": "CreateCustomer", "inputSchema": {"json": schema}}
    answer = ask(
        "Create customer '你好啊集团' (Hello Group)", toolConfig={"tools": [{"toolSpec": spec}]}
    )
    uses = [b["toolUse"] for b in answer["output"]["message"]["content"] if "toolUse" in b]
    assert [use["input"] for use in uses] == [{"who": "你好啊集团"}]


def test_arguments_are_what_was_said_outright(ask: Ask) -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "integer"},
            "unit": {"type": "string"},
        },
        "required": ["a", "b", "unit"],
    }
    tools = {"tools": [{"toolSpec": {"name": "add", "inputSchema": {"json": schema}}}]}
    for asked in ('Call add with b=2, a=40 and unit="cm"', "Call add for 40 and 2 in 'cm'"):
        content = ask(asked, toolConfig=tools)["output"]["message"]["content"]
        (use,) = [block["toolUse"] for block in content if "toolUse" in block]
        assert use["input"] == {"a": 40, "b": 2, "unit": "cm"}


def test_a_list_of_objects_without_a_shape_is_empty(ask: Ask) -> None:
    """What is left of a recursive type at its innermost."""
    inner = {"type": "array", "items": {"type": "object"}}
    schema = {"type": "object", "properties": {"children": inner}, "required": ["children"]}
    tools = {"tools": [{"toolSpec": {"name": "tree", "inputSchema": {"json": schema}}}]}
    content = ask("Call tree", toolConfig=tools)["output"]["message"]["content"]
    assert [b["toolUse"]["input"] for b in content if "toolUse" in b] == [{"children": []}]


def test_a_system_prompt_can_give_the_words(ask: Ask) -> None:
    system = [{"text": "Reply with exactly HELLO and nothing else."}]
    assert text_of(ask("go", system=system)) == "HELLO"


def test_remembers_what_was_told(runtime: Any) -> None:
    told = [
        user("Remember: code=999. Reply OK"),
        {"role": "assistant", "content": [{"text": "OK"}]},
    ]
    asked = user("What is the code? Reply with just the number.")
    assert text_of(runtime.converse(modelId=NOVA, messages=[*told, asked])) == "999"


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ("Tell a joke. Return a JSON object with 'setup' and 'punchline' keys.", "setup punchline"),
        ("Return JSON only with fields name and age for: Budi is 20 years old.", "name age"),
        ("Answer with a JSON object of the fields `answer`, then `score`.", "answer score"),
    ],
)  # fmt: skip
def test_json_has_the_keys_that_were_named(ask: Ask, asked: str, keys: str) -> None:
    assert list(json.loads(text_of(ask(asked)))) == keys.split()


def test_a_system_prompt_can_ask_for_capitals(ask: Ask) -> None:
    said = text_of(ask("Hi there", system=[{"text": "Always answer in uppercase."}]))
    assert said.startswith("YOU SAID: HI THERE")


def test_a_result_is_told_as_a_number_on_request(runtime: Any) -> None:
    use = {"toolUseId": "t1", "name": "get_weather", "input": {"city": "Oslo"}}
    result = {"toolResult": {"toolUseId": "t1", "content": [{"text": '{"result": 42}'}]}}
    after = runtime.converse(
        modelId=NOVA,
        toolConfig=WEATHER,
        messages=[
            user("Weather in Oslo?"),
            {"role": "assistant", "content": [{"toolUse": use}]},
            user(result, "Reply with just the number."),
        ],
    )
    assert text_of(after).endswith("42")
    assert "found" not in text_of(after)


def test_nova_stumbles_over_hyphens(ask: Ask) -> None:
    spec = {**WEATHER["tools"][0]["toolSpec"], "name": "get-weather"}
    with pytest.raises(ClientError) as caught:
        ask("What is the weather in Oslo?", NOVA, toolConfig={"tools": [{"toolSpec": spec}]})
    assert caught.value.response["Error"]["Code"] == "ModelErrorException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424


def test_prompt_cache(ask: Ask) -> None:
    system = [{"text": "rule " * 2000}, {"cachePoint": {"type": "default"}}]
    first = ask("One", system=system)["usage"]
    second = ask("Two", system=system)["usage"]
    third = ask("Three", system=[{"text": "short"}, {"cachePoint": {"type": "default"}}])["usage"]
    assert (first["cacheReadInputTokens"], first["cacheWriteInputTokens"]) == (0, 2500)
    assert first["cacheDetails"] == [{"ttl": "5m", "inputTokens": 2500}]
    assert (second["cacheReadInputTokens"], second["cacheWriteInputTokens"]) == (2500, 0)
    assert "cacheDetails" not in second
    assert third["cacheWriteInputTokens"] == 0
    for usage in (first, second, third):
        cached = usage["cacheReadInputTokens"] + usage["cacheWriteInputTokens"]
        assert usage["totalTokens"] == usage["inputTokens"] + cached + usage["outputTokens"]


def test_prompt_cache_ttl_and_growth() -> None:
    point = {"cachePoint": {"type": "default"}}
    model = Estate.build("us-east-1").resolve(SONNET)
    cache = PromptCache()

    def used(now: float, *turns: str) -> tuple[int, int]:
        messages = [user(turn * 2000, point) for turn in turns]
        cached = cache.use(Call(SONNET, model, {"messages": messages}), now)
        return cached.read, cached.write

    assert used(0.0, "one ") == (0, 2000)
    assert used(10.0, "one ", "two ") == (2000, 2000)
    assert used(305.0, "one ", "two ") == (4000, 0)
    assert used(700.0, "one ", "two ") == (0, 4000)


def test_a_point_that_moves_along_reads_what_was_written() -> None:
    point = {"cachePoint": {"type": "default"}}
    said = {"role": "assistant", "content": [{"text": "answer " * 4}]}
    cache = PromptCache()
    model = Estate.build("us-east-1").resolve(SONNET)
    first = [user("one " * 2000, point)]
    second = [user("one " * 2000), said, user("two", point)]
    far = [user("one " * 2000), *[said, user("two")] * 15, user("three", point)]
    for messages, read, written in (
        (first, 0, 2000),
        (second, 2000, 8),
        (far, 0, 2000 + 15 * 8 + 1),
    ):
        cached = cache.use(Call(SONNET, model, {"messages": messages}), 0.0)
        assert (cached.read, cached.write) == (read, written)
