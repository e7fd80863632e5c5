"""What the client is told when Bedrock fails: a true status before the first event, an error inside
the stream after it, and never a finish or an end mark that was not earned."""

import socketserver
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from proxy.simulator import frames
from tests.relay.answers import EVENTS, GOOD, ask, event, question
from tests.support.raw_upstream import (
    STREAM_HEAD,
    Line,
    RawUpstream,
    Script,
    chunked,
    json_answer,
    sending,
    stream_answer,
)
from tests.support.running import Running, serving

FAST: dict[str, object] = {"stall_timeout": 0.5, "first_byte_timeout": 0.8, "grace": 30}


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream(sending(GOOD)) as one:
        yield one
        assert one.faults == []


@pytest.fixture
def proxy(upstream: RawUpstream) -> Iterator[Running]:
    with serving(upstream.url, settings=FAST) as one:
        yield one


def ending(data: bytes) -> Script:
    """Send these bytes, then close."""

    async def script(line: Line) -> None:
        await line.send(data)
        line.writer.close()

    return script


def test_a_good_answer(proxy: Running, upstream: RawUpstream) -> None:
    told = ask(proxy)
    assert (told.status, told.content, told.finishes, told.done) == (
        200,
        "Hello, sea",
        ["stop"],
        True,
    )
    assert told.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert told.headers["x-accel-buffering"] == "no"
    assert told.headers["x-amzn-requestid"] == "up-1"
    assert "no-cache" in told.headers["cache-control"]
    [call] = upstream.calls()
    assert call.path == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"
    assert call.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("stream", [True, False])
def test_every_truncation_is_an_error(upstream: RawUpstream, stream: bool) -> None:
    """Cut after each chunk of HTTP, by a clean end of the connection and by a clean end of HTTP."""
    with serving(upstream.url, settings=FAST) as proxy:
        for count in range(len(EVENTS)):
            body = STREAM_HEAD + b"".join(map(chunked, EVENTS[:count]))
            for end in (b"", b"0\r\n\r\n", chunked(EVENTS[count][:-3]) + b"0\r\n\r\n"):
                upstream.scripts = [ending(body + end)]
                told = ask(proxy, stream=stream)
                whole = count == 5  # messageStop was there, only the usage is lost
                if whole and end == b"0\r\n\r\n":
                    assert told.status == 200
                    continue
                assert told.error["code"] == "upstream_truncated", (count, end)
                assert not told.done
                assert told.status == (200 if stream and count > 1 else 502)
                assert told.error.keys() == {"message", "type", "param", "code"}


def test_a_corrupt_frame_anywhere_is_never_delivered(proxy: Running, upstream: RawUpstream) -> None:
    for place in range(len(EVENTS)):
        broken = bytearray(EVENTS[place])
        broken[-8] ^= 1
        data = [*EVENTS[:place], bytes(broken), *EVENTS[place + 1 :]]
        upstream.scripts = [sending(stream_answer(*data))]
        told = ask(proxy)
        assert told.error["code"] == "upstream_corrupt", place
        assert not told.done
        assert told.status == (200 if place > 1 else 502)


@pytest.mark.parametrize(
    ("exception", "status", "code"),
    [
        ("throttlingException", 429, "rate_limit_exceeded"),
        ("internalServerException", 500, "internal_error"),
        ("modelStreamErrorException", 502, "model_error"),
        ("serviceUnavailableException", 503, "service_unavailable"),
        ("validationException", 400, "invalid_value"),
    ],
)
def test_exceptions_at_each_position(
    proxy: Running, upstream: RawUpstream, exception: str, status: int, code: str
) -> None:
    for place in range(len(EVENTS) - 1):
        failing = frames.exception(exception, {"message": "because"})
        upstream.scripts = [sending(stream_answer(*EVENTS[:place], failing))]
        told = ask(proxy)
        assert told.error["code"] == code
        assert told.status == (200 if place > 1 else status)  # nothing was said before
        assert not told.done
        assert told.content == ("", "", "Hello", "Hello, sea", "Hello, sea")[place]
        assert ("retry-after" in told.headers) == (place < 2 and status in {429})


