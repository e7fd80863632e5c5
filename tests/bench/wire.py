"""What an engine costs: CPU per request and per event, both engines in turn, against loopback.

    python tests/bench/wire.py            # a table; about a minute
    python tests/bench/wire.py --rounds 9

The peer runs in a process of its own and answers with chunked events, so only the engine's process
is measured (``time.process_time``, which sees the kernel's part too). Engines take turns within a
round, and the figure is the median over the rounds: on a busy machine trust the ratio, no time.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from proxy.bedrock.engine import proven_engine
from proxy.bedrock.wire import WireEngine

EVENT: Final = b"x" * 160
"""About a contentBlockDelta of a few words."""
CHUNK: Final = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: keep-alive\r\nx-amzn-RequestId: 0f3a1c9e-7f0e-4a51-9a0b-2f9d3c1b7a10\r\n\r\n"
)


class Peer(asyncio.Protocol):
    """Answers ``/events/gap`` with so many events; gap in ms between writes, 0: all in one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        self.pending += data
        head, found, rest = self.pending.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self.pending = rest[length:]
        events, gap = map(int, head.split(b" ")[1].split(b"/")[1:3])
        if gap:
            self.transport.write(HEAD)
            asyncio.get_running_loop().call_later(gap / 1000, self._pace, events, gap / 1000)
        else:
            self.transport.write(HEAD + CHUNK * events + b"0\r\n\r\n")

    def _pace(self, left: int, gap: float) -> None:
        if left:
            self.transport.write(CHUNK)
            asyncio.get_running_loop().call_later(gap, self._pace, left - 1, gap)
        else:
            self.transport.write(b"0\r\n\r\n")


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


async def ask(engine: httpx.AsyncBaseTransport, url: httpx.URL, body: bytes) -> None:
    headers = {"content-type": "application/json", "authorization": "AWS4-HMAC-SHA256 " + "x" * 200}
    request = httpx.Request("POST", url, headers=headers, content=body)
    response = await engine.handle_async_request(request)
    async for _ in response.stream:  # type: ignore[union-attr]
        pass
    await response.aclose()


class Load(NamedTuple):
    name: str
    path: str
    concurrency: int
    requests: int
    body: bytes = b'{"messages":[]}'
    per: int = 1
    """What the figure is divided by, beside the requests: 1, or the events of each."""
    unit: str = "request"


LOADS: Final = (
    Load("one event", "/1/0", 1, 300),
    Load("20 events in one write", "/20/0", 1, 300),
    Load("500 events in one write", "/500/0", 1, 60, per=500, unit="event"),
    Load("100 events, 5 ms apart, 20 streams", "/100/5", 20, 20, per=100, unit="event"),
    Load("20 at once", "/20/0", 20, 400),
    Load("200 KB prompt", "/1/0", 1, 100, body=b"x" * 200_000),
)


async def cost(engine: httpx.AsyncBaseTransport, base: str, load: Load) -> float:
    """CPU microseconds per unit; making the request is part of it, for both engines alike."""
    url = httpx.URL(base + load.path)

    async def worker(count: int) -> None:
        for _ in range(count):
            await ask(engine, url, load.body)

    each = load.requests // load.concurrency
    began = time.process_time()
    await asyncio.gather(*(worker(each) for _ in range(load.concurrency)))
    spent = time.process_time() - began
    return spent / (each * load.concurrency * load.per) * 1e6


def proven() -> httpx.AsyncBaseTransport:
    return proven_engine(httpx.create_ssl_context(), 100)


def fast() -> httpx.AsyncBaseTransport:
    return WireEngine(httpx.create_ssl_context(), keep=100)


async def measure(base: str, rounds: int) -> None:
    opened: tuple[Callable[[], httpx.AsyncBaseTransport], ...] = (proven, fast)
    engines = [make() for make in opened]
    rows: dict[str, list[list[float]]] = {load.name: [[], []] for load in LOADS}
    for number in range(rounds + 1):
        for load in LOADS:
            for which, engine in enumerate(engines):
                figure = await cost(engine, base, load)
                if number:  # the first round warms up
                    rows[load.name][which].append(figure)
    await asyncio.gather(*(closed(engine) for engine in engines))
    report(rows)


def closed(engine: httpx.AsyncBaseTransport) -> Awaitable[None]:
    return engine.aclose()


def report(rows: dict[str, list[list[float]]]) -> None:
    print(f"{'load':38} {'unit':8} {'httpx us':>9} {'wire us':>9} {'ratio':>6}")  # noqa: T201
    for load in LOADS:
        slow, quick = (statistics.median(figures) for figures in rows[load.name])
        print(  # noqa: T201
            f"{load.name:38} {load.unit:8} {slow:9.1f} {quick:9.1f} {slow / quick:6.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve())
        return
    with subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdout is not None
        try:
            port = int(peer.stdout.readline())
            uvloop.run(measure(f"http://127.0.0.1:{port}", options.rounds))
        finally:
            peer.terminate()


if __name__ == "__main__":
    main()
