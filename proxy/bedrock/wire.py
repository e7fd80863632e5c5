"""The fast engine: HTTP/1.1 behind httpx's transport seam, at a fraction of httpx's own cost.

``WireEngine`` does what ``httpx.AsyncHTTPTransport`` does for us, with its exceptions and timeouts:
it takes the youngest idle connection or opens one, writes, and gives the answer when its head is
there. A connection goes back the moment its answer is whole; one that the peer closes, or that
speaks unasked, leaves the pool at once. Nothing here retries: a dead connection is told by
``RemoteProtocolError`` or ``ReadError``, and whoever signed the request decides.

The number of open connections is not bounded here, so no request waits for another one.
It serves one event loop, asyncio's or uvloop's, and no HTTP proxies: those need httpx's.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import httpx

from proxy.bedrock.wire_connection import Connection, Exchange, Origin
from proxy.bedrock.wire_dial import dial
from proxy.bedrock.wire_request import Writes, encode, encode_whole

Timeouts = Mapping[str, float | None]
"""Seconds by what is waited for (connect, read, write), as httpx has it."""

_PORTS: Final = MappingProxyType({"http": 80, "https": 443})
_FAREWELL: Final = 1.0
"""Seconds that closing waits for the loop to have closed the sockets."""


class WireEngine(httpx.AsyncBaseTransport):
    """Keeps at most ``keep`` idle connections (0: never reuses one), each for ``keepalive_expiry``
    seconds of idleness and ``max_age`` seconds in all, so that changes of DNS are followed."""

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        *,
        keep: int,
        keepalive_expiry: float = 50.0,
        max_age: float = 300.0,
    ) -> None:
        ssl_context.set_alpn_protocols(["http/1.1"])
        self._ssl_context = ssl_context
        self._idle = _Idle(keep, keepalive_expiry, max_age)
        self._open: set[Connection] = set()
        self._closed = False
        self._all_lost: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<WireEngine {len(self._open)} open, {len(self._idle)} idle>"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer's head; ``response.stream`` gives its body, de-chunked and undecoded.

        ``request.extensions["timeout"]`` is in seconds, as httpx has it. The response must be
        closed in any case. Raises ``httpx.TransportError``.
        """
        timeouts = request.extensions.get("timeout", {})
        exchange = await self._exchange(
            request.method, _origin(request.url), encode(request), timeouts
        )
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=exchange,
            extensions={
                "http_version": b"HTTP/1.1" if exchange.version == "1.1" else b"HTTP/1.0",
                "reason_phrase": exchange.reason,
            },
        )

    def send(
        self,
        method: str,
        url: httpx.URL,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        timeouts: Timeouts,
    ) -> Awaitable[Exchange]:
        """The same without httpx's objects around it, which cost more than the rest: the answer's
        head is there, iterating gives its body, and it must be closed in any case."""
        writes = encode_whole(method, url, headers, body)
        return self._exchange(method, _origin(url), writes, timeouts)

    async def _exchange(
        self, method: str, origin: Origin, writes: Writes, timeouts: Timeouts
    ) -> Exchange:
        connection = self._idle.take(origin)
        if connection is None:
            connection = await self._connect(origin, timeouts.get("connect"))
        exchange = connection.begin(method, timeouts.get("read"))
        try:
            await exchange.send(*writes, timeouts.get("write"))
            await exchange.receive_head()
        except BaseException:
            exchange.close()
            raise
        return exchange

    async def aclose(self) -> None:
        """Close every connection, also those in use. No request is served afterwards."""
        self._closed = True
        self._idle.close()
        if not self._open:
            return
        self._all_lost = asyncio.Event()
        for connection in tuple(self._open):
            connection.stop()
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._all_lost.wait()
        except TimeoutError:
            pass  # the loop closes them when it can

    async def _connect(self, origin: Origin, within: float | None) -> Connection:
        try:
            async with asyncio.timeout(within):
                connection = await self._establish(origin)
        except TimeoutError as fault:
            raise httpx.ConnectTimeout("Connecting took too long.") from fault
        except (OSError, UnicodeError) as fault:  # of the resolver, the network and TLS
            raise httpx.ConnectError(str(fault)) from fault
        if not connection.lost:
            self._open.add(connection)
        if self._closed:
            connection.abort()
            raise httpx.ConnectError("The engine is closed.")
        return connection

    async def _establish(self, origin: Origin) -> Connection:
        scheme, host, port = origin
        opened = await dial(host, port)
        secure = scheme == "https"
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(origin, self._idle.put, self._forget),
            sock=opened,
            ssl=self._ssl_context if secure else None,
            server_hostname=host if secure else None,
        )
        return connection

    def _forget(self, connection: Connection) -> None:
        self._idle.drop(connection)
        self._open.discard(connection)
        if self._all_lost is not None and not self._open:
            self._all_lost.set()


class _Idle:
    """Idle connections, the youngest taken first; every step costs the same, however many."""

    def __init__(self, keep: int, expiry: float, max_age: float) -> None:
        self._keep = keep
        self._expiry = expiry
        self._max_age = max_age
        self._by_age: OrderedDict[Connection, None] = OrderedDict()
        self._by_origin: dict[Origin, OrderedDict[Connection, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._by_age)

    def take(self, origin: Origin) -> Connection | None:
        stack = self._by_origin.get(origin)
        while stack:
            connection = next(reversed(stack))
            self.drop(connection)
            if connection.is_usable and connection.idle_until > connection.loop.time():
                return connection
            connection.abort()
        return None

    def put(self, connection: Connection) -> None:
        """Keep ``connection`` if it may be kept, at the cost of the oldest one; else close it."""
        now = connection.loop.time()
        connection.idle_until = min(now + self._expiry, connection.born + self._max_age)
        if self._keep <= 0 or connection.idle_until <= now:
            connection.abort()
            return
        if len(self._by_age) >= self._keep:
            self._close_oldest()
        self._by_age[connection] = None
        self._by_origin.setdefault(connection.origin, OrderedDict())[connection] = None
        if self._timer is None:
            self._timer = connection.loop.call_at(connection.idle_until, self._expire)

    def drop(self, connection: Connection) -> None:
        if connection in self._by_age:
            del self._by_age[connection]
            del self._by_origin[connection.origin][connection]

    def close(self) -> None:
        self._keep = 0
        while self._by_age:
            self._close_oldest()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_oldest(self) -> None:
        oldest = next(iter(self._by_age))
        self.drop(oldest)
        oldest.abort()

    def _expire(self) -> None:
        self._timer = None
        while self._by_age:
            oldest = next(iter(self._by_age))
            if oldest.idle_until > oldest.loop.time():
                self._timer = oldest.loop.call_at(oldest.idle_until, self._expire)
                return
            self._close_oldest()


def _origin(url: httpx.URL) -> Origin:
    scheme = url.scheme
    if scheme not in _PORTS:
        raise httpx.UnsupportedProtocol(f"Request URL has an unsupported protocol {scheme!r}.")
    host = url.raw_host.decode("ascii")
    if not host:
        raise httpx.UnsupportedProtocol("Request URL has no host.")
    return scheme, host, url.port or _PORTS[scheme]
