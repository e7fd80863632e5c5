"""What the shell relies on: when the first byte goes out, what an error leaves behind, several
choices, heartbeats, what the metrics are told."""

from typing import Any

import openai
import orjson
import pytest

from proxy import sse
from proxy.converse.types import Event
from proxy.dialect import Translation
from proxy.errors import ProxyError
from proxy.openai.chat.from_converse import ChatCollector, ChatEncoder, end, render
from proxy.openai.chat.plan import Plan
from proxy.openai.chat.reasoning_replay import unpack
from proxy.openai.chat.replay_order import Replay
from proxy.openai.errors import error_event
from tests.openai.chat.captured import STAMP, Sdk, chunks, plain

START = ("messageStart", {"role": "assistant"})
STOP = ("messageStop", {"stopReason": "end_turn"})
METADATA = ("metadata", {"usage": {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}})


def text(value: str, index: int = 0) -> Event:
    return ("contentBlockDelta", {"contentBlockIndex": index, "delta": {"text": value}})


def call(name: str, index: int = 0) -> Event:
    use = {"name": name, "toolUseId": f"t{index}"}
    return ("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": use}})


def collected(events: list[Event]) -> bytes:
    collector = ChatCollector(asked(), STAMP, 0)
    collector.add(events)
    return render(asked(), STAMP, [collector])


def asked(choices: int = 1, **plan: Any) -> Translation:
    return Translation({}, "converse-stream", Plan(**plan), choices=choices)


def test_no_byte_goes_out_before_there_is_something_to_say() -> None:
    encoder = ChatEncoder(asked(), STAMP, 0)
    assert encoder.encode([START, text("")]) == b""
    assert not encoder.content
    assert encoder.encode([text("Hi")]).count(b"data: ") == 2
    assert encoder.content


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_a_malformed_answer_may_be_asked_for_once_more(reason: str) -> None:
    encoder = ChatEncoder(asked(), STAMP, 0)
    with pytest.raises(ProxyError) as caught:
        encoder.encode([START, ("messageStop", {"stopReason": reason})])
    assert (caught.value.status, caught.value.code, caught.value.retry) == (502, reason, "once")
    assert encoder.pending() == b""
    assert encoder.finish is None


def test_what_came_before_an_error_is_pending() -> None:
    encoder = ChatEncoder(asked(), STAMP, 0)
    bad = ("messageStop", {"stopReason": "malformed_tool_use"})
    with pytest.raises(ProxyError):
        encoder.encode([START, text("Hi"), bad])
    assert b'"Hi"' in encoder.pending()
    assert encoder.pending() == b""


def test_withheld_calls_alone_are_an_error_before_the_first_byte() -> None:
    encoder = ChatEncoder(asked(offered=frozenset({"known"})), STAMP, 0)
    thinking = {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm"}}}
    assert encoder.encode([START, ("contentBlockDelta", thinking)]) == b""
    with pytest.raises(ProxyError) as caught:
        encoder.encode([call("other", 1), STOP])
    assert (caught.value.code, caught.value.retry) == ("only_withheld_calls", "once")
    assert encoder.pending() == b""


def test_a_heartbeat_begins_the_answer_and_frees_what_waited() -> None:
    encoder = ChatEncoder(asked(offered=frozenset()), STAMP, 0)
    thinking = {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm"}}}
    encoder.encode([START, ("contentBlockDelta", thinking)])
    deltas = [c["choices"][0]["delta"] for c in chunks(encoder.heartbeat())]
    assert deltas == [{"role": "assistant", "content": ""}, {"reasoning_content": "Hm"}]
    (beat,) = chunks(encoder.heartbeat())
    assert beat["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}]
    encoder.encode([text("A"), STOP])
    assert encoder.heartbeat() == sse.PING


def test_the_finish_chunk_waits_only_where_something_stands_on_it() -> None:
    at_once = ChatEncoder(asked(), STAMP, 0)
    assert b'"finish_reason":"stop"' in at_once.encode([START, text("A"), STOP])
    assert at_once.encode([METADATA]) + at_once.finish_stream() == b""
    waits = ChatEncoder(asked(usage_on_finish=True), STAMP, 0)
    assert b'"finish_reason":"stop"' not in waits.encode([START, text("A"), STOP])
    assert b'"total_tokens":7' in waits.encode([METADATA])
    assert waits.finish_stream() == b""


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"contentBlockIndex": 0},
        {"contentBlockIndex": 0, "delta": None},
        {"contentBlockIndex": 0, "delta": []},
        {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}},
        {"contentBlockIndex": 0, "delta": {"image": {"source": {"bytes": "QQ=="}}}},
        {"contentBlockIndex": 0, "delta": {"reasoningContent": "Hm"}},
        {"contentBlockIndex": 0, "delta": {"reasoningContent": {"picture": "Hm"}}},
        {"contentBlockIndex": 0, "delta": {"text": 3}},
    ],
)
def test_an_event_of_an_unknown_shape_is_a_typed_error(body: dict[str, Any]) -> None:
    for plan in ({}, {"stop": ("END",)}):
        encoder = ChatEncoder(asked(**plan), STAMP, 0)
        with pytest.raises(ProxyError) as caught:
            encoder.encode([START, text("A"), text("B"), ("contentBlockDelta", body)])
        assert caught.value.status == 502
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks(encoder.pending())]
        assert deltas[1:] == [{"content": "A"}, {"content": "B"}]


