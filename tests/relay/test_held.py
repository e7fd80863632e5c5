"""What a stream under way holds in memory: its own state, and not the conversation it answers."""

import asyncio
import gc
import os
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from proxy.app import build
from proxy.bedrock.regions import AwsConfig
from proxy.settings import Loaded, load
from tests.relay.answers import EVENTS, MODEL

ENVIRONMENT = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
}
PROMPT = 3_000_000


class Pausing(httpx.AsyncBaseTransport):
    """Answers with a first delta, and with the rest once ``go`` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"".join(EVENTS[:2])
            await self.go.wait()
            yield b"".join(EVENTS[2:])

        kind = {"content-type": "application/vnd.amazon.eventstream"}
        return httpx.Response(200, headers=kind, content=body())


@pytest.mark.anyio
async def test_a_stream_does_not_hold_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    engine = Pausing()
    loaded = load({"port": 0, "log_level": "error", "enabled": False}, None, {})
    service = build(
        Loaded(loaded.settings, loaded.origins, ENVIRONMENT),
        AwsConfig(None, False, False, {}),
        engine=engine,
    )
    service.account.start()
    await service.account.credentials.settled(5.0)
    spoken, sent = asyncio.Event(), bytearray()
    inbox = [{"type": "http.request", "body": question(PROMPT), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if inbox:
            return inbox.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.extend(message.get("body", b""))
        if b"Hello" in sent:
            spoken.set()

    scope = {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "state": {},
        "headers": [(b"content-type", b"application/json"), (b"host", b"localhost")],
    }  # fmt: skip
    tracemalloc.start()
    try:
        running = asyncio.create_task(service.asgi(scope, receive, send))
        await asyncio.wait_for(spoken.wait(), 20)
        await asyncio.sleep(0.05)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    engine.go.set()
    await asyncio.wait_for(running, 20)
    assert sent.endswith(b"data: [DONE]\n\n")
    await service.account.close()
    assert held < PROMPT / 4, f"{held} bytes are held by a stream that waits"


def question(size: int) -> bytes:
    message = {"role": "user", "content": "x" * size}
    return orjson.dumps({"model": MODEL, "messages": [message], "stream": True})
