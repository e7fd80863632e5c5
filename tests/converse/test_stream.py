"""A ConverseStream ends whole or with exactly one failure, wherever it is cut or broken.

Frames here are made; the recorded streams are read where the captures are present.
"""

import json
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from proxy.converse.eventstream import parse_headers
from proxy.converse.stream import _USUAL, CONTENT_TYPE, ConverseStream
from proxy.converse.types import Event
from proxy.errors import ProxyError

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"


def frame(headers: dict[str, str], payload: bytes = b"") -> bytes:
    block = b"".join(
        bytes([len(name)])
        + name.encode()
        + b"\x07"
        + struct.pack(">H", len(value))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", len(block) + len(payload) + 16, len(block))
    body = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return body + struct.pack(">I", crc32(body))


def event(kind: str, body: Any = None, *, raw: bytes | None = None) -> bytes:
    payload = raw if raw is not None else json.dumps({} if body is None else body).encode()
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, payload)


def exception(name: str, body: Any) -> bytes:
    headers = {":exception-type": name, ":message-type": "exception"}
    return frame(headers, json.dumps(body).encode())


STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("messageStart", {"p": "ab", "role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}, "p": "abc"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": " 😀"}, "p": "a"}),
    ("contentBlockStop", {"contentBlockIndex": 0, "p": "abcd"}),
    ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"name": "f"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}),
    ("contentBlockStop", {"contentBlockIndex": 1}),
    ("messageStop", {"p": "abc", "stopReason": "tool_use"}),
    ("metadata", {"metrics": {"latencyMs": 5}, "usage": {"inputTokens": 1, "outputTokens": 2}}),
)
FRAMES = tuple(event(kind, body) for kind, body in STEPS)
STOP = 7  # position of messageStop
WHOLE = b"".join(FRAMES)

EXCEPTIONS = (
    ("throttlingException", 429, "rate_limit_exceeded"),
    ("validationException", 400, "invalid_value"),
    ("internalServerException", 500, "internal_error"),
    ("serviceUnavailableException", 503, "service_unavailable"),
    ("modelStreamErrorException", 502, "model_error"),
    ("modelTimeoutException", 504, "model_timeout"),
    ("somethingNewException", 500, "internal_error"),
)


def read(data: bytes) -> tuple[list[Event], ConverseStream, ProxyError | None]:
    stream = ConverseStream()
    events = stream.receive(data)
    return events, stream, stream.close()


def failure_of(data: bytes) -> ProxyError:
    _, _, failure = read(data)
    assert failure is not None
    return failure


# ---- whole ------------------------------------------------------------------------------------


def test_whole_stream() -> None:
    events, stream, failure = read(WHOLE)
    assert failure is None
    assert events == list(STEPS)
    assert (stream.stopped, stream.ended) == (True, True)


def test_content_type() -> None:
    assert CONTENT_TYPE == "application/vnd.amazon.eventstream"


def test_every_split_and_byte_by_byte() -> None:
    expected, _, _ = read(WHOLE)
    for cut in range(len(WHOLE) + 1):
        stream = ConverseStream()
        events = stream.receive(WHOLE[:cut]) + stream.receive(WHOLE[cut:])
        assert (events, stream.close()) == (expected, None)
    stream = ConverseStream()
    events = [e for at in range(len(WHOLE)) for e in stream.receive(WHOLE[at : at + 1])]
    assert (events, stream.close()) == (expected, None)


def test_whole_without_metadata() -> None:
    """``messageStop`` makes an answer whole; the usage is then unknown, no failure."""
    _, stream, failure = read(b"".join(FRAMES[: STOP + 1]))
    assert failure is None
    assert (stream.stopped, stream.ended) == (True, False)


def test_metadata_before_the_end_does_not_end_it() -> None:
    """Never recorded; a reader that stops at ``ended`` must not miss the rest."""
    stream = ConverseStream()
    stream.receive(FRAMES[0] + FRAMES[-1])
    assert (stream.stopped, stream.ended) == (False, False)
    stream.receive(FRAMES[STOP])
    assert (stream.stopped, stream.failure) == (True, None)