@pytest.mark.parametrize(
    "event",
    [
        ("contentBlockStart", {"toolUse": {"toolUseId": "t1", "name": None}}),
        ("contentBlockStart", {"toolUse": {"toolUseId": "t1", "name": 5}}),
        ("contentBlockStart", {"toolUse": {"toolUseId": ["t1"], "name": "f"}}),
        ("contentBlockStart", {"text": {"text": "Hi"}}),
        ("messageStop", None),
        ("messageStop", 3),
    ],
)
def test_a_name_an_id_and_a_reason_are_text(event: tuple[str, Any]) -> None:
    """Without a schema's tool there is none whose name could be ``null``: it is no answer of it."""
    kind, value = event
    body = {"stopReason": value} if kind == STOP[0] else {"contentBlockIndex": 0, "start": value}
    events = [START, (kind, body), STOP]
    with pytest.raises(ProxyError) as streamed:
        ChatEncoder(asked(), STAMP, 0).encode(events)
    with pytest.raises(ProxyError) as whole:
        collected(events)
    assert streamed.value.status == whole.value.status == 502
    assert streamed.value.code == whole.value.code == "upstream_protocol_error"


def test_a_start_is_read_as_its_kind_of_delta() -> None:
    """Made: recorded starts are those of calls and server tools. Others say nothing, or what they
    say counts."""

    def begins(index: int, start: Any) -> Event:
        return ("contentBlockStart", {"contentBlockIndex": index, "start": start})

    collector = ChatCollector(asked(family="claude"), STAMP, 0)
    redacted = begins(0, {"reasoningContent": {"redactedContent": "QQ=="}})
    quiet = (begins(1, start) for start in ({"text": {}}, {"text": None}, {"reasoningContent": {}}))
    collector.add([START, redacted, *quiet, text("A", 1), STOP])
    message = collector.choice()["message"]
    assert message["content"] == "A"
    (entry,) = message["reasoning_details"]
    _, told = unpack(entry["data"]) or ("", Replay())
    assert told.blocks == [{"reasoningContent": {"redactedContent": "QQ=="}}]


@pytest.mark.parametrize(
    "delta",
    [
        {"text": ["Hi"]},
        {"text": {"a": 1}},
        {"toolUse": {"input": {"city": "Oslo"}}},
        {"reasoningContent": {"text": ["Hm"]}},
    ],
)
def test_a_fragment_that_is_no_text_is_a_typed_error(delta: dict[str, Any]) -> None:
    events = [
        START,
        call("f"),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}),
    ]
    with pytest.raises(ProxyError) as streamed:
        ChatEncoder(asked(), STAMP, 0).encode([*events, STOP])
    with pytest.raises(ProxyError) as whole:
        collected([*events, STOP])
    assert streamed.value.status == whole.value.status == 502
    assert streamed.value.code == whole.value.code == "upstream_protocol_error"


