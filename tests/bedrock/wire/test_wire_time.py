"""The contract of an engine: timeouts, pressure both ways, and cancelling in every phase."""

import asyncio
import socket
from contextlib import suppress

import httpx
import pytest

from proxy.bedrock.wire import WireEngine
from proxy.bedrock.wire_connection import Exchange
from tests.bedrock.wire.peer import (
    CHUNKED,
    OK,
    Line,
    body_of,
    drain,
    engine_of,
    fetch,
    open_descriptors,
    peer,
    request,
    until,
)

pytestmark = pytest.mark.anyio


# ---- time ----------------------------------------------------------------------------------------


async def test_a_late_head_is_waited_for(kind: str) -> None:
    async def script(line: Line) -> None:
        await line.read_request()
        await asyncio.sleep(0.1)
        await line.send(OK)

    async with engine_of(kind) as engine, peer(script) as far:
        assert await fetch(engine, request(far.url, read=2.0)) == (200, b"ok")
        assert await fetch(engine, request(far.url)) == (200, b"ok")


async def test_a_head_that_never_comes(kind: str) -> None:
    async def script(line: Line) -> None:
        await line.read_request()
        await line.until_gone()

    async with engine_of(kind) as engine, peer(script) as far:
        with pytest.raises(httpx.ReadTimeout):
            await fetch(engine, request(far.url, read=0.05))
        async with asyncio.timeout(2):
            await far.lines[0].gone.wait()


async def test_a_body_that_stops(kind: str) -> None:
    async def script(line: Line) -> None:
        await line.answer(CHUNKED + b"1\r\nx\r\n")
        await line.until_gone()

    async with engine_of(kind) as engine, peer(script) as far:
        response = await engine.handle_async_request(request(far.url, read=0.05))
        with pytest.raises(httpx.ReadTimeout):
            await drain(response)
        async with asyncio.timeout(2):
            await far.lines[0].gone.wait()
        await response.aclose()


async def test_the_read_timeout_is_of_each_read(kind: str) -> None:
    async def script(line: Line) -> None:
        await line.read_request()
        await line.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow, yes", 0.01)

    async with engine_of(kind) as engine, peer(script) as far:
        assert await fetch(engine, request(far.url, read=0.2)) == (200, b"slow, yes")


async def test_a_request_that_is_never_taken(kind: str) -> None:
    async def script(line: Line) -> None:
        await asyncio.sleep(5)

    async with engine_of(kind) as engine, peer(script) as far:
        with pytest.raises(httpx.WriteTimeout):
            await fetch(engine, request(far.url, content=bytes(20_000_000), write=0.05))


