"""A client that leaves takes the upstream call with it: in every phase, within 250 ms, by the
upstream's own clock; and the connection is never used again."""

import asyncio
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import orjson
import pytest

from tests.relay.answers import EVENTS, GOOD, ask, question
from tests.support.raw_upstream import (
    STREAM_HEAD,
    Line,
    RawUpstream,
    Script,
    chunked,
    json_answer,
    sending,
)
from tests.support.running import Running, serving, wait_until


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as one:
        yield one
        assert one.faults == []


@pytest.fixture
def proxy(upstream: RawUpstream) -> Iterator[Running]:
    with serving(upstream.url, settings={"grace": 0.05}) as one:
        yield one


def send_question(proxy: Running | str, *, stream: bool = True) -> socket.socket:
    """A raw client that has asked; closing it is leaving. ``proxy`` may be its URL."""
    parts = urlsplit(proxy if isinstance(proxy, str) else proxy.url)
    client = socket.create_connection((parts.hostname, parts.port))
    body = orjson.dumps(question(stream=stream))
    client.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    return client


async def before_the_head(line: Line) -> None:
    await line.until_closed()


async def after_the_head(line: Line) -> None:
    await line.send(STREAM_HEAD)
    await line.until_closed()


async def in_the_stream(line: Line) -> None:
    await line.send(STREAM_HEAD + b"".join(map(chunked, EVENTS[:2])))
    await line.until_closed()


async def in_a_lively_stream(line: Line) -> None:
    await line.send(STREAM_HEAD + chunked(EVENTS[0]))

    async def pour() -> None:
        while True:
            await line.send(chunked(EVENTS[1]))
            await asyncio.sleep(0.005)

    pouring = asyncio.create_task(pour())
    try:
        await line.until_closed()
    finally:
        pouring.cancel()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "phase", [before_the_head, after_the_head, in_the_stream, in_a_lively_stream]
)
def test_leaving_closes_the_upstream(
    proxy: Running, upstream: RawUpstream, phase: Script, stream: bool
) -> None:
    upstream.scripts = [phase]
    client = send_question(proxy, stream=stream)
    wait_until(lambda: len(upstream.calls()) == 1)
    time.sleep(0.15)
    left = time.monotonic()
    client.close()
    [call] = upstream.calls()
    wait_until(lambda: call.ended is not None)
    assert call.ended is not None
    assert call.ended - left < 10  # the figure is held by test_timings.py
    wait_until(lambda: gone_requests(proxy) == 1.0)
    assert sum_of(proxy, "bedrock_proxy_streams_in_flight") == 0
    assert sum_of(proxy, "bedrock_proxy_client_disconnects_total") == 1
    upstream.scripts = [sending(GOOD)]
    assert ask(proxy).content == "Hello, sea"
    assert upstream.calls()[-1].connection != call.connection


def test_leaving_in_a_retrys_pause_ends_the_retrying(proxy: Running, upstream: RawUpstream) -> None:
    throttle = json_answer(
        "429 X", b'{"message":"x"}', b"x-amzn-errortype: ThrottlingException:http://x/",
        b"retry-after: 1",
    )  # fmt: skip
    upstream.scripts = [sending(throttle)]
    client = send_question(proxy)
    wait_until(lambda: len(upstream.calls()) == 1)
    client.close()
    time.sleep(1.3)
    assert len(upstream.calls()) == 1
    assert gone_requests(proxy) == 1.0


def test_leaving_with_half_a_body_sent(proxy: Running, upstream: RawUpstream) -> None:
    parts = urlsplit(proxy.url)
    client = socket.create_connection((parts.hostname, parts.port))
    client.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/json\r\n"
        b'content-length: 500\r\n\r\n{"mod'
    )
    time.sleep(0.1)
    client.close()
    wait_until(lambda: gone_requests(proxy) == 1.0)
    assert upstream.calls() == []


def test_tokens_known_so_far_are_counted(proxy: Running, upstream: RawUpstream) -> None:
    """Bedrock tells usage last; a client that leaves after it and before the end is billed."""

    async def nearly_done(line: Line) -> None:
        await line.send(STREAM_HEAD + b"".join(map(chunked, EVENTS[:5])))
        await asyncio.sleep(0.2)
        await line.send(chunked(EVENTS[5]))
        await line.until_closed()

    upstream.scripts = [nearly_done]
    told = ask(proxy)
    assert told.done
    wait_until(lambda: sum_of(proxy, "bedrock_proxy_tokens_total") == 7)


async def late(line: Line) -> None:
    """The counts come well after the words that end the answer."""
    await line.send(STREAM_HEAD + b"".join(map(chunked, EVENTS[:5])))
    await asyncio.sleep(0.1)
    await line.send(chunked(EVENTS[5]) + b"0\r\n\r\n")


async def never(line: Line) -> None:
    await line.send(STREAM_HEAD + b"".join(map(chunked, EVENTS[:5])))
    await line.until_closed()


def read_until_finished(client: socket.socket) -> None:
    said = b""
    while b'"finish_reason":"stop"' not in said:
        part = client.recv(65536)
        assert part
        said += part


def test_who_leaves_with_the_whole_answer_is_counted(proxy: Running, upstream: RawUpstream) -> None:
    """Many clients hang up at ``finish_reason``; Bedrock tells the counts behind it."""
    upstream.scripts = [late]
    with send_question(proxy) as client:
        read_until_finished(client)
    wait_until(lambda: sum_of(proxy, "bedrock_proxy_tokens_total") == 7)
    wait_until(lambda: sum_of(proxy, "bedrock_proxy_requests_in_flight") == 0)
    assert gone_requests(proxy) == 0
    assert sum_of(proxy, "bedrock_proxy_client_disconnects_total") == 0
    [call] = upstream.calls()
    assert call.ended is None
    upstream.scripts = [sending(GOOD)]
    assert ask(proxy).content == "Hello, sea"
    assert upstream.calls()[-1].connection == call.connection


def test_counts_that_never_come_are_not_waited_for(proxy: Running, upstream: RawUpstream) -> None:
    upstream.scripts = [never]
    with send_question(proxy) as client:
        read_until_finished(client)
    wait_until(lambda: gone_requests(proxy) == 1.0, within=5.0)
    assert upstream.calls()[0].ended is not None


def test_many_that_leave_leave_nothing_behind(proxy: Running, upstream: RawUpstream) -> None:
    phases = [before_the_head, after_the_head, in_the_stream, in_a_lively_stream]
    for number in range(400):
        upstream.scripts = [phases[number % 4]]
        seen = len(upstream.calls())
        client = send_question(proxy, stream=number % 3 > 0)
        wait_until(lambda seen=seen: len(upstream.calls()) > seen)  # type: ignore[misc]
        if number % 2:
            time.sleep(0.01)
        client.close()
    wait_until(lambda: all(call.ended is not None for call in upstream.calls()))
    wait_until(lambda: gone_requests(proxy) == 400.0)
    assert sum_of(proxy, "bedrock_proxy_requests_in_flight") == 0
    wait_until(lambda: upstream.open <= 1)


def gone_requests(proxy: Running) -> float:
    return sum(
        value
        for key, value in proxy.samples().items()
        if key.startswith("bedrock_proxy_requests_total{") and 'status="499"' in key
    )


def sum_of(proxy: Running, name: str) -> float:
    return sum(value for key, value in proxy.samples().items() if key.startswith(name + "{"))