def test_flags_follow_the_events() -> None:
    stream = ConverseStream()
    for position, piece in enumerate(FRAMES):
        stream.receive(piece)
        assert stream.stopped is (position >= STOP)
        assert stream.ended is (position > STOP)
        assert stream.failure is None


@pytest.mark.parametrize("position", range(len(FRAMES)))
def test_unknown_event_types_are_passed_on(position: int) -> None:
    data = b"".join((*FRAMES[:position], event("novelty", {"a": 1}), *FRAMES[position:]))
    events, _, failure = read(data)
    assert failure is None
    assert events[position] == ("novelty", {"a": 1})
    assert len(events) == len(FRAMES) + 1


def test_empty_payload_is_an_empty_body() -> None:
    events, _, failure = read(event("messageStart", raw=b"") + FRAMES[STOP])
    assert (events[0], failure) == (("messageStart", {}), None)


def test_duplicate_keys_the_last_wins() -> None:
    events, _, _ = read(event("messageStart", raw=b'{"role":"user","role":"assistant"}'))
    assert events[0][1] == {"role": "assistant"}


# ---- truncated --------------------------------------------------------------------------------


def test_empty_stream() -> None:
    failure = failure_of(b"")
    assert (failure.status, failure.code, failure.retry) == (502, "upstream_truncated", "transient")


@pytest.mark.parametrize("count", range(len(FRAMES)))
def test_cut_after_each_message(count: int) -> None:
    events, _, failure = read(b"".join(FRAMES[:count]))
    assert len(events) == count
    if count > STOP:
        assert failure is None
    else:
        assert failure is not None
        assert failure.code == "upstream_truncated"


def test_cut_in_mid_frame_at_every_byte() -> None:
    borders = {sum(map(len, FRAMES[:count])): count for count in range(len(FRAMES) + 1)}
    delivered = 0
    for cut in range(len(WHOLE)):
        delivered = borders.get(cut, delivered)
        events, _, failure = read(WHOLE[:cut])
        assert len(events) == delivered
        if cut in borders and delivered > STOP:
            assert failure is None
        else:  # also a half metadata message after messageStop: something was being said
            assert failure is not None
            assert failure.code == "upstream_truncated", cut


def test_close_is_final_and_says_the_same_again() -> None:
    stream = ConverseStream()
    stream.receive(FRAMES[0])
    failure = stream.close()
    assert failure is not None
    assert stream.close() is failure is stream.failure
    assert stream.receive(WHOLE) == []
    assert stream.close() is failure


def test_close_keeps_an_earlier_failure() -> None:
    stream = ConverseStream()
    stream.receive(exception("throttlingException", {"message": "slow"}))
    failure = stream.failure
    assert failure is not None
    assert stream.close() is failure


# ---- exceptions -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status", "code"), EXCEPTIONS)
@pytest.mark.parametrize("position", range(len(FRAMES)))
def test_each_exception_at_each_position(name: str, status: int, code: str, position: int) -> None:
    """Events before it, in the same read, are delivered; none after it."""
    data = b"".join((*FRAMES[:position], exception(name, {"message": "m"}), *FRAMES[position:]))
    events, _, failure = read(data)
    assert events == list(STEPS[:position])
    assert failure is not None
    assert (failure.status, failure.code) == (status, code)
    assert failure.reason == name[0].upper() + name[1:]
    assert "m" in failure.message


@pytest.mark.parametrize(("name", "status", "code"), EXCEPTIONS)
def test_exception_framed_as_an_event(name: str, status: int, code: str) -> None:
    """botocore makes an empty event of it, in silence."""
    failure = failure_of(FRAMES[0] + event(name, {"message": "m"}))
    assert (failure.status, failure.code) == (status, code)


