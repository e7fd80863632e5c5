"""Chat's bytes seen as completions: what is shown, what is skipped, what stays on one line."""

import json
from dataclasses import replace

import orjson
import pytest

from proxy.catalog.model import Model, Traits
from proxy.dialect import Options, Stamp
from proxy.openai.chat.api import CHAT
from proxy.openai.completions.api import completions
from proxy.openai.completions.view import StreamView, whole

STAMP = Stamp("abc", 1_790_000_000, "m")
OURS = completions(CHAT)
EVENTS = (
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "one\u2028two"}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    (
        "metadata",
        {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, "metrics": {}},
    ),
)


def stream(**body: object) -> bytes:
    request = OURS.parse(orjson.dumps({"model": "m", "prompt": "p", "stream": True, **body}), {})
    translation = OURS.translate(request, Model("m", "m", "m", "m", Traits()), Options())
    encoder = OURS.encoder(translation, STAMP, 0)
    data = b"".join(encoder.encode((event,)) for event in EVENTS) + encoder.finish_stream()
    assert encoder.usage is not None
    assert (encoder.finish, encoder.content) == ("stop", True)
    return data + OURS.end(translation, STAMP, [encoder.usage])


def frames(data: bytes) -> list[dict[str, object]]:
    lines = data.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def test_the_whole_stream_byte_for_byte() -> None:
    head = b'data: {"id":"cmpl-abc","object":"text_completion","created":1790000000,"model":"m",'
    said, finish, done, _ = stream().split(b"\n\n")
    choice = b'"choices":[{"text":%b,"index":0,"logprobs":null,"finish_reason":%b}]}'
    assert said == head + choice % (rb'"one\u2028two"', b"null")
    assert finish == head + choice % (b'""', b'"stop"')
    assert done == b"data: [DONE]"


def test_usage_in_the_stream_as_chat_has_it() -> None:
    *chunks, usage = frames(stream(stream_options={"include_usage": True}))
    assert all(chunk["usage"] is None for chunk in chunks)
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 5  # type: ignore[index]


def test_the_echo_goes_first_and_once() -> None:
    texts = [chunk["choices"][0]["text"] for chunk in frames(stream(echo=True))]  # type: ignore[index]
    assert texts == ["p", "one\u2028two", ""]


def test_a_heartbeat_is_a_chunk_and_keeps_the_echo() -> None:
    request = OURS.parse(b'{"model":"m","prompt":"p","echo":true,"stream":true}', {})
    translation = OURS.translate(request, Model("m", "m", "m", "m", Traits()), Options())
    encoder = OURS.encoder(translation, STAMP, 0)
    texts = [
        frames(encoder.heartbeat())[0]["choices"][0]["text"]  # type: ignore[index]
        for _ in range(2)
    ]
    assert texts == ["p", ""]


def test_pings_and_the_end_mark_pass() -> None:
    assert StreamView(0, "").see(b": ping\n\ndata: [DONE]\n\n") == b": ping\n\ndata: [DONE]\n\n"
    assert StreamView(0, "").see(b"") == b""


def test_what_stands_on_a_choice_beyond_openai_s_members_stays() -> None:
    completion = {
        "id": "chatcmpl-1", "object": "chat.completion", "model": "m",
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": None, "stop_sequence": "END",
            "message": {"role": "assistant", "content": None, "reasoning_content": "hm"},
        }],
        "usage": None, "service_tier": "flex",
    }  # fmt: skip
    shown = json.loads(whole(orjson.dumps(completion), ["p"]))
    assert shown["service_tier"] == "flex"
    assert shown["choices"] == [
        {
            "text": "p", "index": 0, "logprobs": None, "finish_reason": "stop",
            "reasoning_content": "hm", "stop_sequence": "END",
        }
    ]  # fmt: skip


def test_a_price_reaches_usage_streamed_or_whole() -> None:
    body = {"model": "m", "prompt": ["a", "b"], "stream_options": {"include_usage": True}}
    request = OURS.parse(orjson.dumps(body), {})
    translation = OURS.translate(request, Model("m", "m", "m", "m", Traits()), Options())
    assert translation.again is None
    priced = replace(translation, price={"input": 1e6, "output": 0.0})
    collectors = [OURS.collector(priced, STAMP, index) for index in range(2)]
    for one in collectors:
        one.add(EVENTS)
    usage = json.loads(OURS.render(priced, STAMP, collectors))["usage"]
    assert (usage["prompt_tokens"], usage["cost"]) == (6, 6.0)
    [last] = frames(OURS.end(priced, STAMP, [one.usage for one in collectors]))
    assert last["usage"]["cost"] == 6.0  # type: ignore[index]


@pytest.mark.parametrize("sent", [{}, {"max_tokens": None}])
def test_openai_s_default_length(sent: dict[str, None]) -> None:
    request = OURS.parse(orjson.dumps({"model": "m", "prompt": "p", **sent}), {})
    translation = OURS.translate(request, Model("m", "m", "m", "m", Traits()), Options())
    assert translation.body["inferenceConfig"]["maxTokens"] == 16
    assert translation.notes == ("max_tokens:default",)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_length_under_either_name_is_no_default(name: str) -> None:
    request = OURS.parse(orjson.dumps({"model": "m", "prompt": "p", name: 9}), {})
    translation = OURS.translate(request, Model("m", "m", "m", "m", Traits()), Options())
    assert translation.body["inferenceConfig"]["maxTokens"] == 9
    assert translation.notes == ()


def test_bedrock_s_own_members_and_headers_reach_the_call() -> None:
    body = {
        "model": "m", "prompt": "p", "max_tokens": 5,
        "extra_body": {"additionalModelRequestFields": {"k": 1}},
    }  # fmt: skip
    headers = {"x-amzn-bedrock-service-tier": "flex"}
    request = OURS.parse(orjson.dumps(body), headers)
    converse = OURS.translate(request, Model("m", "m", "m", "m", Traits()), Options()).body
    assert converse["additionalModelRequestFields"] == {"k": 1}
    assert converse["serviceTier"] == {"type": "flex"}
    assert converse["messages"] == [{"role": "user", "content": [{"text": "p"}]}]
