"""Replicas that remember together, against a real server: sealed, aging, and without it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.memory.sealing import Sealer
from proxy.memory.shared import SharedMemory
from proxy.memory.store import LocalMemory
from proxy.valkey import connect
from tests.support.valkey import ValkeyServer, needs_server

pytestmark = [pytest.mark.anyio, needs_server]
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    one = ValkeyServer(tmp_path).start()
    yield one
    one.stop()


def replica(url: str, secret: str = SECRET, ttl: float = 60) -> SharedMemory:
    client, faults = connect(url, 0.3)
    local = LocalMemory(1_000_000, ttl, time.monotonic)
    return SharedMemory(
        client, faults, Sealer(secret), local, ttl=ttl, clock=time.monotonic, timeout=0.3
    )


@pytest.fixture
async def replicas(server: ValkeyServer) -> AsyncIterator[tuple[SharedMemory, SharedMemory]]:
    pair = replica(server.url), replica(server.url)
    yield pair
    for one in pair:
        await one.close()


Pair = tuple[SharedMemory, SharedMemory]


async def test_what_one_keeps_the_other_recalls(replicas: Pair) -> None:
    here, there = replicas
    await here.keep("ann", "k1", b"one")
    await here.keep("ann", "k2", b"two")
    await there.keep("ann", "k3", b"three")
    found = await there.recall("ann", ["k3", "none", "k2", "k1"])
    assert found == {"k1": b"one", "k2": b"two", "k3": b"three"}
    assert await there.recall("bob", ["k1"]) == {}
    assert await there.recall("ann", []) == {}
    await there.forget("ann", ["k1"])
    assert await replica_sees(here, "k1") == {"k1": b"one"}  # its own copy ages by itself
    assert "encrypted" in here.describe()


async def replica_sees(memory: SharedMemory, *keys: str) -> Any:
    return await memory.recall("ann", keys)


async def test_the_server_learns_nothing(server: ValkeyServer, replicas: Pair) -> None:
    await replicas[0].keep("ann", "tooluseabc", b"the model thought of whales")
    client, _ = connect(server.url)
    raw: Any = client
    [name] = await raw.keys("*")
    value = await raw.get(name)
    for text in (b"ann", b"tooluse", b"whales"):
        assert text not in name + value
    assert 0 < await raw.ttl(name) <= 60
    # Moved to another name, or under another operator's secret, it does not open.
    await raw.set(replicas[0]._name("bob", "tooluseabc"), value)
    assert await replicas[1].recall("bob", ["tooluseabc"]) == {}
    stranger = replica(server.url, "another secret of 32 characters.")
    assert await stranger.recall("ann", ["tooluseabc"]) == {}
    await stranger.close()
    await raw.aclose()


async def test_use_renews_the_age(server: ValkeyServer) -> None:
    here, there = replica(server.url, ttl=1), replica(server.url, ttl=60)
    await here.keep("ann", "k", b"v")
    assert await there.recall("ann", ["k"]) == {"k": b"v"}
    client, _ = connect(server.url)
    raw: Any = client
    [name] = await raw.keys("*")
    assert await raw.ttl(name) > 1
    await raw.aclose()
    await here.close()
    await there.close()


async def test_without_the_server_each_remembers_for_itself(
    server: ValkeyServer, replicas: Pair
) -> None:
    here, there = replicas
    server.stop()
    began = time.monotonic()
    await here.keep("ann", "k", b"v")
    assert await here.recall("ann", ["k", "other"]) == {"k": b"v"}
    assert await there.recall("ann", ["k"]) == {}
    for _ in range(50):  # no more than one of these asks
        await there.recall("ann", ["k"])
    assert time.monotonic() - began < 5.0
    server.start()
    await asyncio.sleep(1.05)
    await here.keep("ann", "k", b"again")
    assert await there.recall("ann", ["k"]) == {"k": b"again"}


async def test_a_server_that_hangs_is_left_alone() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    deaf = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = deaf.sockets[0].getsockname()[1]
    memory = replica(f"redis://127.0.0.1:{port}")
    began = time.monotonic()
    await memory.keep("ann", "k", b"v")
    assert await memory.recall("ann", ["k", "other"]) == {"k": b"v"}
    assert time.monotonic() - began < 5.0
    await memory.close()
    deaf.close()
    await deaf.wait_closed()