def test_what_comes_before_a_fault_is_delivered(proxy: Running, upstream: RawUpstream) -> None:
    """All in one read: two events, then garbage."""
    body = b"".join(EVENTS[:2]) + b"\x00" * 40
    upstream.scripts = [sending(STREAM_HEAD + chunked(body) + b"0\r\n\r\n")]
    told = ask(proxy)
    assert told.content == "Hello"
    assert told.error["code"] == "upstream_corrupt"
    assert told.finishes == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
         502, "upstream_protocol_error"),
        (json_answer("200 OK", b'{"message":"x"}'), 502, "upstream_protocol_error"),
        (json_answer("307 Temporary Redirect", b"", b"location: http://127.0.0.1:1/"),
         502, "upstream_protocol_error"),
        (b"this is not HTTP at all\r\n\r\n", 502, "upstream_protocol_error"),
        (json_answer("400 Bad Request", b'{"message":"prompt is too long: 9 > 8"}',
                     b"x-amzn-errortype: ValidationException:http://x/"),
         400, "context_length_exceeded"),
        (json_answer("403 Forbidden", b'{"message":"You don\'t have access to the model"}',
                     b"x-amzn-errortype: AccessDeniedException:http://x/"),
         403, "model_access_denied"),
        (json_answer("429 Too Many Requests", b'{"message":"Too many tokens"}',
                     b"x-amzn-errortype: ThrottlingException:http://x/", b"retry-after: 30"),
         429, "rate_limit_exceeded"),
        (b"HTTP/1.1 503 X\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<secret-lb/>.",
         503, "service_unavailable"),
        (json_answer("429 X", b'{"message":"m"}', b"retry-after: 30")[:-9],
         429, "rate_limit_exceeded"),
        (json_answer("413 X", b'{"message":"m"}')[:-9], 413, "request_too_large"),
        (json_answer("400 X", b'{"message":"' + b"m" * 2_000_000 + b'"}'), 400, "invalid_value"),
    ],
)  # fmt: skip
def test_refusals_before_the_first_event_are_statuses(
    proxy: Running, upstream: RawUpstream, answer: bytes, status: int, code: str, stream: bool
) -> None:
    upstream.scripts = [ending(answer)]
    told = ask(proxy, stream=stream)
    assert (told.status, told.error["code"]) == (status, code)
    assert told.error.keys() == {"message", "type", "param", "code"}
    assert "secret-lb" not in told.text
    assert told.headers["x-request-id"]
    if status == 429:
        assert told.headers["retry-after"] == "30"
        assert "too many tokens" not in told.error["message"].lower()
        assert len(upstream.calls()) == 1  # a wait that long is the client's


def test_silence_before_the_first_event_is_a_504(proxy: Running, upstream: RawUpstream) -> None:
    async def silent(line: Line) -> None:
        await line.until_closed()

    upstream.scripts = [silent]
    began = time.monotonic()
    told = ask(proxy)
    assert (told.status, told.error["code"]) == (504, "upstream_timeout")
    assert 0.7 < time.monotonic() - began < 10
    assert len(upstream.calls()) == 1  # the model may have begun: asking again would bill twice


@pytest.mark.parametrize("stream", [True, False])
def test_a_stall_is_noticed(proxy: Running, upstream: RawUpstream, stream: bool) -> None:
    async def stalling(line: Line) -> None:
        await line.send(STREAM_HEAD + chunked(EVENTS[0]) + chunked(EVENTS[1]))
        await line.until_closed()

    upstream.scripts = [stalling]
    began = time.monotonic()
    told = ask(proxy, stream=stream)
    assert told.error["code"] == "upstream_timeout"
    assert told.status == (200 if stream else 504)
    assert 0.4 < time.monotonic() - began < 10
    assert not told.done


def test_bytes_that_drip_are_no_stall(proxy: Running, upstream: RawUpstream) -> None:
    async def dripping(line: Line) -> None:
        await line.send(STREAM_HEAD)
        for one in GOOD[len(STREAM_HEAD) : len(STREAM_HEAD) + 60]:
            await line.send(bytes([one]))
        await line.send(GOOD[len(STREAM_HEAD) + 60 :])

    upstream.scripts = [dripping]
    assert ask(proxy).content == "Hello, sea"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "delta", [{"text": "x" * 9000}, {"reasoningContent": {"signature": "x" * 9000}}]
)
def test_an_endless_answer_is_ended(
    proxy: Running,
    upstream: RawUpstream,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
    delta: dict[str, object],
) -> None:
    """What is folded or remembered is held in memory: it has a bound, and a client that is told."""
    monkeypatch.setattr("proxy.bedrock.answer._STREAM_LIMIT", 1_000_000)
    frame = chunked(event("contentBlockDelta", contentBlockIndex=0, delta=delta))

    async def flooding(line: Line) -> None:
        await line.send(STREAM_HEAD + chunked(EVENTS[0]))
        try:
            while True:
                await line.send(frame)
        except ConnectionError:
            pass

    upstream.scripts = [flooding]
    told = ask(proxy, stream=stream)
    assert told.error["code"] == "upstream_too_large"
    assert not told.done
    assert not told.finishes
    assert told.status == (200 if stream and "text" in delta else 502)
    assert len(upstream.calls()) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_passing_failure_is_hidden(proxy: Running, upstream: RawUpstream, stream: bool) -> None:
    refusal = json_answer(
        "500 X", b'{"message":"x"}', b"x-amzn-errortype: InternalServerException:http://x/"
    )
    upstream.scripts = [ending(refusal), sending(GOOD)]
    told = ask(proxy, stream=stream)
    assert told.status == 200
    assert len(upstream.calls()) == 2
    labels = 'operation="converse-stream",reason="InternalServerException"'
    assert proxy.samples()[f"bedrock_proxy_upstream_retries_total{{{labels}}}"] == 1.0