def test_event_with_an_exception_type_only() -> None:
    message = frame(
        {":message-type": "event", ":exception-type": "throttlingException"}, b'{"message":"m"}'
    )
    assert failure_of(message).status == 429


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"Message": "capital"}, 502, "capital"),
        ({"originalMessage": "the model's own"}, 502, "the model's own"),
        ({"message": "bad", "originalStatusCode": 400}, 400, "bad"),
        ({"message": "busy", "originalStatusCode": 429}, 429, "busy"),
        ({"message": "down", "originalStatusCode": 500}, 502, "down"),
        ({"message": "x", "originalStatusCode": "400"}, 502, "x"),
        ({}, 502, "Bedrock reported an error."),
        ([], 502, "Bedrock reported an error."),
        ("text", 502, "Bedrock reported an error."),
        ({"message": {"a": 1}}, 502, "Bedrock reported an error."),
    ],
)
def test_body_of_a_model_stream_error(body: Any, status: int, text: str) -> None:
    failure = failure_of(exception("modelStreamErrorException", body))
    assert failure.status == status
    assert text in failure.message


@pytest.mark.parametrize("payload", [b"", b"not json", b"\xff", b"null"])
def test_exception_without_a_readable_body(payload: bytes) -> None:
    headers = {":exception-type": "throttlingException", ":message-type": "exception"}
    assert failure_of(frame(headers, payload)).status == 429


def test_context_overflow_as_an_exception_message() -> None:
    body = {"message": "Input is too long for requested model."}
    failure = failure_of(exception("validationException", body))
    assert (failure.status, failure.code) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({":error-code": "InternalError", ":error-message": "broke"}, 500, "broke"),
        ({":error-code": "ThrottlingException", ":error-message": "slow"}, 429, "slow"),
        ({":error-code": "ServiceUnavailable"}, 503, "Bedrock reported an error."),
        ({":error-code": "WhoKnows", ":error-message": "hm"}, 500, "hm"),
        ({":error-message": "no code"}, 500, "no code"),
        ({}, 500, "Bedrock reported an error."),
    ],
)
@pytest.mark.parametrize("position", [0, 3, STOP, STOP + 1])
def test_error_message(headers: dict[str, str], status: int, text: str, position: int) -> None:
    error = frame({":message-type": "error", **headers})
    events, _, failure = read(b"".join(FRAMES[:position]) + error)
    assert len(events) == position
    assert failure is not None
    assert failure.status == status
    assert text in failure.message


def test_absent_message_type_is_an_event() -> None:
    """As botocore takes it (a hand-written capture is framed so)."""
    events, _, _ = read(frame({":event-type": "messageStart"}, b'{"role":"assistant"}'))
    assert events == [("messageStart", {"role": "assistant"})]
    assert failure_of(frame({":exception-type": "throttlingException"}, b"{}")).status == 429


# ---- not Bedrock's protocol -------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {":message-type": "event"},
        {":message-type": "exception"},
        {":message-type": "novelty", ":event-type": "messageStart"},
        {":message-type": "", ":event-type": "messageStart"},
    ],
)
def test_unknown_message_types(headers: dict[str, str]) -> None:
    events, _, failure = read(FRAMES[0] + frame(headers, b"{}") + WHOLE)
    assert len(events) == 1
    assert failure is not None
    assert (failure.status, failure.code) == (502, "upstream_protocol_error")


@pytest.mark.parametrize(
    "payload",
    [b"[]", b'"x"', b"null", b"1", b"{", b"\xff\xfe", b"{} {}", b"NaN", b"[" * 5_000, b"<html>"],
)
@pytest.mark.parametrize("kind", ["contentBlockDelta", "messageStop", "metadata", "novelty"])
def test_payload_that_is_no_object(kind: str, payload: bytes) -> None:
    events, stream, failure = read(FRAMES[0] + event(kind, raw=payload) + WHOLE)
    assert len(events) == 1
    assert failure is not None
    assert (failure.code, failure.retry) == ("upstream_protocol_error", "never")
    assert kind in failure.message
    assert not stream.stopped


@pytest.mark.parametrize("position", range(STOP + 1))
def test_content_after_the_end_of_the_message(position: int) -> None:
    kind = STEPS[position][0]
    events, _, failure = read(b"".join((*FRAMES[: STOP + 1], FRAMES[position])))
    assert len(events) == STOP + 1
    assert failure is not None
    assert failure.code == "upstream_protocol_error"
    assert kind in failure.message