async def test_nobody_listens(kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with engine_of(kind) as engine:
            with pytest.raises(httpx.ConnectError):
                await fetch(engine, request(url, connect=2.0))


async def test_nobody_accepts(kind: str) -> None:
    """A full backlog: the kernel drops the handshake and the connection never comes up."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        async with engine_of(kind) as engine:
            with pytest.raises(httpx.ConnectTimeout):
                await fetch(engine, request(url, connect=0.1))
        for one in crowd:
            one.close()


# ---- an early answer, and pressure ---------------------------------------------------------------


async def test_an_early_answer_is_delivered(kind: str) -> None:
    """The peer refuses a large body from its head alone, reads on for a while, and closes."""

    async def script(line: Line) -> None:
        await line.read_head()
        await line.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await line.until_gone()

    async with engine_of(kind) as engine, peer(script) as far:
        async with asyncio.timeout(5):
            got = await fetch(engine, request(far.url, content=bytes(20_000_000)))
        assert got == (413, b"big")
        if kind == "wire":  # httpx has written all of it, and may use the connection again
            await far.lines[0].gone.wait()


@pytest.mark.parametrize("size", [1_000, 400_000, 6_000_000])
async def test_a_reset_behind_an_early_answer(kind: str, size: int) -> None:
    """A peer that answers and closes with the body unread resets, and the kernel may then drop the
    answer: it comes whole, or the call ends at once in a ``ReadError``. (RFC 9112 9.6 asks peers
    not to do so.)"""

    async def script(line: Line) -> None:
        await line.read_head()
        await line.send(
            b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig"
        )

    async with engine_of(kind) as engine, peer(script) as far:
        async with asyncio.timeout(5):
            for _ in range(5):
                with suppress(httpx.ReadError):
                    got = await fetch(engine, request(far.url, content=bytes(size)))
                    assert got == (413, b"big")


async def test_what_waits_in_memory_is_bounded(kind: str) -> None:
    """Both ways; httpx has no buffer of ours to look into."""

    async def script(line: Line) -> None:
        await line.read_head()
        left = 30_000_000
        while left:
            left -= len(await line.read(400_000))
            await asyncio.sleep(0.001)
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n")
        for _ in range(60):
            await line.send(bytes(1_000_000))
        await line.until_gone()

    if kind == "httpx":
        return
    async with engine_of(kind) as engine, peer(script) as far:
        assert isinstance(engine, WireEngine)
        asked = request(far.url, content=bytes(30_000_000))
        task = asyncio.create_task(engine.handle_async_request(asked))
        written = 0
        while not task.done():
            for connection in engine._open:
                written = max(written, connection.transport.get_write_buffer_size())
            await asyncio.sleep(0.002)
        assert 0 < written <= 600_000
        response = task.result()
        unread = 0
        assert isinstance(response.stream, Exchange)
        async for _ in body_of(response):
            await asyncio.sleep(0.002)
            unread = max(unread, sum(map(len, response.stream.parts)))
        assert 0 < unread <= 500_000
        await response.aclose()


async def test_a_slow_reader_holds_the_peer(kind: str) -> None:
    sent = 0

    async def script(line: Line) -> None:
        nonlocal sent
        await line.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n")
        for _ in range(60):
            await line.send(bytes(1_000_000))
            sent += 1_000_000
        await line.until_gone()

    async with engine_of(kind) as engine, peer(script) as far:
        response = await engine.handle_async_request(request(far.url))
        await asyncio.sleep(0.2)
        held = sent
        await asyncio.sleep(0.1)
        assert sent == held <= 20_000_000  # nearly all of it in the kernel's buffers
        assert len(await drain(response)) == 60_000_000
        await response.aclose()


async def test_a_slow_peer_gets_a_large_request(kind: str) -> None:
    got = 0

    async def script(line: Line) -> None:
        nonlocal got
        await line.read_head()
        while got < 12_000_000:
            got += len(await line.read(400_000))
            await asyncio.sleep(0.002)
        await line.send(OK)

    async with engine_of(kind) as engine, peer(script) as far:
        assert await fetch(engine, request(far.url, content=bytes(12_000_000))) == (200, b"ok")
        assert got == 12_000_000


# ---- cancelling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["write", "head", "body", "between"])
async def test_cancelling_leaves_nothing(kind: str, phase: str) -> None:
    async def script(line: Line) -> None:
        if phase == "write":
            await line.read_head()
            await asyncio.sleep(0.2)
        else:
            await line.read_request()
        if phase in {"body", "between"}:
            await line.send(CHUNKED + b"1\r\nx\r\n")
        await line.until_gone()

    async def call() -> None:
        content = bytes(8_000_000) if phase == "write" else b"{}"
        response = await engine.handle_async_request(request(far.url, content=content))
        try:
            if phase == "between":
                await asyncio.sleep(5)
            await drain(response)
        finally:
            await response.aclose()

    before = open_descriptors()
    async with engine_of(kind) as engine, peer(script) as far:
        tasks = [asyncio.create_task(call()) for _ in range(10)]
        await until(lambda: sum(len(line.heads) for line in far.lines) == 10)
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await until(lambda: all(line.gone.is_set() for line in far.lines))
        await asyncio.sleep(0.02)
        if kind == "wire":
            assert repr(engine) == "<WireEngine 0 open, 0 idle>"
    await until(lambda: open_descriptors() <= before + 1)  # uvloop keeps one of its own


@pytest.mark.parametrize("phase", ["head", "body"])
async def test_data_and_cancel_together_leave_nothing(kind: str, phase: str) -> None:
    """The trap of ``asyncio.wait_for``: the read is done in the moment it is cancelled."""

    async def script(line: Line) -> None:
        await line.read_request()
        if phase == "body":
            await line.send(CHUNKED + b"1\r\nx\r\n")
        await asyncio.sleep(0.02)
        await line.send(CHUNKED if phase == "head" else b"1\r\ny\r\n")
        tasks[line.number - 1].cancel()
        await line.until_gone()

    async def call() -> None:
        response = await engine.handle_async_request(request(far.url))
        try:
            await drain(response)
        finally:
            await response.aclose()

    tasks: list[asyncio.Task[None]] = []
    async with engine_of(kind) as engine, peer(script) as far:
        for n in range(30):
            tasks.append(asyncio.create_task(call()))
            await until(lambda n=n: len(far.lines) == n + 1)  # type: ignore[misc]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await until(lambda: all(line.gone.is_set() for line in far.lines))