def test_an_answer_that_never_stopped_is_not_passed_off_as_one() -> None:
    encoder = ChatEncoder(asked(), STAMP, 0)
    encoder.encode([START, text("So far")])
    with pytest.raises(ProxyError, match="never stopped"):
        encoder.finish_stream()
    collector = ChatCollector(asked(), STAMP, 0)
    collector.add([START, text("So far")])
    with pytest.raises(ProxyError, match="never stopped"):
        render(asked(), STAMP, [collector])


def test_metrics_are_told_what_bedrock_counted() -> None:
    collector = ChatCollector(asked(), STAMP, 0)
    collector.add([START, text("A"), STOP, METADATA])
    assert (collector.finish, collector.content) == ("stop", True)
    assert collector.usage == {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}


def test_several_choices_share_one_stream_and_one_usage() -> None:
    translation = asked(choices=3, include_usage=True)
    encoders = [ChatEncoder(translation, STAMP, index) for index in range(3)]
    out = encoders[0].encode([START])
    # Later choices may overtake one another; the first speaks the roles of all.
    out += encoders[2].encode([START, text("third")])
    out += encoders[1].encode([START, text("second"), STOP, METADATA])
    out += encoders[0].encode([text("first"), STOP, METADATA])
    out += encoders[2].encode([STOP, METADATA]) + encoders[2].heartbeat()
    out += b"".join(encoder.finish_stream() for encoder in encoders)
    out += end(translation, STAMP, [encoder.usage for encoder in encoders])

    roles = [c["choices"][0]["index"] for c in chunks(out) if "role" in _delta(c)]
    assert roles == [0, 1, 2]
    sdk = Sdk()
    folded = sdk.fold(out)
    sdk.client.close()
    assert [c["message"]["content"] for c in folded["choices"]] == ["first", "second", "third"]
    assert folded["usage"]["total_tokens"] == 21

    collectors = [ChatCollector(translation, STAMP, index) for index in range(3)]
    for collector, word in zip(collectors, ("first", "second", "third"), strict=True):
        collector.add([START, text(word), STOP, METADATA])
    answer = orjson.loads(render(translation, STAMP, collectors))
    assert plain(answer) == plain(folded)
    assert answer["usage"] == folded["usage"]


def _delta(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk["choices"]
    return choices[0]["delta"] if choices else {}


def test_the_packed_reasoning_is_what_bedrock_sent() -> None:
    collector = ChatCollector(asked(family="claude"), STAMP, 0)
    parts = ({"text": "Th"}, {"text": "ink."}, {"signature": "c2ln"})
    collector.add([START])
    for part in parts:
        body = {"contentBlockIndex": 0, "delta": {"reasoningContent": part}}
        collector.add([("contentBlockDelta", body)])
    redacted = {"contentBlockIndex": 1, "delta": {"reasoningContent": {"redactedContent": "QQ=="}}}
    collector.add([("contentBlockDelta", redacted), call("f", 2), STOP])
    (entry,) = collector.choice()["message"]["reasoning_details"]
    assert entry["id"] == "t2"
    family, told = unpack(entry["data"]) or ("", Replay())
    assert family == "claude"
    assert told.blocks == [
        {"reasoningContent": {"reasoningText": {"text": "Think.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "QQ=="}},
    ]


def test_the_sdk_raises_on_an_error_in_the_stream() -> None:
    encoder = ChatEncoder(asked(), STAMP, 0)
    out = encoder.encode([START, text("So far")])
    out += error_event(ProxyError(502, "It broke.", code="upstream_truncated"))
    sdk = Sdk()
    with pytest.raises(openai.APIError, match="It broke") as caught:
        sdk.fold(out)
    sdk.client.close()
    assert caught.value.code == "upstream_truncated"
