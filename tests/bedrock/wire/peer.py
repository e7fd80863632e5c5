"""A peer on a raw socket that misbehaves as a script says, on the test's own loop.

A ``Script`` plays one connection from its beginning. What it raises because the other side left is
no fault of it; anything else fails the test when the peer is closed.
"""

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from proxy.bedrock.engine import proven_engine
from proxy.bedrock.wire import WireEngine

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

NOBODY = str(Path(__file__).with_name("nobody.pem"))
"""The certificate of an authority that signs nothing: quick to load, and trusts no one."""


class Line:
    """One connection, seen from the peer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int):
        self._reader = reader
        self._writer = writer
        self.number = number
        """1 for the first connection of a test."""
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.gone = asyncio.Event()
        """The other side has closed, as far as ``until_gone`` has looked."""

    @property
    def alpn(self) -> str | None:
        secure = self._writer.get_extra_info("ssl_object")
        return secure.selected_alpn_protocol() if secure else None

    async def read(self, limit: int = 1 << 20) -> bytes:
        return await self._reader.read(limit)

    async def read_exactly(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    async def read_head(self) -> bytes:
        head = await self._reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head

    async def read_request(self) -> bytes:
        """The next request; gives its body."""
        head = (await self.read_head()).lower()
        body = b""
        if b"transfer-encoding: chunked" in head:
            while size := int(await self._reader.readline(), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        elif b"content-length:" in head:
            size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            body = await self._reader.readexactly(size)
        self.bodies.append(body)
        return body

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def drip(self, data: bytes, pause: float = 0.0) -> None:
        """One byte at a time, each a segment of its own."""
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            await asyncio.sleep(pause)

    async def answer(self, data: bytes = OK) -> None:
        await self.read_request()
        await self.send(data)

    async def until_gone(self, within: float = 5.0) -> None:
        async with asyncio.timeout(within):
            try:
                while await self._reader.read(1 << 16):
                    pass
            finally:
                self.gone.set()

    def end(self) -> None:
        """Close the sending half only."""
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        opened = self._writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Line], Awaitable[None]]


class Peer:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()
        self.lines: list[Line] = []
        self.faults: list[BaseException] = []
        self.url = ""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        line = Line(reader, writer, len(self.lines) + 1)
        self.lines.append(line)
        try:
            await self._script(line)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the other side left
        except asyncio.CancelledError:
            pass  # the test is over
        except BaseException as fault:  # noqa: BLE001  # shown when the test ends
            self.faults.append(fault)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def stop(self) -> None:
        for task in (tasks := tuple(self._tasks)):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self.faults:
            raise self.faults[0]


@asynccontextmanager
async def peer(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Plays ``script`` on every connection to ``.url``."""
    one = Peer(script)
    server = await asyncio.start_server(one.connected, "127.0.0.1", 0, ssl=tls, backlog=512)
    try:
        port = server.sockets[0].getsockname()[1]
        one.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
        yield one
    finally:
        server.close()
        await one.stop()


def serving(data: bytes) -> Script:
    """Every request of a connection is answered with these bytes."""

    async def script(line: Line) -> None:
        while True:
            await line.answer(data)

    return script


def once(data: bytes) -> Script:
    """One answer, then the peer closes."""

    async def script(line: Line) -> None:
        await line.answer(data)

    return script


@asynccontextmanager
async def engine_of(
    kind: str, *, keep: int = 10, bundle: str = NOBODY
) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """``wire``, or ``httpx`` as the house opens it; closed at the end, with nothing left open."""
    if kind == "httpx":
        async with proven_engine(ssl.create_default_context(cafile=bundle), keep) as proven:
            yield proven
        return
    engine = WireEngine(ssl.create_default_context(cafile=bundle), keep=keep)
    try:
        yield engine
    finally:
        await engine.aclose()
        assert repr(engine) == "<WireEngine 0 open, 0 idle>"


def request(
    url: str,
    method: str = "POST",
    content: bytes | AsyncIterator[bytes] | None = b"{}",
    headers: list[tuple[bytes, bytes]] | None = None,
    **seconds: float,
) -> httpx.Request:
    """``seconds`` are the timeouts: connect, read, write."""
    return httpx.Request(
        method, url, headers=headers, content=content, extensions={"timeout": seconds}
    )


async def fetch(engine: httpx.AsyncBaseTransport, asked: httpx.Request) -> tuple[int, bytes]:
    """Status and whole raw body."""
    response = await engine.handle_async_request(asked)
    try:
        return response.status_code, await drain(response)
    finally:
        await response.aclose()


async def collect(
    engine: httpx.AsyncBaseTransport, asked: httpx.Request, into: list[bytes]
) -> None:
    """As ``fetch``; what came before a failure stands in ``into``, its head as an empty part."""
    response = await engine.handle_async_request(asked)
    into.append(b"")
    try:
        async for part in body_of(response):
            into.append(part)
    finally:
        await response.aclose()


def body_of(response: httpx.Response) -> AsyncIterator[bytes]:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return aiter(response.stream)


async def drain(response: httpx.Response) -> bytes:
    return b"".join([part async for part in body_of(response)])


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


async def until(condition: Callable[[], bool], within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
