"""The bytes of a stream: framing, padding, key order and the habits of each family."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import httpx
import pytest
from botocore.eventstream import EventStreamBuffer

from proxy.simulator import Simulator, frames
from proxy.simulator.answer import fragments

SONNET_5 = "us.anthropic.claude-sonnet-5"
NOVA = "us.amazon.nova-lite-v1:0"
GPT_OSS = "openai.gpt-oss-120b-1:0"
KIMI = "moonshot.kimi-k2-thinking"
JAMBA = "ai21.jamba-1-5-mini-v1:0"
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

DELTA_HEX = (
    "0000009e00000057fe1b824f0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c74610d3a63"
    "6f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070005"
    "6576656e747b22636f6e74656e74426c6f636b496e646578223a302c2264656c7461223a7b2274657874223a224869"
    "227d2c2270223a22616263227d9343f010"
)
EXCEPTION_HEX = (
    "00000090000000618e91a9b70f3a657863657074696f6e2d747970650700137468726f74746c696e67457863657074"
    "696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74"
    "797065070009657863657074696f6e7b226d657373616765223a22546f6f206d616e79207265717565737473227de6"
    "7f8005"
)

Fetch = Callable[..., bytes]


@pytest.fixture
def fetch(simulator: Simulator) -> Iterator[Fetch]:
    """`fetch(model, text, **members)`: the raw body of a ConverseStream answer."""
    with httpx.Client(base_url=simulator.url) as client:

        def fetched(model: str, text: str, **members: Any) -> bytes:
            body = {"messages": [{"role": "user", "content": [{"text": text}]}], **members}
            path = f"/model/{model.replace(':', '%3A')}/converse-stream"
            authorization = {"authorization": f"Bearer {simulator.bearer}"}
            answer = client.post(path, json=body, headers=authorization)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"
            return answer.content

        yield fetched


def decoded(data: bytes) -> list[tuple[str, bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    events = []
    for event in buffer:
        assert list(event.headers) == [":event-type", ":content-type", ":message-type"]
        events.append((event.headers[":event-type"], event.payload))
    return events


def test_reference_frames() -> None:
    """Vectors made with the official encoder's rules and confirmed by botocore's decoder."""
    payload = {"contentBlockIndex": 0, "delta": {"text": "Hi"}, "p": "abc"}
    assert frames.event("contentBlockDelta", payload, Random(0)).hex() == DELTA_HEX
    throttled = frames.exception("throttlingException", {"message": "Too many requests"})
    assert throttled.hex() == EXCEPTION_HEX


def test_a_corrupt_frame_is_one(fetch: Fetch) -> None:
    data = frames.corrupt(frames.event("messageStart", {"role": "assistant"}, Random(0)))
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    with pytest.raises(Exception, match="Checksum mismatch"):
        next(buffer)


def test_every_event_is_padded_sorted_and_compact(fetch: Fetch) -> None:
    tool = {"name": "lookup", "inputSchema": {"json": {"type": "object"}}}
    data = fetch(SONNET_5, "Use lookup, grüße", toolConfig={"tools": [{"toolSpec": tool}]})
    for _, payload in decoded(data):
        event = json.loads(payload)
        assert ALPHABET.startswith(event["p"])
        assert 2 <= len(event["p"]) <= 61
        text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert payload == text.encode()


@pytest.mark.parametrize("model", [SONNET_5, NOVA, GPT_OSS, KIMI, JAMBA])
def test_order(fetch: Fetch, model: str) -> None:
    names = [name for name, _ in decoded(fetch(model, "Hello"))]
    assert names[0] == "messageStart"
    assert names[-2:] == ["messageStop", "metadata"]
    assert "contentBlockStart" not in names
    indexes = [
        json.loads(payload)["contentBlockIndex"]
        for name, payload in decoded(fetch(model, "Hello"))
        if name == "contentBlockStop"
    ]
    assert indexes == list(range(len(indexes)))


def test_fragments_are_small_and_whole() -> None:
    text = "Grüße aus Köln 🌍👩‍🚀 " * 40
    pieces = fragments(text, Random(1))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 27
    assert 2 <= statistics.median(map(len, pieces)) <= 27


def inputs(events: list[tuple[str, bytes]]) -> list[str]:
    deltas = [json.loads(payload).get("delta", {}) for _, payload in events]
    return [delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta]


def starts(events: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
    return [json.loads(p)["start"]["toolUse"] for n, p in events if n == "contentBlockStart"]


def test_tool_input_by_family(fetch: Fetch) -> None:
    schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
    tool = {"toolSpec": {"name": "lookup", "inputSchema": {"json": schema}}}
    members = {"toolConfig": {"tools": [tool]}}
    claude = decoded(fetch(SONNET_5, "Please lookup Byzantium", **members))
    assert inputs(claude)[0] == ""
    assert json.loads("".join(inputs(claude))) == {"word": "Byzantium"}
    assert starts(claude)[0]["type"] == "tool_use"
    assert len(starts(claude)[0]["toolUseId"]) == len("tooluse_") + 22
    nova = decoded(fetch(NOVA, "Please lookup Byzantium", **members))
    assert len(inputs(nova)) == 1
    assert "type" not in starts(nova)[0]
    kimi = decoded(fetch(KIMI, "Please lookup Byzantium", **members))
    assert starts(kimi)[0]["toolUseId"] == "functions.lookup:0"


def test_a_call_without_arguments(fetch: Fetch) -> None:
    tool = {"toolSpec": {"name": "refresh", "inputSchema": {"json": {"type": "object"}}}}
    members = {"toolConfig": {"tools": [tool]}}
    assert inputs(decoded(fetch(SONNET_5, "Please refresh", **members))) == [""]
    assert inputs(decoded(fetch(NOVA, "Please refresh", **members))) == ["{}"]


def test_empty_deltas_by_family(fetch: Fetch) -> None:
    def texts(model: str) -> list[Any]:
        deltas = [json.loads(p).get("delta", {}) for _, p in decoded(fetch(model, "Hello"))]
        return [delta.get("text") for delta in deltas if delta]

    assert texts(GPT_OSS)[0] == ""
    assert texts(NOVA)[-1] == ""
    assert texts(JAMBA)[-1] == ""
    assert "" not in texts(SONNET_5)


def test_cache_keys_only_in_play(fetch: Fetch) -> None:
    def usage(data: bytes) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(decoded(data)[-1][1])["usage"]
        return found

    assert set(usage(fetch(NOVA, "Hello"))) == {
        *("inputTokens", "outputTokens", "totalTokens", "serverToolUsage")
    }
    system = [{"text": "rule " * 2000}, {"cachePoint": {"type": "default"}}]
    written = usage(fetch(NOVA, "Hello", system=system))
    assert written["cacheWriteInputTokens"] == written["cacheWriteInputTokenCount"] == 2500
    assert written["totalTokens"] == (
        written["inputTokens"] + written["cacheWriteInputTokens"] + written["outputTokens"]
    )


def test_the_same_request_gets_the_same_bytes(fetch: Fetch) -> None:
    first, second = fetch(SONNET_5, "Hello"), fetch(SONNET_5, "Hello")
    assert decoded(first)[:-1] == decoded(second)[:-1]


def test_citations_and_server_tools(fetch: Fetch, runtime: Any) -> None:
    document = {
        "format": "txt",
        "name": "policy",
        "source": {"text": "Leave is 20 days. Ask first."},
        "citations": {"enabled": True},
    }
    content = [{"document": document}, {"text": "How many days?"}]
    messages = [{"role": "user", "content": content}]
    events = decoded(fetch(SONNET_5, "", messages=messages))
    cited = [json.loads(p) for _, p in events if b'"citation"' in p]
    assert cited[0]["delta"]["citation"]["location"]["documentChar"]["end"] == 18
    following = json.loads(events[[b'"citation"' in p for _, p in events].index(True) + 1][1])
    assert following["contentBlockIndex"] == cited[0]["contentBlockIndex"]
    answer = runtime.converse(modelId=SONNET_5, messages=messages)
    assert "citationsContent" in answer["output"]["message"]["content"][1]

    grounding = {"tools": [{"systemTool": {"name": "nova_grounding"}}]}
    nova = decoded(fetch("us.amazon.nova-2-lite-v1:0", "Search the web", toolConfig=grounding))
    begun = [json.loads(p)["start"] for n, p in nova if n == "contentBlockStart"]
    assert [next(iter(start)) for start in begun] == ["toolUse", "toolResult"]
    assert begun[0]["toolUse"]["type"] == "server_tool_use"
