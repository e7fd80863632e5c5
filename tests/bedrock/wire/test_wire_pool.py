"""The fast engine's pool: what it keeps, for how long, and in which order it gives it out."""

import asyncio
import ssl
import time
from typing import cast

import httpx
import pytest

from proxy.bedrock.wire import WireEngine, _Idle
from proxy.bedrock.wire_connection import Connection, Origin
from tests.bedrock.wire.peer import (
    CHUNKED,
    NOBODY,
    OK,
    Line,
    fetch,
    peer,
    request,
    serving,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["wire-asyncio", "wire-uvloop"])
def seat(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def of(keep: int, expiry: float = 50.0, max_age: float = 300.0) -> WireEngine:
    return WireEngine(
        ssl.create_default_context(cafile=NOBODY),
        keep=keep,
        keepalive_expiry=expiry,
        max_age=max_age,
    )


async def at_once(engine: WireEngine, url: str, count: int) -> None:
    await asyncio.gather(*(fetch(engine, request(url)) for _ in range(count)))


async def numbered(line: Line) -> None:
    """Answers with the number of the connection."""
    while True:
        await line.read_request()
        await asyncio.sleep(0.01)
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % line.number)


async def test_at_most_so_many_are_kept_the_oldest_goes() -> None:
    async with of(3) as engine, peer(numbered) as far:
        await at_once(engine, far.url, 8)
        assert len(far.lines) == 8
        assert "3 idle" in repr(engine)
        await until(lambda: repr(engine) == "<WireEngine 3 open, 3 idle>")


async def test_the_youngest_is_taken_first() -> None:
    async with of(9) as engine, peer(numbered) as far:
        await at_once(engine, far.url, 3)
        used = {(await fetch(engine, request(far.url)))[1] for _ in range(5)}
        assert len(used) == 1


async def test_hosts_share_the_cap_and_nothing_else() -> None:
    async with of(2) as engine, peer(serving(OK)) as a, peer(serving(OK)) as b:
        for _ in range(3):
            await fetch(engine, request(a.url))
            await fetch(engine, request(b.url))
        assert (len(a.lines), len(b.lines)) == (1, 1)
        await at_once(engine, a.url, 3)
        await fetch(engine, request(b.url))
        assert len(b.lines) == 2
        assert repr(engine).endswith("2 idle>")


async def test_an_idle_connection_expires_by_itself() -> None:
    async with of(9, expiry=0.05) as engine, peer(serving(OK)) as far:
        await at_once(engine, far.url, 4)
        assert "4 idle" in repr(engine)
        await until(lambda: repr(engine) == "<WireEngine 0 open, 0 idle>", 1.0)
        assert await fetch(engine, request(far.url)) == (200, b"ok")


async def test_a_connection_has_an_age() -> None:
    async with of(9, max_age=0.06) as engine, peer(serving(OK)) as far:
        for _ in range(12):
            assert await fetch(engine, request(far.url)) == (200, b"ok")
            await asyncio.sleep(0.01)
        assert 2 <= len(far.lines) <= 6


async def test_a_dead_idle_connection_leaves_at_once() -> None:
    async def script(line: Line) -> None:
        await line.answer()
        await go.wait()

    go = asyncio.Event()
    async with of(9) as engine, peer(script) as far:
        await at_once(engine, far.url, 5)
        assert "5 idle" in repr(engine)
        go.set()
        await until(lambda: repr(engine) == "<WireEngine 0 open, 0 idle>", 1.0)


async def test_a_farewell_not_yet_read_is_seen_before_the_next_request() -> None:
    """The answer and the end come together; the next request must not go to a dead connection."""

    async def script(line: Line) -> None:
        await line.answer()
        line.close()

    async with of(9) as engine, peer(script) as far:
        for _ in range(50):
            assert await fetch(engine, request(far.url)) == (200, b"ok")
        assert len(far.lines) == 50


