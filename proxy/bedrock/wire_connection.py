"""One HTTP/1.1 connection: an ``asyncio.Protocol``, and what is asked and answered on it.

``Connection`` owns the socket; ``Exchange`` is one request and its answer on it, and is the body
that httpx reads. A read of the socket is: ``data_received``, the parser, one bytes object, one
future woken. The two part as soon as the answer is whole, so an exchange that is closed late can
never touch a connection that already serves someone else.

Whatever goes wrong is kept in the exchange, behind the body that came before it, and raised as the
httpx exception that ``httpx.AsyncHTTPTransport`` raises for it.
"""

import asyncio
import select
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Final, cast

import httpx

from proxy.bedrock.wire_answer import Answer
from proxy.bedrock.wire_request import Piece

Origin = tuple[str, str, int]
"""Scheme, host, port."""

UNREAD_LIMIT: Final = 131_072
"""Bytes that wait for the reader before the socket is left to fill up."""


class Exchange(Answer, httpx.AsyncByteStream):
    """One request and its answer. Iterating gives the raw body: at each step all that is there.

    At most one task waits on it at a time. What is waited for is the connection's next event of
    any kind; who waits then looks for what it needs, so nothing is lost when a wait is cancelled.
    """

    __slots__ = ("_connection", "_loop", "_read_within", "_timer", "_unread", "_waiter", "sent")

    def __init__(self, connection: "Connection", method: str, read_within: float | None) -> None:
        super().__init__(method)
        self._connection: Connection | None = connection
        self._loop = connection.loop
        self._read_within = read_within
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0
        self.sent = False

    async def send(
        self, first: bytes, more: AsyncGenerator[Piece, None] | None, within: float | None
    ) -> None:
        """Write the request, each write within ``within`` seconds.

        An answer that comes before the request's end stops it: that peer has decided.
        """
        self.sent = more is None
        await self._write(first, within)
        if more is None:
            return
        async with aclosing(more) as pieces:
            async for piece in pieces:
                await asyncio.sleep(0)  # read first: a reset met by a write takes the answer along
                if self.opened or self.error is not None:
                    return
                await self._write(piece, within)
        self.sent = not self.opened

    async def _write(self, piece: Piece, within: float | None) -> None:
        connection = self._connection
        if connection is None:
            return
        connection.transport.write(piece)
        while not (connection.writable or self.opened or self.error is not None):
            await self._progress(within, httpx.WriteTimeout)

    async def receive_head(self) -> None:
        while not self.opened:
            if self.error is not None:
                raise self.error
            await self._progress(self._read_within, httpx.ReadTimeout)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read()
        if not data:
            raise StopAsyncIteration
        return data

    async def read(self) -> bytes:
        """All of the body that is there, ``b""`` at its end."""
        parts = self.parts
        while not parts:
            if self.error is not None:
                raise self.error
            if self.complete:
                return b""
            try:
                await self._progress(self._read_within, httpx.ReadTimeout)
            except BaseException:
                self.close()
                raise
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.received += len(data)
        self._unread = 0
        if self._connection is not None:
            self._connection.resume()
        return data

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, unless the answer is whole: then it is no longer ours."""
        if self._connection is not None:
            self.error = httpx.ReadError("The response was closed.")
            self._part()

    # What the connection tells

    def feed(self, data: bytes) -> None:
        self.receive(data)
        if self.complete or self.error is not None:
            self._part()
        elif self.parts:
            self._unread += len(data)
            if self._unread > UNREAD_LIMIT and self._connection is not None:
                self._connection.pause()
        self.wake()

    def end(self, cause: Exception | None) -> None:
        """The peer has closed, or the connection broke for ``cause``."""
        self.finish(cause)
        self._part()

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not waiter.done():
                waiter.set_result(None)

    def _part(self) -> None:
        """The answer is at its end, for good or ill: give the connection up."""
        connection, self._connection = self._connection, None
        self.leave_parser()
        if connection is not None:
            connection.exchange = None
            if self.complete and self.keep and self.sent and not self.surplus:
                connection.release()
            else:
                connection.abort()
        self.wake()

    def _progress(
        self, within: float | None, late: type[httpx.TimeoutException]
    ) -> asyncio.Future[None]:
        """Done at the connection's next event; fails with ``late`` after ``within`` seconds."""
        waiter = self._waiter = self._loop.create_future()
        if within is not None:
            self._timer = self._loop.call_later(within, _expire, waiter, late)
        return waiter


class Connection(asyncio.Protocol):
    """A socket that serves one exchange after the other.

    ``released`` is called when it is free for another exchange, ``forget`` when it is over: neither
    when the loop gave it up before it was handed out.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        origin: Origin,
        released: Callable[["Connection"], None],
        forget: Callable[["Connection"], None],
    ) -> None:
        self.origin = origin
        self.loop = asyncio.get_running_loop()
        self.born = self.loop.time()
        self.idle_until = 0.0
        self.exchange: Exchange | None = None
        self.writable = True
        self._paused = False
        self.lost = False
        self._released = released
        self._forget = forget

    @property
    def is_usable(self) -> bool:
        """Whether nothing has come in since: the peer's farewell may be there, still unread."""
        if self.transport.is_closing():
            return False
        arrived = select.poll()
        arrived.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not arrived.poll(0)

    def begin(self, method: str, read_within: float | None) -> Exchange:
        assert self.exchange is None
        exchange = self.exchange = Exchange(self, method, read_within)
        if self.lost:  # between being made and being handed out
            exchange.end(None)
        return exchange

    def release(self) -> None:
        self.resume()
        if self.transport.get_write_buffer_size():
            self.abort()  # answered, yet it has not taken the whole request
        else:
            self._released(self)

    def abort(self) -> None:
        """Close at once: no flush, and no TLS farewell to wait for."""
        self.transport.abort()

    def stop(self) -> None:
        """Close at once, and end an exchange under way."""
        if self.exchange is None:
            self.abort()
        else:
            self.exchange.close()

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:
            self.abort()  # unasked: whatever it is, the next answer could not be trusted
        else:
            self.exchange.feed(data)

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._end(exc)
        self._forget(self)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.exchange is not None:
            self.exchange.wake()

    def _end(self, cause: Exception | None) -> None:
        if self.exchange is None:
            self.abort()
        else:
            self.exchange.end(cause)


def _expire(waiter: asyncio.Future[None], late: type[httpx.TimeoutException]) -> None:
    if not waiter.done():
        waiter.set_exception(late("The server took too long."))
