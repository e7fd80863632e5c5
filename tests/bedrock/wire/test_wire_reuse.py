"""The contract of an engine: which connection serves a request."""

import asyncio
from contextlib import suppress

import httpx
import pytest

from tests.bedrock.wire.peer import (
    CHUNKED,
    OK,
    Line,
    body_of,
    drain,
    engine_of,
    fetch,
    once,
    peer,
    request,
    serving,
)

pytestmark = pytest.mark.anyio


# ---- which connection ----------------------------------------------------------------------------


async def test_a_connection_is_used_again(kind: str) -> None:
    async with engine_of(kind) as engine, peer(serving(OK)) as far:
        for _ in range(20):
            await fetch(engine, request(far.url))
        assert len(far.lines) == 1


async def test_a_connection_is_used_only_once_without_keeping(kind: str) -> None:
    async with engine_of(kind, keep=0) as engine, peer(serving(OK)) as far:
        for _ in range(3):
            assert await fetch(engine, request(far.url)) == (200, b"ok")
        assert len(far.lines) == 3


async def test_closing_an_unfinished_body_closes_its_connection_at_once(kind: str) -> None:
    async def script(line: Line) -> None:
        await line.answer(CHUNKED + b"1\r\nx\r\n")
        await line.until_gone()

    async with engine_of(kind) as engine, peer(script) as far:
        for n in range(2):
            response = await engine.handle_async_request(request(far.url))
            assert await anext(body_of(response)) == b"x"
            await response.aclose()
            async with asyncio.timeout(2):
                await far.lines[n].gone.wait()
            with pytest.raises(httpx.TransportError):
                await anext(body_of(response))
        assert len(far.lines) == 2


async def test_closing_a_finished_body_gives_its_connection_back(kind: str) -> None:
    async with engine_of(kind) as engine, peer(serving(OK)) as far:
        for _ in range(3):
            response = await engine.handle_async_request(request(far.url))
            assert await drain(response) == b"ok"
            await response.aclose()
            await response.aclose()
        assert len(far.lines) == 1


SURPLUS = (OK, b"garbage", b"HTTP/1.1 400 Timeout\r\n\r\n")


@pytest.mark.parametrize("surplus", SURPLUS)
async def test_a_connection_that_speaks_unasked_is_not_used_again(
    kind: str, surplus: bytes
) -> None:
    async def script(line: Line) -> None:
        await line.answer()
        await asyncio.sleep(0.01)
        await line.send(surplus)
        await line.until_gone()

    async with engine_of(kind) as engine, peer(script) as far:
        for _ in range(3):
            assert await fetch(engine, request(far.url)) == (200, b"ok")
            await asyncio.sleep(0.03)
        assert len(far.lines) == 3


@pytest.mark.parametrize("surplus", SURPLUS)
async def test_surplus_behind_an_answer_ends_its_connection(kind: str, surplus: bytes) -> None:
    """A difference: httpx 0.28 gives the surplus out as the answer to the next request."""

    async def script(line: Line) -> None:
        while True:
            await line.answer(OK + surplus)

    async with engine_of(kind) as engine, peer(script) as far:
        assert await fetch(engine, request(far.url)) == (200, b"ok")
        if kind == "wire":
            assert await fetch(engine, request(far.url)) == (200, b"ok")
            assert len(far.lines) == 2
        else:
            with suppress(httpx.TransportError):
                await fetch(engine, request(far.url, read=0.1))
            assert len(far.lines) == 1


async def test_a_connection_that_died_idle_is_not_used_again(kind: str) -> None:
    async with engine_of(kind) as engine, peer(once(OK)) as far:
        for _ in range(10):
            assert await fetch(engine, request(far.url)) == (200, b"ok")
            await asyncio.sleep(0.005)
        assert len(far.lines) == 10


async def test_a_connection_that_dies_at_the_request_tells_so(kind: str) -> None:
    async def script(line: Line) -> None:
        await line.answer()
        await line.read_request()

    async with engine_of(kind) as engine, peer(script) as far:
        assert await fetch(engine, request(far.url)) == (200, b"ok")
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await fetch(engine, request(far.url))
        assert str(caught.value) == "Server disconnected without sending a response."
        assert len(far.lines) == 1


async def test_many_at_once(kind: str) -> None:
    async def script(line: Line) -> None:
        while True:
            body = await line.read_request()
            await asyncio.sleep(0.01)
            await line.send(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    async with engine_of(kind, keep=50) as engine, peer(script) as far:
        for _ in range(2):
            bodies = [b"%d" % n for n in range(200)]
            got = await asyncio.gather(
                *(fetch(engine, request(far.url, content=body)) for body in bodies)
            )
            assert got == [(200, body) for body in bodies]
        await asyncio.sleep(0.02)
        assert len(far.lines) <= 350
