"""An answer's head leaves with what follows it, everything else at once, and nothing behind a
close."""

import asyncio
from typing import Any

import pytest

from proxy.server import Gathered

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire:
    """What a transport was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append("close")
        self.closing = True

    def abort(self) -> None:
        self.told.append("abort")
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> str:
        return name


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def transport(wire: Wire) -> Gathered:
    return Gathered(wire, asyncio.get_running_loop())


async def test_a_head_and_what_follows_are_one_write(wire: Wire, transport: Gathered) -> None:
    transport.write(HEAD)
    assert wire.told == []
    transport.write(b"body")
    transport.write(b"end")
    assert wire.told == [HEAD + b"body", b"end"]
    await asyncio.sleep(0)
    assert wire.told == [HEAD + b"body", b"end"]


async def test_a_head_alone_waits_for_no_longer_than_a_turn(
    wire: Wire, transport: Gathered
) -> None:
    for _ in range(2):
        transport.write(HEAD)
        await asyncio.sleep(0)
        transport.write(b"body")
    assert wire.told == [HEAD, b"body"] * 2


async def test_a_second_head_comes_behind_the_first(wire: Wire, transport: Gathered) -> None:
    """An interim answer, and the final one."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    transport.write(interim)
    transport.write(HEAD)
    transport.write(b"body")
    await asyncio.sleep(0)
    assert b"".join(wire.told) == interim + HEAD + b"body"


async def test_a_close_comes_behind_what_was_written(wire: Wire, transport: Gathered) -> None:
    transport.write(HEAD)
    transport.close()
    assert wire.told == [HEAD, "close"]
    await asyncio.sleep(0)
    assert wire.told == [HEAD, "close"]


async def test_nothing_is_written_behind_an_end(wire: Wire, transport: Gathered) -> None:
    transport.write(HEAD)
    transport.abort()
    await asyncio.sleep(0)
    transport.write(b"more")
    assert wire.told == ["abort"]
    assert transport.is_closing()


async def test_all_else_is_the_transports_own(transport: Gathered) -> None:
    assert transport.get_extra_info("peername") == "peername"
    with pytest.raises(AttributeError):
        transport.no_such_thing  # noqa: B018