def test_throttling_inside_a_200_is_retried_too(proxy: Running, upstream: RawUpstream) -> None:
    failing = frames.exception("throttlingException", {"message": "Too many requests"})
    upstream.scripts = [sending(stream_answer(failing)), sending(GOOD)]
    assert ask(proxy).content == "Hello, sea"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("place", [0, 1])
def test_a_refusal_inside_a_200_is_repaired_too(
    proxy: Running, upstream: RawUpstream, place: int, stream: bool
) -> None:
    """Behind the event that only says that the answer begins, as before it."""
    message = {"message": "`temperature` is deprecated for this model."}
    refusal = stream_answer(*EVENTS[:place], frames.exception("validationException", message))
    upstream.scripts = [sending(refusal), sending(GOOD)]
    answer = httpx.post(
        f"{proxy.url}/v1/chat/completions",
        json={**question(stream=stream), "temperature": 0.5},
        timeout=20,
    )
    assert answer.status_code == 200
    assert ", sea" in answer.text
    assert "temperature:dropped" in answer.headers["x-bedrock-proxy-notes"]
    assert [b"temperature" in call.body for call in upstream.calls()] == [True, False]
    upstream.scripts = [sending(refusal)]
    told = ask(proxy, stream=stream)  # without a temperature there is nothing to repair
    assert (told.status, told.error["type"]) == (400, "invalid_request_error")
    assert len(upstream.calls()) == 3


def test_a_started_stream_is_never_replayed(proxy: Running, upstream: RawUpstream) -> None:
    failing = frames.exception("internalServerException", {"message": "x"})
    upstream.scripts = [sending(stream_answer(*EVENTS[:2], failing)), sending(GOOD)]
    assert ask(proxy).error["code"] == "internal_error"
    assert len(upstream.calls()) == 1


def test_dead_pooled_connections_cost_nothing(proxy: Running, upstream: RawUpstream) -> None:
    """Each connection dies after its first answer, without a word."""

    async def once(line: Line) -> None:
        await line.send(GOOD)
        line.writer.close()

    upstream.scripts = [once]
    for _ in range(20):
        assert ask(proxy).status == 200
    assert len(upstream.calls()) == 20


def test_an_upstream_that_resets_every_connection_is_a_502(
    proxy: Running, upstream: RawUpstream
) -> None:
    async def resetting(line: Line) -> None:
        line.reset()

    upstream.scripts = [resetting]
    told = ask(proxy)
    assert (told.status, told.error["code"]) == (502, "upstream_reset")
    assert len(upstream.calls()) == 4  # the first, a free one, two counted ones


def test_an_upstream_that_is_not_there_is_a_502() -> None:
    with serving("http://127.0.0.1:9", settings=FAST) as proxy:
        told = ask(proxy)
        assert (told.status, told.error["code"]) == (502, "upstream_unreachable")
        assert told.error["message"] == "Bedrock cannot be reached (the connection was refused)."


def test_a_name_that_resolves_to_nothing_is_a_502() -> None:
    with serving("http://bedrock.invalid", settings=FAST) as proxy:
        told = ask(proxy)
        assert (told.status, told.error["code"]) == (502, "upstream_unreachable")
        assert told.error["message"] == "Bedrock cannot be reached (its name cannot be resolved)."


class _Plain(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


def test_an_upstream_that_speaks_no_tls_is_a_502() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Plain) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_address[1]}"
        with serving(url, settings=FAST) as proxy:
            told = ask(proxy)
        server.shutdown()
    assert (told.status, told.error["code"]) == (502, "upstream_unreachable")
    assert told.error["message"] == "Bedrock cannot be reached (TLS failed)."


@pytest.mark.long
def test_a_cut_at_every_byte_is_never_passed_off_as_whole(
    proxy: Running, upstream: RawUpstream
) -> None:
    """The answer is whole once its last event is, with or without HTTP's own end mark."""
    whole = len(GOOD) - len(b"\r\n0\r\n\r\n")
    for cut in range(len(GOOD) + 1):
        upstream.scripts = [ending(GOOD[:cut])]
        told = ask(proxy)
        assert told.done is (cut >= whole), cut
        assert told.done or told.error["code"].startswith("upstream_"), cut


@pytest.mark.long
def test_a_whole_answer_dripped_byte_by_byte(proxy: Running, upstream: RawUpstream) -> None:
    async def dripping(line: Line) -> None:
        for one in GOOD:
            await line.send(bytes([one]))

    upstream.scripts = [dripping]
    told = ask(proxy)
    assert (told.content, told.finishes, told.done) == ("Hello, sea", ["stop"], True)


def test_a_reset_inside_the_stream_is_told(proxy: Running, upstream: RawUpstream) -> None:
    async def resetting(line: Line) -> None:
        await line.send(STREAM_HEAD + chunked(EVENTS[0]) + chunked(EVENTS[1]))
        await line.writer.drain()
        line.reset()

    upstream.scripts = [resetting]
    told = ask(proxy)
    assert told.error["code"] == "upstream_truncated"
    assert not told.done
