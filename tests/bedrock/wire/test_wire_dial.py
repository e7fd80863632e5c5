"""Dialling: every address is tried, a silent one costs a quarter of a second, none leaks."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from proxy.bedrock import wire_dial
from proxy.bedrock.wire_dial import dial
from tests.bedrock.wire.peer import (
    OK,
    engine_of,
    fetch,
    open_descriptors,
    peer,
    request,
    serving,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["wire-asyncio", "wire-uvloop"])
def seat(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The addresses that every name resolves to; filled by the test."""
    addresses: list[tuple[str, int]] = []

    async def resolve(*_: object, **__: object) -> list[tuple[Any, ...]]:
        if not addresses:
            raise socket.gaierror(-2, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in at[0] else socket.AF_INET, socket.SOCK_STREAM, 6, "", at)
            for at in addresses
        ]

    class Resolver:
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.getaddrinfo = resolve
            self.sock_connect = loop.sock_connect

    class Loops:
        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

        def get_running_loop(self) -> Resolver:
            return Resolver(asyncio.get_running_loop())

    monkeypatch.setattr(wire_dial, "asyncio", Loops())
    return addresses


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, int]]:
    """An address whose handshake never ends: its backlog is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        await asyncio.sleep(0.01)
        yield full.getsockname()
        for one in crowd:
            one.close()


@asynccontextmanager
async def refusing() -> AsyncIterator[tuple[str, int]]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()


def port_of(url: str) -> tuple[str, int]:
    return "127.0.0.1", int(url.rpartition(":")[2])


async def test_a_refused_address_is_passed_over(resolved: list[tuple[str, int]]) -> None:
    took: list[float] = []
    async with refusing() as bad, peer(serving(OK)) as far, engine_of("wire", keep=0) as engine:
        resolved += [bad, bad, port_of(far.url)]
        for _ in range(3):
            began = time.monotonic()
            assert await fetch(engine, request("http://some.name/", connect=3.0)) == (200, b"ok")
            took.append(time.monotonic() - began)
    assert min(took) < 0.2  # less than a silent one costs


async def test_a_silent_address_costs_little(resolved: list[tuple[str, int]]) -> None:
    before = open_descriptors()
    async with silent() as bad, peer(serving(OK)) as far, engine_of("wire") as engine:
        resolved += [bad, port_of(far.url)]
        began = time.monotonic()
        assert await fetch(engine, request("http://some.name/", connect=3.0)) == (200, b"ok")
        assert 0.2 < time.monotonic() - began < 2.5  # it alone would have had three
        await until(lambda: len(asyncio.all_tasks()) <= 2 + len(far.lines))
    await until(lambda: open_descriptors() <= before + 1)


async def test_every_address_fails(resolved: list[tuple[str, int]]) -> None:
    async with refusing() as bad, engine_of("wire") as engine:
        resolved += [bad, bad]
        with pytest.raises(httpx.ConnectError, match="Connect call failed"):
            await fetch(engine, request("http://some.name/"))


async def test_a_name_without_address(resolved: list[tuple[str, int]]) -> None:
    async with engine_of("wire") as engine:
        assert not resolved
        with pytest.raises(httpx.ConnectError, match="not known"):
            await fetch(engine, request("http://some.name/"))
    with pytest.raises(httpx.ConnectError):
        async with engine_of("wire") as engine:
            await fetch(engine, request("http://" + "a" * 70 + ".b/"))


@pytest.mark.parametrize("count", [1, 3])
async def test_cancelling_closes_every_socket(resolved: list[tuple[str, int]], count: int) -> None:
    before = open_descriptors()
    async with silent() as bad, engine_of("wire") as engine:
        resolved += [bad] * count
        held = open_descriptors()
        with pytest.raises(httpx.ConnectTimeout):
            await fetch(engine, request("http://some.name/", connect=0.1))
        tasks = [asyncio.create_task(fetch(engine, request("http://a/"))) for _ in range(10)]
        await asyncio.sleep(0.35)
        assert open_descriptors() >= held + 10
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(result, asyncio.CancelledError)
            for result in await asyncio.gather(*tasks, return_exceptions=True)
        )
        await until(lambda: open_descriptors() <= held)
        await until(lambda: len(asyncio.all_tasks()) <= 2)
    await until(lambda: open_descriptors() <= before + 1)


async def test_the_loop_takes_a_socket_over_for_good() -> None:
    """uvloop before 0.23 left a cancelled socket with a descriptor that it had closed; the socket
    then closed it again, and with it whichever connection had got its number (its issue 738)."""
    loop = asyncio.get_running_loop()
    async with peer(serving(OK)) as far:
        opened = await dial(*port_of(far.url))
        taking = loop.create_task(loop.create_connection(asyncio.Protocol, sock=opened))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait([taking])
        await until(lambda: opened.fileno() == -1)


async def test_a_socket_is_tuned() -> None:
    async with peer(serving(OK)) as far:
        opened = await dial(*port_of(far.url))
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        opened.close()


def test_families_take_turns() -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    listed = [(six, 1, 6, n) for n in range(3)] + [(four, 1, 6, n) for n in range(2)]
    turns = wire_dial._by_turns(listed)
    assert [(at[0], at[3]) for at in turns] == [(six, 0), (four, 0), (six, 1), (four, 1), (six, 2)]
