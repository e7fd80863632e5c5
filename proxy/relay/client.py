"""The client's side of one exchange: what has been sent, and whether the client is still connected.

The pump writes whole chunks; the timer sends its own bytes (keep-alive comments, empty chunks, the
role) when no write is in progress. The first bytes sent carry the response head with them, so the
status can still change until then. Source: the ASGI specification, *HTTP*.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from time import monotonic
from typing import Any, Final

from proxy.sse import PING

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FAREWELL: Final = 5.0
"""Seconds that a client which does not read is given to take an error or an aside."""

STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class ClientGone(Exception):
    """Nobody is left to answer."""


class Client:
    """The client's end of one exchange. ``headers`` go out with whatever is sent first.

    One lock keeps whole frames whole: the pump, further choices and the timer all write.
    """

    def __init__(self, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._aside: asyncio.Task[None] | None = None
        self.held = b""
        """What goes in front of the next write: the timer's words, or chunks that wait for it."""
        self.headers = headers
        self.streaming = False
        """The head of a stream is out: the status is spoken."""
        self.last_sent = monotonic()
        self.last_chunk = self.last_sent

    async def until_gone(self) -> None:
        """Return when the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Whole chunks of the stream, behind what the timer has said; the head goes before the
        first of them."""
        await self._turn.acquire()
        try:
            await self._put(data, more)
        finally:
            self._turn.release()

    def hold(self, data: bytes) -> None:
        """Let chunks go out with the next write. For whoever knows that it comes at once."""
        self.held += data
        self.last_sent = self.last_chunk = monotonic()

    async def _put(self, data: bytes, more: bool) -> None:
        if not self.streaming:
            self.streaming = True
            head = [*STREAM_HEADERS, *self.headers.items()]
            await self._send({"type": "http.response.start", "status": 200, "headers": head})
            self.headers.clear()  # a stream that waits holds no more than it needs
        if self.held:  # perhaps the role: chunks made since do not hold it
            data, self.held = self.held + data, b""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self.last_sent = monotonic()
        if data != PING:  # client watchdogs count parsed chunks, not comments
            self.last_chunk = self.last_sent

    async def respond(self, status: int, body: bytes, extra: Sequence[tuple[bytes, bytes]]) -> None:
        """A whole answer, in place of a stream."""
        length = str(len(body)).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", length), *extra]
        head += self.headers.items()
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    def say_aside(self, data: bytes) -> None:
        """Send ``data`` from a timer, unless a write is under way (then silence is not ours)."""
        if not self._turn.locked() and (self._aside is None or self._aside.done()):
            self.held += data
            self._aside = self._loop.create_task(self._say())

    async def _say(self) -> None:
        async with self._turn:
            if self.held:  # else a write that came first has taken them along
                await self._put(b"", True)

    async def settle(self) -> None:
        """Let the timer's last words go out: only then is it known whether the status is."""
        if self._aside is not None:
            await asyncio.wait({self._aside}, timeout=FAREWELL)
