"""Nothing that a request leaves behind waits for the garbage collector, however the request ends.

``cli/run.py`` lets the collector come rarely, because of this: an error whose traceback leads to a
frame that holds the error is a cycle, and the prompt would stay in memory with it.
"""

import asyncio
import gc
import os
import types
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from proxy.app import Service, build
from proxy.bedrock.regions import AwsConfig
from proxy.errors import ProxyError
from proxy.settings import Loaded, load
from proxy.simulator import frames
from tests.relay.answers import EVENTS, GOOD, question
from tests.support.raw_upstream import (
    STREAM_HEAD,
    Line,
    RawUpstream,
    chunked,
    json_answer,
    stream_answer,
)

ENVIRONMENT = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
}
FAILING = frames.exception("modelStreamErrorException", {"message": "because"})
ANSWERS = {
    "whole": (GOOD, b"200"),
    "refused": (json_answer("400 X", b"{}", b"x-amzn-errortype: ValidationException:x"), b"400"),
    "throttled": (json_answer("429 X", b"{}", b"x-amzn-errortype: ThrottlingException:x"), b"429"),
    "failing": (stream_answer(*EVENTS[:2], FAILING), b"because"),
    "cut": (STREAM_HEAD + b"".join(map(chunked, EVENTS[:2])) + b"0\r\n\r\n", b"complete"),
    "torn": (STREAM_HEAD + b"".join(map(chunked, EVENTS[:2])), b"truncated"),
    "corrupt": (STREAM_HEAD + chunked(EVENTS[0] + b"\x00" * 40) + b"0\r\n\r\n", b"corrupt"),
    "no stream": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"upstream_protocol_error"),
    "no HTTP": (b"hello\r\n\r\n", b"upstream_protocol_error"),
    "nothing": (b"", b"upstream_reset"),
}


@pytest.fixture
def collector_off() -> Iterator[None]:
    """What it would collect is kept for the test to see."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.anyio
async def test_no_ending_leaves_a_cycle(
    collector_off: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    answers = [GOOD]

    async def script(line: Line) -> None:
        await line.send(answers[0])
        line.writer.close()

    with RawUpstream(script) as upstream:
        service = opened(upstream.url)
        try:
            for stream in (True, False):
                await asked(service, stream)  # the first request imports
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            for name, (answers[0], word) in ANSWERS.items():
                for stream in (True, False):
                    assert word in await asked(service, stream), name
                    assert left() == [], name
        finally:
            gc.set_debug(0)
            await service.account.close()


def left() -> list[object]:
    """What the collector has found of the proxy's."""
    gc.collect()
    return [thing for thing in gc.garbage if is_ours(thing)]


def opened(url: str) -> Service:
    loaded = load({"port": 0, "log_level": "error", "enabled": False}, None, {})
    aws = AwsConfig(None, False, False, {"bedrock-runtime": url})
    service = build(Loaded(loaded.settings, loaded.origins, ENVIRONMENT), aws)
    service.account.start()
    return service


async def asked(service: Service, stream: bool) -> bytes:
    """What the client was told: status, and the body."""
    sent = bytearray()
    inbox = [{"type": "http.request", "body": orjson.dumps(question(stream=stream))}]

    async def receive() -> dict[str, Any]:
        return inbox.pop() if inbox else await never()

    async def send(message: dict[str, Any]) -> None:
        sent.extend(b"%d " % message.get("status", 0) + message.get("body", b""))

    scope = {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "state": {},
        "headers": [(b"content-type", b"application/json"), (b"host", b"localhost")],
    }  # fmt: skip
    await service.asgi(scope, receive, send)
    return bytes(sent)


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


def is_ours(thing: object) -> bool:
    """A frame of the proxy, or an error of it."""
    if isinstance(thing, types.FrameType):
        return "/proxy/" in thing.f_code.co_filename
    return isinstance(thing, ProxyError)
