"""The HTTP server: uvicorn, plus the deadlines and the orderly shutdown that it lacks.

``Connection`` limits the time and size of a request head, and the time of a body in proportion to
its length; uvicorn itself waits for ever. It also enforces the single Host header that HTTP/1.1
requires. ``Server`` stops in the order that load balancers need: not ready at once, still listening
for a while, then no new connections; streams that still run at the end get an error inside the
stream.

Source: uvicorn's ``HttpToolsProtocol`` and ``Server``; the guarantees are listed in the README.
"""

import asyncio
import contextlib
import functools
import http
import re
import signal
import socket
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.errors import ProxyError, invalid
from proxy.openai.errors import error_body
from proxy.tasks import tell

Refused = Callable[[ProxyError], None]
"""Called with the error of a request that is refused here, before it reaches the app."""

BACKLOG: Final = 2048
"""Connections that may wait to be accepted."""
HEAD_SECONDS: Final = 15.0
HEAD_BYTES: Final = 64 * 1024
PIPELINED: Final = 64
"""Pipelined requests that may wait on a connection: 2 KB each, before any key is checked."""
BODY_SECONDS: Final = 30.0
BODY_RATE: Final = 64 * 1024
"""Slowest pace of a body, in bytes per second, beyond ``BODY_SECONDS``."""
IDLE_SECONDS: Final = 75.0
"""How long an idle connection is kept: above a load balancer's idle time (60 s on an ALB)."""
UNREAD_SECONDS: Final = 120.0
"""How long a closing connection waits for a client that reads nothing of what is left."""
_HOST: Final = re.compile(
    rb"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?[ \t]*"
)
"""RFC 9110, section 7.2; empty where the URL has no authority."""
_MALFORMED: Final = "malformed_request"


class Gathered:
    """A transport that sends an answer's head together with what follows it.

    uvicorn writes the two by themselves: two system calls and as many packets. A head waits for no
    longer than this turn of the event loop. Everything else is the transport's own.
    """

    __slots__ = ("_head", "_loop", "_patience", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._patience: asyncio.TimerHandle | None = None
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        if not self._transport.is_closing():
            self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        """Close once the written data has been sent, or the client has stopped reading."""
        self._flush()
        self._transport.close()
        if self._patience is None:
            self._wait(self._transport.get_write_buffer_size())

    def lost(self) -> None:
        """All data has been sent."""
        if self._patience is not None:
            self._patience.cancel()

    def _wait(self, left: int) -> None:
        if left:
            self._patience = self._loop.call_later(UNREAD_SECONDS, self._look, left)

    def _look(self, before: int) -> None:
        left = self._transport.get_write_buffer_size()
        if left < before:
            self._wait(left)
        else:
            self._transport.abort()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)