@pytest.mark.parametrize(
    "more",
    [
        exception("throttlingException", {"message": "m"}),
        event("metadata", {"usage": {"inputTokens": 9, "outputTokens": 9}}),
        event("novelty", {"a": 1}),
        FRAMES[1],
        b"garbage that is no frame",
        FRAMES[1][:-3],
    ],
)
def test_what_follows_a_whole_answer_is_not_looked_at(more: bytes) -> None:
    """Whoever reads stops here, so it must not matter whether it came in the same read."""
    for pieces in ((WHOLE + more,), (WHOLE, more), (WHOLE[:-1], WHOLE[-1:] + more)):
        stream = ConverseStream()
        events = [event for piece in pieces for event in stream.receive(piece)]
        assert events == list(STEPS)
        assert stream.close() is None


# ---- corrupt ----------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(len(FRAMES)))
def test_bad_checksum_at_each_message(position: int) -> None:
    broken = bytearray(FRAMES[position])
    broken[-1] ^= 1
    data = b"".join((*FRAMES[:position], bytes(broken), *FRAMES[position + 1 :]))
    events, _, failure = read(data)
    assert len(events) == position
    assert failure is not None
    assert (failure.status, failure.code, failure.retry) == (502, "upstream_corrupt", "transient")


def test_after_a_failure_nothing_is_read() -> None:
    stream = ConverseStream()
    assert stream.receive(b"<html>garbage</html>") == []
    failure = stream.failure
    assert failure is not None
    assert failure.code == "upstream_corrupt"
    assert stream.receive(WHOLE) == []
    assert stream.failure is failure


def test_event_over_the_limit() -> None:
    stream = ConverseStream(max_payload=10)
    stream.receive(FRAMES[0])
    assert stream.failure is not None
    assert "over the limit" in stream.failure.message


def test_one_megabyte_event() -> None:
    text = "x" * 1_000_000 + "😀"
    delta = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})
    stream = ConverseStream()
    events = [e for at in range(0, len(delta), 1000) for e in stream.receive(delta[at : at + 1000])]
    assert [body["delta"]["text"] for _, body in events] == [text]


# ---- recorded ---------------------------------------------------------------------------------


def test_recorded_streams_read_whole() -> None:
    exchanges = sorted(CAPTURES.glob("*/*.json"))
    if not exchanges:
        pytest.skip("the recorded captures are not beside this checkout")
    count = 0
    for path in exchanges:
        exchange = json.loads(path.read_text())
        body = path.with_suffix(".bin")
        if exchange["operation"] != "ConverseStream" or not body.exists():
            continue
        events, stream, failure = read(body.read_bytes())
        assert failure is None, path
        assert (stream.stopped, stream.ended) == (True, True), path
        assert len(events) == exchange["response"]["frames"], path
        assert [kind for kind, _ in events][-2:] == ["messageStop", "metadata"], path
        count += 1
    assert count >= 70


def test_streams_of_another_operation_are_no_answer() -> None:
    """InvokeModel's chunks are unknown events; without ``messageStop`` nothing is whole."""
    failure = failure_of(event("chunk", {"bytes": "e30="}))
    assert failure.code == "upstream_truncated"


def test_usual_header_blocks_are_what_they_would_be_parsed_to() -> None:
    assert len(_USUAL) == 6
    for block, headers in _USUAL.items():
        assert parse_headers(block) == headers


@pytest.mark.parametrize("after_stop", [False, True])
@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"1", b"null", b'"x"', b"{}", b'{"delta":{"text":"a"}}', b"\xff", b"\0"],
)
def test_the_short_way_for_deltas_says_what_the_general_one_says(
    payload: bytes, after_stop: bool
) -> None:
    """The same headers in another order are no usual block, and go the general way."""
    headers = {":content-type": "application/json", ":event-type": "contentBlockDelta"}
    general = frame({**headers, ":message-type": "event"}, payload)
    usual = event("contentBlockDelta", raw=payload)
    assert len(general) == len(usual)
    before = FRAMES[0] + (FRAMES[STOP] if after_stop else b"")
    (found, _, fault), (expected, _, same) = (read(before + one) for one in (usual, general))
    assert found == expected
    assert repr(fault) == repr(same)
