"""What one process remembers: by owner, within its room, for its time."""

import pytest

from proxy.memory.store import LocalMemory, NoMemory

pytestmark = pytest.mark.anyio
BIG = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_value_comes_back_to_its_owner_only() -> None:
    memory = LocalMemory(BIG, 60, Clock())
    await memory.keep("ann", "k", b"hers")
    await memory.keep("bob", "k", b"his")
    assert await memory.recall("ann", ["k", "other"]) == {"k": b"hers"}
    assert await memory.recall("bob", ["k"]) == {"k": b"his"}
    assert await memory.recall("eve", ["k"]) == {}
    await memory.forget("ann", ["k", "never was"])
    assert await memory.recall("ann", ["k"]) == {}
    assert await memory.recall("bob", ["k"]) == {"k": b"his"}


async def test_age_counts_from_the_last_use() -> None:
    clock = Clock()
    memory = LocalMemory(BIG, 60, clock)
    await memory.keep("a", "used", b"1")
    await memory.keep("a", "unused", b"2")
    clock.now += 59
    assert await memory.recall("a", ["used"]) == {"used": b"1"}
    clock.now += 2
    assert await memory.recall("a", ["used", "unused"]) == {"used": b"1"}
    assert len(memory) == 1
    clock.now += 61
    assert await memory.recall("a", ["used"]) == {}
    assert (len(memory), memory.size) == (0, 0)


async def test_the_least_recently_used_make_room() -> None:
    memory = LocalMemory(13_500, 60, Clock())
    for name in "abcdefghij":
        await memory.keep("o", name, bytes(1000))
    assert await memory.recall("o", ["a"]) == {"a": bytes(1000)}
    await memory.keep("o", "k", bytes(1000))
    assert await memory.recall("o", ["a", "b", "k"]) == {"a": bytes(1000), "k": bytes(1000)}
    assert memory.size <= 13_500


async def test_room_is_counted_exactly_whatever_happens() -> None:
    memory = LocalMemory(50_000, 60, Clock())
    for turn in range(300):
        await memory.keep("o", str(turn % 40), bytes(turn * 7 % 3000))
        assert memory.size <= 50_000
        if turn % 5 == 0:
            await memory.forget("o", [str(turn % 13)])
    for turn in range(40):
        await memory.forget("o", [str(turn)])
    assert (memory.size, len(memory)) == (0, 0)


async def test_a_value_too_large_to_share_the_room_is_not_kept_and_takes_the_old_one() -> None:
    memory = LocalMemory(8000, 60, Clock())
    await memory.keep("o", "k", b"small")
    await memory.keep("o", "k", bytes(1000))
    assert await memory.recall("o", ["k"]) == {}


async def test_closing_forgets() -> None:
    memory = LocalMemory(BIG, 60, Clock())
    await memory.keep("o", "k", b"v")
    assert "1 MB" in memory.describe()
    await memory.close()
    assert (len(memory), memory.size) == (0, 0)


async def test_no_memory() -> None:
    memory = NoMemory()
    await memory.keep("o", "k", b"v")
    await memory.forget("o", ["k"])
    assert await memory.recall("o", ["k"]) == {}
    assert "not" in memory.describe()
    await memory.close()
