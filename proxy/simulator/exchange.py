"""One HTTP exchange: the request read whole, a response written, a hang-up noticed.

`Exchange` wraps ASGI's receive and send. Once the body is read it keeps one receive pending, so
that `pause` can wait for "so long, or until the client is gone" and every stream can stop as soon
as nobody listens. `reset` and `close` reach the TCP connection through the transport that
`server.py` puts into the scope: a reset or a cut cannot be said in ASGI.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from email.utils import formatdate
from typing import Any

import orjson

from proxy.simulator.refusals import Refusal
from proxy.simulator.state import Received

TRANSPORT = "simulator.transport"
EVENT_STREAM = "application/vnd.amazon.eventstream"
_LARGEST = 64 * 1024 * 1024

Headers = tuple[tuple[str, str], ...]


class Gone(Exception):
    """The client hung up."""


class Exchange:
    def __init__(self, scope: Any, receive: Any, send: Any, request_id: str, offset: float) -> None:
        self.scope = scope
        self.request_id = request_id
        self.record: Received | None = None
        self._receive = receive
        self._send = send
        self._offset = offset
        self._dropped = False
        self._watch: asyncio.Task[None] | None = None

    async def read(self) -> bytes:
        """The request body; raises Gone when the client leaves half-way."""
        parts, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > _LARGEST:
                raise Refusal("RequestEntityTooLargeException", "Request body is too large.")
            if not message.get("more_body", False):
                break
        self._watch = asyncio.create_task(self._await_hang_up())
        return b"".join(parts)

    async def _await_hang_up(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self.record is not None and not self._dropped:
            self.record.gone_at = time.monotonic()

    async def pause(self, seconds: float) -> None:
        """Wait; raises Gone as soon as the client is."""
        watch = self._watch
        if watch is None:
            await asyncio.sleep(seconds)
            return
        if seconds > 0:
            await asyncio.wait({watch}, timeout=seconds)
        if watch.done():
            raise Gone

    def check(self) -> None:
        if self._watch is not None and self._watch.done():
            raise Gone

    async def head(self, status: int, content_type: str, headers: Headers = ()) -> None:
        """The status line and the headers that the service sends, in its order (fact 38)."""
        if self.record is not None:
            self.record.status = status
        listed = [
            ("Date", formatdate(time.time() + self._offset, usegmt=True)),
            ("Content-Type", content_type),
            *headers,
            ("x-amzn-RequestId", self.request_id),
        ]
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in listed]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def body(self, data: bytes, *, more: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def whole(
        self,
        status: int,
        data: bytes,
        content_type: str = "application/json",
        headers: Headers = (),
    ) -> None:
        """A response with a length."""
        await self.head(status, content_type, (("Content-Length", str(len(data))), *headers))
        await self.body(data)

    async def refuse(self, refusal: Refusal) -> None:
        """An AWS error answer."""
        if self.record is not None:
            self.record.error = refusal.error
        typed: Headers = (("x-amzn-ErrorType", refusal.error_type),) if refusal.error else ()
        data = orjson.dumps(refusal.body)
        await self.whole(refusal.status, data, headers=(*typed, *refusal.headers))

    def finish(self) -> None:
        """Stop watching; a hang-up from now on is an ordinary end."""
        if self._watch is not None:
            self._watch.cancel()

    async def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        transport = self._transport()
        linger = transport.get_extra_info("socket")
        linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await self._closed()

    async def close(self) -> None:
        """Close the connection in the middle: what was written goes out, no end is marked."""
        self._transport().close()
        await self._closed()

    def hang_up(self) -> None:
        """Close a connection whose answer is complete."""
        self._transport().close()

    async def _closed(self) -> None:
        """Wait until the server knows; it complains about answers that simply stop."""
        self._dropped = True
        if self._watch is not None:
            await asyncio.wait({self._watch}, timeout=5.0)

    def _transport(self) -> Any:
        return self.scope["extensions"][TRANSPORT]["transport"]
