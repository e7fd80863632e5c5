"""What is written in one turn of the loop leaves at once, in order, and before a close."""

import asyncio
from typing import Any

import pytest

from proxy.server import Gathered

pytestmark = pytest.mark.anyio


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
async def gathered(wire: Wire) -> Gathered:
    return Gathered(wire, asyncio.get_running_loop())


async def test_one_turn_is_one_write(wire: Wire, gathered: Gathered) -> None:
    for data in (b"head", b"body", b"end"):
        gathered.write(data)
    assert wire.told == []
    await asyncio.sleep(0)
    assert wire.told == [b"headbodyend"]
    gathered.write(b"next")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wire.told == [b"headbodyend", b"next"]


async def test_a_close_comes_behind_what_was_written(wire: Wire, gathered: Gathered) -> None:
    gathered.write(b"a")
    gathered.write(b"b")
    gathered.close()
    assert wire.told == [b"ab", "close"]
    await asyncio.sleep(0)
    assert wire.told == [b"ab", "close"]


async def test_nothing_is_written_behind_an_end(wire: Wire, gathered: Gathered) -> None:
    gathered.write(b"a")
    gathered.abort()
    await asyncio.sleep(0)
    assert wire.told == ["abort"]
    assert gathered.is_closing()


async def test_all_else_is_the_transports_own(gathered: Gathered) -> None:
    assert gathered.get_extra_info("peername") == "peername"
    with pytest.raises(AttributeError):
        gathered.no_such_thing  # noqa: B018
