"""Answers that say that they begin, and then fail: nobody has seen any of them, so they are tried
again like those that failed before."""

import asyncio
from collections.abc import Iterator

import pytest

from proxy.simulator import frames
from tests.relay.answers import EVENTS, GOOD, ask
from tests.support.raw_upstream import (
    STREAM_HEAD,
    Line,
    RawUpstream,
    chunked,
    sending,
    stream_answer,
)
from tests.support.running import Running, serving

RETRIES = "bedrock_proxy_upstream_retries_total"


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream(sending(GOOD)) as one:
        yield one
        assert one.faults == []


@pytest.fixture
def proxy(upstream: RawUpstream) -> Iterator[Running]:
    with serving(upstream.url, settings={"grace": 30}) as one:
        yield one


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("exception", "outcome"),
    [("throttlingException", "throttled"), ("serviceUnavailableException", "server_error")],
)
def test_what_passes_behind_the_event_that_begins_is_retried_too(
    proxy: Running, upstream: RawUpstream, exception: str, outcome: str, stream: bool
) -> None:
    """That event says nothing that a client could see: it is a failure like one before it."""
    failing = frames.exception(exception, {"message": "Too many requests"})
    upstream.scripts = [sending(stream_answer(EVENTS[0], failing)), sending(GOOD)]
    told = ask(proxy, stream=stream)
    assert (told.status, "Hello" in told.text) == (200, True)
    assert len(upstream.calls()) == 2
    assert outcomes(proxy) == {outcome: 1.0, "ok": 1.0}
    samples = proxy.samples()
    assert sum(n for key, n in samples.items() if key.startswith(f"{RETRIES}{{")) == 1.0


@pytest.mark.parametrize("stream", [True, False])
def test_its_tries_are_counted_as_any(proxy: Running, upstream: RawUpstream, stream: bool) -> None:
    """Before and behind the first event in turns: three calls in all, and a true status."""
    failing = frames.exception("throttlingException", {"message": "Too many requests"})
    behind = sending(stream_answer(EVENTS[0], failing))
    upstream.scripts = [behind, sending(stream_answer(failing)), behind]
    told = ask(proxy, stream=stream)
    assert (told.status, told.error["code"]) == (429, "rate_limit_exceeded")
    assert len(upstream.calls()) == 3
    assert outcomes(proxy) == {"throttled": 3.0}


def test_a_role_that_was_spoken_is_not_spoken_anew(proxy: Running, upstream: RawUpstream) -> None:
    failing = frames.exception("throttlingException", {"message": "Too many requests"})

    async def late(line: Line) -> None:
        await line.send(STREAM_HEAD + chunked(EVENTS[0]))
        await asyncio.sleep(0.6)
        await line.send(chunked(failing) + b"0\r\n\r\n")

    upstream.scripts = [late, sending(GOOD)]
    told = ask(proxy)
    assert (told.status, told.error["code"]) == (200, "rate_limit_exceeded")
    assert len(upstream.calls()) == 1
    assert outcomes(proxy) == {"throttled": 1.0}


def outcomes(proxy: Running) -> dict[str, float]:
    """Of the calls to Bedrock, those that happened."""
    found = {
        key.split('outcome="')[1].split('"')[0]: value
        for key, value in proxy.samples().items()
        if key.startswith("bedrock_proxy_upstream_requests_total{")
    }
    return {outcome: value for outcome, value in found.items() if value}
