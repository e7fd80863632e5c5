"""A Bedrock made of a raw socket: it sends exactly the bytes a test scripts, and keeps a clock.

Each connection serves requests one after the other; a ``Script`` says what each call is answered
with. ``seen`` notes when a request came and when its connection ended, by this side's own clock.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n"
    b"x-amzn-requestid: up-1\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunked(data: bytes) -> bytes:
    """``data`` as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream_answer(*frames: bytes) -> bytes:
    """A whole good answer: head, one chunk a frame, end mark."""
    return STREAM_HEAD + b"".join(map(chunked, frames)) + b"0\r\n\r\n"


def json_answer(status: str, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
        status.encode(), lines, len(body), body,
    )  # fmt: skip


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    began: float
    connection: int
    ended: float | None = None
    """When the other side closed, if it did before we did."""


@dataclass
class Line:
    """What a script does with one request's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: Seen
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_closed(self, within: float = 20.0) -> None:
        """Wait until the other side closes."""
        async with asyncio.timeout(within):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        self.seen.ended = time.monotonic()

    def reset(self) -> None:
        """Close with a reset."""
        self.writer.transport.abort()


Script = Callable[[Line], Awaitable[None]]


def sending(data: bytes) -> Script:
    """Answer with these bytes and keep the connection."""

    async def script(line: Line) -> None:
        await line.send(data)

    return script


class RawUpstream:
    """Runs on a thread of its own. ``scripts`` are used up in order; the last one stays."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts: list[Script] = list(scripts)
        self.seen: list[Seen] = []
        self.connections = 0
        self.open = 0
        self.faults: list[BaseException] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.url = ""
        self._server: Any = None

    def calls(self) -> Sequence[Seen]:
        """Only the calls of the runtime plane."""
        return [one for one in self.seen if one.path.startswith("/model/")]

    def __enter__(self) -> Self:
        self._thread.start()
        future = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        self.url = f"http://127.0.0.1:{future.result(5)}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=2048)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        tasks = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections = self.connections + 1
        self.open += 1
        try:
            while not writer.is_closing():
                seen = await self._request(reader, number)
                if seen is None:
                    break
                self.seen.append(seen)
                if not seen.path.startswith("/model/"):
                    empty = b'{"modelSummaries":[],"inferenceProfileSummaries":[]}'
                    await Line(reader, writer, seen).send(json_answer("200 OK", empty))
                    continue
                script = self.scripts[0] if len(self.scripts) == 1 else self.scripts.pop(0)
                await script(Line(reader, writer, seen))
        except (ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as fault:  # noqa: BLE001  # shown by the test that ends
            self.faults.append(fault)
        finally:
            self.open -= 1
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, connection: int) -> Seen | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        try:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None  # the caller left while it was still sending
        return Seen(lines[0].split(" ")[1], headers, body, time.monotonic(), connection)