class Connection(HttpToolsProtocol):
    """One client connection, with deadlines for what it sends. ``refused`` is called for what is
    not HTTP."""

    # Over 30 attributes an object no longer shares the layout of its dict: 1.3 KB a connection.
    __slots__ = ("_deadline", "_declined", "_head_size", "_in_body", "_in_head", "_refused")

    def __init__(self, refused: Refused, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._refused = refused
        self._deadline: asyncio.TimerHandle | None = None
        self._head_size = 0
        self._in_head = True
        self._in_body = False
        self._declined = False

    # uvicorn narrows the type that asyncio declares, and so do we.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, Gathered(transport, self.loop)))
        self._arm(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        cast(Gathered, self.transport).lost()

    def data_received(self, data: bytes) -> None:
        self._head_size += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            crowded = len(self.pipeline) >= PIPELINED
            what = "Too many pipelined requests." if crowded else "Invalid HTTP request received."
            self._refuse(invalid(what, code=_MALFORMED))
            return
        # Most requests come in one read: only what is still unfinished has a deadline.
        if self._deadline is None:
            if self._in_body:
                self._arm(BODY_SECONDS + self._declared_length() / BODY_RATE)
            elif self._in_head and self._head_size:
                self._arm(HEAD_SECONDS)
        # Counted are a head that is unfinished, and what stands in a body and is none of it: an
        # endless trailer, or the extension of a chunk.
        if self._head_size > HEAD_BYTES and not self.transport.is_closing():
            error = invalid("The request head is too large.", code="head_too_large", status=431)
            self._refuse(error)

    def _parse(self, data: bytes) -> None:
        """Feed the parser, and go on in HTTP/1.1 where a client offers another protocol.

        Java's own HttpClient offers h2c with every request to an http:// address, its body behind
        it. httptools takes whatever follows such a head for the other protocol, so a parser that
        knows only of the body reads on.
        """
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offered:
                data = data[offered.args[0] :]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            framing = self._framing()
            if framing:
                self._declined = True
                self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
                self._declined = False

    def _framing(self) -> bytes:
        """The headers that announce a body; empty where none follows."""
        named = (b"content-length", b"transfer-encoding")
        lines = (b"%b: %b\r\n" % (name, value) for name, value in self.headers if name in named)
        return b"".join(lines)

    def on_message_begin(self) -> None:
        if self._declined:
            return
        if len(self.pipeline) >= PIPELINED:
            raise ConnectionRefusedError  # ends the parser; told by `data_received`
        super().on_message_begin()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        if not self._declined:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head and not self._declined:  # trailers are not used
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._declined:
            return
        self._in_head, self._head_size = False, 0
        before: Any = self.cycle
        waiting_in_line = before is not None and not before.response_complete
        version = self.parser.get_http_version()
        old = version == "1.0"
        hosts = [value for name, value in self.headers if name == b"host"]
        one_host = len(hosts) == 1 and _HOST.fullmatch(hosts[0])
        if not one_host and (hosts or version == "1.1"):
            error = invalid("A request needs exactly one valid Host header.", code=_MALFORMED)
            self._refused(error)
            self.app = functools.partial(_answer, error)  # for good: it closes the connection
        if old:
            self.expect_100_continue = False
        super().on_headers_complete()
        if old:
            # uvicorn creates the cycle itself; there is no other hook.
            self.cycle.send = functools.partial(  # type: ignore[method-assign]
                _send_unchunked, self.cycle, self.cycle.send
            )
        self._disarm()
        self._in_body = not waiting_in_line  # else we paused reading, and the sender is not slow

    def on_body(self, body: bytes) -> None:
        self._head_size = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() and self._framing():
            return  # the end of a head only: see `_parse`
        self._disarm()
        self._in_head, self._in_body, self._head_size = True, False, 0
        super().on_message_complete()

    def _refuse(self, error: ProxyError) -> None:
        """Answer what cannot be read any further, in the envelope of every other error."""
        self._refused(error)
        phrase, body = http.HTTPStatus(error.status).phrase.encode(), error_body(error)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (error.status, phrase, len(body), body)
        )
        self.transport.close()

    def _declared_length(self) -> int:
        for name, value in self.headers:
            if name == b"content-length" and value.isdigit():
                return int(value[:12])
        return 0

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self.transport.close)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """A server with graceful shutdown: ``stop`` is awaited once, before the listeners close."""

    def __init__(
        self,
        config: uvicorn.Config,
        leave: Callable[[], Coroutine[Any, Any, None]],
        drain: Callable[[], Coroutine[Any, Any, None]],
        reload: Callable[[], None],
        ready: Callable[[str], None],
    ) -> None:
        super().__init__(config)
        self._leave = leave
        self._drain = drain
        self._reload = reload
        self._ready = ready
        self._stopping: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # not main thread
            self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        await super().startup(sockets)
        if self.started and self.servers:
            bound = self.servers[0].sockets[0].getsockname()
            self._ready(_url(bound[0], bound[1]))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal starts the shutdown, the second one exits at once."""
        if self._stopping is not None or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Start the shutdown. Call it on the server's own loop only."""
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop(), name="leaving")
            self._stopping.add_done_callback(tell)

    async def _stop(self) -> None:
        try:
            await self._leave()
        finally:
            self.should_exit = True
        await self._drain()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.force_exit:
            for connection in tuple(self.server_state.connections):
                connection.transport.abort()
        await super().shutdown(sockets)


class MetricsListener:
    """A second listener of the same process and loop, for the operator: no lifespan, no drain."""

    def __init__(self, app: Any, listener: socket.socket) -> None:
        config = configure(app, "", 0, 0.0)
        config.lifespan = "off"
        config.load()
        self._listener = listener
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)

    async def open(self) -> None:
        await self._server.startup([self._listener])

    async def close(self) -> None:
        await self._server.shutdown([self._listener])


async def _answer(error: ProxyError, scope: Any, receive: Any, send: Any) -> None:
    """Refuse a request with only an invalid head. This is an app, so that pipelined requests are
    answered in order."""
    body = error_body(error)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_unchunked(cycle: Any, send: Callable[[Any], Any], message: Any) -> None:
    """Send to an HTTP/1.0 client, which knows no chunks: the end of the connection ends the body.

    RFC 9112, section 6.1. uvicorn chunks whatever has no length, and counts what has one.
    """
    if message["type"] == "http.response.body":
        cycle.expected_content_length = len(message.get("body", b""))
    elif all(name.lower() != b"content-length" for name, _ in message.get("headers", ())):
        cycle.chunked_encoding = False
    await send(message)


def configure(
    app: Any,
    host: str,
    port: int,
    drain_timeout: float,
    idle_timeout: float = IDLE_SECONDS,
    refused: Refused = lambda error: None,
) -> uvicorn.Config:
    """uvicorn's configuration; times are in seconds. ``refused`` is called for what is not HTTP.

    A load balancer that keeps idle connections longer than ``idle_timeout`` will sometimes use one
    that is closed, and return a 502.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=cast(Any, functools.partial(Connection, refused)),  # called as the class is
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on who the peer says it is
        backlog=BACKLOG,
        timeout_keep_alive=int(idle_timeout),
        # The drain ends every answer itself; this is only a safety net.
        timeout_graceful_shutdown=int(drain_timeout) + 8,
    )


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
