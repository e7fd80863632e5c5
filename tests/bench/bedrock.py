"""The two other processes of ``proxy.py``'s benchmark: a Bedrock that costs little, and a pipe.

``python bedrock.py bedrock PORT`` answers ConverseStream with answers made beforehand, framed by
the project's simulator, one HTTP chunk a frame. What it answers is set by ``PUT /mode`` (JSON, see
``Mode``). It judges nothing: the simulator does that in the tests.

``python bedrock.py pipe PORT UPSTREAM`` passes bytes through, both ways and untouched: the least
that any proxy in Python can cost, and the measure that the table is in.
"""

import asyncio
import sys
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple, cast

import orjson
import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from proxy.simulator import frames

HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: keep-alive\r\nx-amzn-RequestId: 0f3a1c9e-7f0e-4a51-9a0b-2f9d3c1b7a10\r\n\r\n"
)
END: Final = b"0\r\n\r\n"
TEXT: Final = "sixteen letters."
ARGUMENTS: Final = '"some": "piece",'


class Mode(NamedTuple):
    """What is answered: so many deltas, ``gap`` milliseconds apart (0: all in one write), text or
    the pieces of a tool call; ``hold``: only the first of them, and then nothing."""

    events: int = 20
    gap: int = 0
    tool: bool = False
    hold: bool = False


def chunks_of(mode: Mode) -> list[bytes]:
    """The answer's HTTP chunks, one for each event."""
    random = Random(7)

    def chunk(kind: str, **body: Any) -> bytes:
        frame = frames.event(kind, body, random)
        return b"%x\r\n%b\r\n" % (len(frame), frame)

    opening = [chunk("messageStart", role="assistant")]
    delta: dict[str, Any] = {"text": TEXT}
    if mode.tool:
        use = {"toolUseId": "tooluse_0123456789abcdefghijkl", "name": "tool_3"}
        opening.append(chunk("contentBlockStart", contentBlockIndex=0, start={"toolUse": use}))
        delta = {"toolUse": {"input": ARGUMENTS}}
    usage = {"inputTokens": 30, "outputTokens": mode.events, "totalTokens": 30 + mode.events}
    return [
        *opening,
        *(chunk("contentBlockDelta", contentBlockIndex=0, delta=delta) for _ in range(mode.events)),
        chunk("contentBlockStop", contentBlockIndex=0),
        chunk("messageStop", stopReason="tool_use" if mode.tool else "end_turn"),
        chunk("metadata", usage=usage, metrics={"latencyMs": 5}),
    ]


class State:
    """What all connections answer."""

    def __init__(self) -> None:
        self.set(Mode())

    def set(self, mode: Mode) -> None:
        self.mode = mode
        self.chunks = chunks_of(mode)
        self.whole = HEAD + b"".join(self.chunks) + END


class Bedrock(asyncio.Protocol):
    def __init__(self, state: State) -> None:
        self._state = state
        self._pending = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        head, found, rest = self._pending.partition(b"\r\n\r\n")
        if not found:
            return
        _, declared, after = head.lower().partition(b"content-length:")
        length = int(after.split(b"\r\n")[0]) if declared else 0
        if len(rest) < length:
            return
        body, self._pending = bytes(rest[:length]), rest[length:]
        self._answer(head.split(b" ")[0], body)

    def _answer(self, method: bytes, body: bytes) -> None:
        state = self._state
        if method != b"POST":  # a listing, or the mode
            if method == b"PUT":
                state.set(Mode(**orjson.loads(body)))
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            )
        elif state.mode.hold:
            self._transport.write(HEAD + b"".join(state.chunks[:2]))
        elif state.mode.gap:
            self._transport.write(HEAD)
            self._pace(0)
        else:
            self._transport.write(state.whole)

    def _pace(self, at: int) -> None:
        chunks, gap = self._state.chunks, self._state.mode.gap
        if at < len(chunks):
            self._transport.write(chunks[at])
            asyncio.get_running_loop().call_later(gap / 1000, self._pace, at + 1)
        else:
            self._transport.write(END)


class Pipe(asyncio.Protocol):
    """One side of a connection that is passed on; ``peer`` is the other."""

    def __init__(self, upstream: int | None) -> None:
        self._upstream = upstream
        self._waiting = bytearray()
        self.peer: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self._upstream is not None:
            self._dialling = asyncio.get_running_loop().create_task(self._dial(self._upstream))

    def data_received(self, data: bytes) -> None:
        if self.peer is None:
            self._waiting += data
        else:
            self.peer.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None:
            self.peer.close()

    async def _dial(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        self.peer, other = await loop.create_connection(lambda: Pipe(None), "127.0.0.1", port)
        other.peer = self.transport
        self.peer.write(bytes(self._waiting))


async def serve(port: int, upstream: int | None) -> None:
    state = State()
    server = await asyncio.get_running_loop().create_server(
        (lambda: Bedrock(state)) if upstream is None else (lambda: Pipe(upstream)),
        "127.0.0.1",
        port,
        backlog=2048,
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[2]), int(sys.argv[3]) if sys.argv[1] == "pipe" else None))