async def test_an_answer_not_read_still_gives_its_connection_back() -> None:
    async with of(9) as engine, peer(serving(OK)) as far:
        for _ in range(3):
            response = await engine.handle_async_request(request(far.url))
            await response.aclose()
        assert len(far.lines) == 1
        late = await engine.handle_async_request(request(far.url))
        assert await fetch(engine, request(far.url)) == (200, b"ok")
        await late.aclose()  # its connection serves someone else by now, and goes on doing so
        assert await fetch(engine, request(far.url)) == (200, b"ok")
        assert len(far.lines) == 1


async def test_closing_the_engine_ends_everything() -> None:
    async def script(line: Line) -> None:
        while await line.read_request() != b"hold":
            await line.send(OK)
        await line.send(CHUNKED)
        await line.until_gone()

    engine = of(9)
    async with peer(script) as far:
        busy = await engine.handle_async_request(request(far.url, content=b"hold"))
        await at_once(engine, far.url, 2)
        assert repr(engine) == "<WireEngine 3 open, 2 idle>"
        waiting = asyncio.create_task(anext(aiter(busy.stream)))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        await engine.aclose()
        assert repr(engine) == "<WireEngine 0 open, 0 idle>"
        with pytest.raises(httpx.ReadError):
            await waiting
        with pytest.raises(httpx.ConnectError, match="closed"):
            await fetch(engine, request(far.url))
        await engine.aclose()
        await far.lines[0].gone.wait()


async def test_a_connection_lost_before_it_is_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with of(9) as engine, peer(serving(OK)) as far:
        establish = engine._establish

        async def dying(origin: Origin) -> Connection:
            connection = await establish(origin)
            connection.abort()
            await until(lambda: connection.lost)
            return connection

        monkeypatch.setattr(engine, "_establish", dying)
        async with asyncio.timeout(1.0):
            with pytest.raises(httpx.RemoteProtocolError, match="disconnected"):
                await fetch(engine, request(far.url))
        assert repr(engine) == "<WireEngine 0 open, 0 idle>"


async def test_an_expired_connection_is_not_taken_though_the_loop_was_busy() -> None:
    async with of(9, expiry=0.02) as engine, peer(serving(OK)) as far:
        await fetch(engine, request(far.url))
        time.sleep(0.03)  # noqa: ASYNC251  # its timer has had no chance to fire
        await fetch(engine, request(far.url))
        assert len(far.lines) == 2


@pytest.mark.parametrize("unsent", [0, 1])
async def test_a_request_not_wholly_taken_ends_its_connection(unsent: int) -> None:
    done: list[str] = []

    class Transport(asyncio.Transport):
        def get_write_buffer_size(self) -> int:
            return unsent

        def write(self, data: object) -> None: ...

        def abort(self) -> None:
            done.append("aborted")

    connection = Connection(
        ("http", "a", 80), lambda _: done.append("released"), lambda _: done.append("forgotten")
    )
    connection.connection_made(Transport())
    exchange = connection.begin("POST", None)
    await exchange.send(b"request", None, None)
    connection.data_received(OK)
    assert exchange.complete
    assert done == ["aborted" if unsent else "released"]


@pytest.mark.parametrize("idle", [16, 1000])
async def test_a_step_costs_the_same_however_many_are_idle(idle: int) -> None:
    """How many connections a step looks at; httpcore's pool looks at all of them."""
    looks = 0

    class Idle:
        origin = ("http", "a", 80)
        idle_until = 0.0

        def __init__(self) -> None:
            self.loop = asyncio.get_running_loop()
            self.born = self.loop.time()

        @property
        def is_usable(self) -> bool:
            nonlocal looks
            looks += 1
            return True

        def abort(self) -> None:
            nonlocal looks
            looks += 1

    pool = _Idle(idle, 50.0, 300.0)
    for _ in range(idle):
        pool.put(cast(Connection, Idle()))
    for _ in range(10):
        taken = pool.take(Idle.origin)
        assert taken is not None
        pool.put(taken)
    assert looks == 10
    pool.close()
    assert looks == 10 + idle
