"""The interface of a memory, and the two that live in one process: ``LocalMemory`` and
``NoMemory``.

A memory stores small opaque values (the signed reasoning of a tool turn) under an owner and a key,
for clients that keep only standard fields and would lose them. Owners are isolated from each other.
An entry may disappear at any time (age, size limit, restart), so callers must cope without it. Age
counts from the last use: a conversation that goes on keeps what it needs.

Errors: none; a memory that fails behaves as if it had forgotten. Times are seconds of a monotonic
clock.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

_OVERHEAD: Final = 300
"""Overhead of an entry in bytes: keys, tuples, the dictionary's slots."""
_SHARE: Final = 8
"""No value may be larger than this fraction of the limit."""


class Memory(Protocol):
    """The interface. ``owner`` is any text that tells tenants (and kinds of values) apart."""

    async def keep(self, owner: str, key: str, value: bytes) -> None: ...

    async def recall(self, owner: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        """What is known of ``keys``."""
        ...

    async def forget(self, owner: str, keys: Sequence[str]) -> None: ...

    async def close(self) -> None: ...

    def describe(self) -> str:
        """For the log: where values are, and who shares them."""
        ...


class NoMemory:
    """Nothing is kept."""

    async def keep(self, owner: str, key: str, value: bytes) -> None:
        return

    async def recall(self, owner: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        return {}

    async def forget(self, owner: str, keys: Sequence[str]) -> None:
        return

    async def close(self) -> None:
        return

    def describe(self) -> str:
        return "reasoning is not remembered"


class _Kept(NamedTuple):
    value: bytes
    until: float


class LocalMemory:
    """The least recently used make room beyond ``limit`` bytes; ``ttl`` in seconds."""

    def __init__(self, limit: int, ttl: float, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._ttl = ttl
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self.size = 0
        """Bytes in use, as counted."""

    def __len__(self) -> int:
        return len(self._kept)

    async def keep(self, owner: str, key: str, value: bytes) -> None:
        self.put(owner, key, value)

    def put(self, owner: str, key: str, value: bytes) -> None:
        place = (owner, key)
        self._drop(place)
        cost = _cost(place, value)
        if cost > self._limit // _SHARE:
            return
        self._kept[place] = _Kept(value, self._clock() + self._ttl)
        self.size += cost
        while self.size > self._limit:
            self._drop(next(iter(self._kept)))

    async def recall(self, owner: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        return self.get(owner, keys)

    def get(self, owner: str, keys: Sequence[str]) -> dict[str, bytes]:
        now = self._clock()
        found: dict[str, bytes] = {}
        for key in keys:
            kept = self._kept.get((owner, key))
            if kept is None:
                continue
            if kept.until <= now:
                self._drop((owner, key))
                continue
            found[key] = kept.value
            self._kept[owner, key] = kept._replace(until=now + self._ttl)
            self._kept.move_to_end((owner, key))
        return found

    async def forget(self, owner: str, keys: Sequence[str]) -> None:
        for key in keys:
            self._drop((owner, key))

    async def close(self) -> None:
        self._kept.clear()
        self.size = 0

    def describe(self) -> str:
        return f"reasoning is remembered in this process, up to {self._limit / 1e6:g} MB"

    def _drop(self, place: tuple[str, str]) -> None:
        kept = self._kept.pop(place, None)
        if kept is not None:
            self.size -= _cost(place, kept.value)


def _cost(place: tuple[str, str], value: bytes) -> int:
    return len(place[0]) + len(place[1]) + len(value) + _OVERHEAD
