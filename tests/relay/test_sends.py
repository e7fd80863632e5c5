"""How much leaves at once: what came with an answer's end goes out with the end mark, and nothing
else waits for it."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.relay.answers import EVENTS, GOOD, question
from tests.relay.test_cycles import ENVIRONMENT, opened
from tests.support.raw_upstream import STREAM_HEAD, Line, RawUpstream, Script, chunked, sending

pytestmark = pytest.mark.anyio


class Listener:
    """A client in this process: what it was sent, one entry for each send."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.heard = asyncio.Event()
        self._question = [{"type": "http.request", "body": orjson.dumps(question())}]

    async def receive(self) -> dict[str, Any]:
        if self._question:
            return self._question.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            self.bodies.append(message["body"])
            if b", sea" in message["body"]:
                self.heard.set()


async def listened(script: Script, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with RawUpstream(script) as upstream:
        service = opened(upstream.url)
        scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "state": {},
            "headers": [(b"content-type", b"application/json"), (b"host", b"localhost")],
        }  # fmt: skip
        try:
            await service.asgi(scope, listener.receive, listener.send)
        finally:
            await service.account.close()


async def test_an_answer_that_came_whole_leaves_in_one_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = Listener()
    await listened(sending(GOOD), listener, monkeypatch)
    [body] = listener.bodies
    assert b"Hello" in body
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("count", [5, 6], ids=["of Bedrock's", "of HTTP's"])
async def test_chunks_do_not_wait_for_an_end_that_is_still_to_come(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener()
    loop = asyncio.get_running_loop()

    async def script(line: Line) -> None:
        await line.send(STREAM_HEAD + b"".join(map(chunked, EVENTS[:count])))
        heard = asyncio.run_coroutine_threadsafe(listener.heard.wait(), loop)
        await asyncio.wait_for(asyncio.wrap_future(heard), 10)
        await line.send(b"".join(map(chunked, EVENTS[count:])) + b"0\r\n\r\n")

    await listened(script, listener, monkeypatch)
    assert len(listener.bodies) == 2
    assert b", sea" in listener.bodies[0]
    assert listener.bodies[1].endswith(b"data: [DONE]\n\n")
