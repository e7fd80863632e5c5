"""Who is let in, how many at once, and who has to leave: admission, drain, and their figures.

Every answer under way is entered here. Above a ceiling (answers, or bytes of bodies held) the next
one is refused at once, before any upstream call; while draining all are, and what is still running
at the deadline is aborted through its exchange, which tells the client inside its stream.
"""

import asyncio
from typing import Final

from proxy.errors import ProxyError
from proxy.metrics import Metrics
from proxy.relay import Exchange

RETRY_AFTER: Final = 1.0


def closing() -> ProxyError:
    """The message for requests that arrive during shutdown or are not done when the drain ends."""
    return ProxyError(
        503, "The proxy is shutting down.", code="shutting_down", retry="transient",
        retry_after=RETRY_AFTER,
    )  # fmt: skip


class Place:
    """One of the gate's places, held within ``with``. Raises ``ProxyError`` 503 when there is
    none."""

    __slots__ = ("_gate",)

    def __init__(self, gate: "Gate") -> None:
        self._gate = gate

    def __enter__(self) -> None:
        self._gate.enter()

    def __exit__(self, *ended: object) -> None:
        self._gate.leave()


class Held:
    """Bytes of one request, accounted for within ``with``. Raises ``ProxyError`` 503 when there is
    no room for them."""

    __slots__ = ("_gate", "_size")

    def __init__(self, gate: "Gate", size: int) -> None:
        self._gate = gate
        self._size = size

    def __enter__(self) -> "Held":
        self._gate.hold(self._size)
        return self

    def __exit__(self, *ended: object) -> None:
        self._gate.let_go(self._size)

    def more(self, size: int) -> None:
        """Account for ``size`` more bytes. Raises as entering does."""
        self._gate.hold(size)
        self._size += size

    def less(self, size: int) -> None:
        """Release ``size`` bytes."""
        self._gate.let_go(size)
        self._size -= size


class Running:
    """An exchange that a drain knows of, within ``with``."""

    __slots__ = ("_all", "_exchange")

    def __init__(self, all_of_them: set[Exchange], exchange: Exchange) -> None:
        self._all = all_of_them
        self._exchange = exchange

    def __enter__(self) -> None:
        self._all.add(self._exchange)

    def __exit__(self, *ended: object) -> None:
        self._all.discard(self._exchange)


class Gate:
    """``max_streams`` answers, ``max_bytes`` of request bodies at a time."""

    def __init__(self, metrics: Metrics, max_streams: int, max_bytes: int) -> None:
        self._metrics = metrics
        self._max_streams = max_streams
        self._max_bytes = max_bytes
        self._bytes = 0
        self._open = 0
        self._exchanges: set[Exchange] = set()
        self.place = Place(self)
        """Hold one place: ``with gate.place``, any number of times."""
        self._empty = asyncio.Event()
        self._empty.set()
        self.leaving = False
        """A shutdown was requested: not ready any more, though requests are still served."""
        self.draining = False

    def enter(self) -> None:
        """Take a place; see ``Place``."""
        if self.draining:
            self._metrics.rejected.labels("draining").inc()
            raise closing()
        if self._open >= self._max_streams:
            raise self._overload(f"{self._max_streams} answers are already in progress.")
        self._open += 1
        self._empty.clear()

    def leave(self) -> None:
        self._open -= 1
        if not self._open:
            self._empty.set()

    def holding(self, size: int) -> Held:
        """Account for a request body of ``size`` bytes while it is in memory."""
        return Held(self, size)

    def hold(self, size: int) -> None:
        """Take room for ``size`` bytes; see ``Held``."""
        if self._bytes + size > self._max_bytes and self._bytes:
            raise self._overload("too many bytes of request bodies are in memory.")
        self._bytes += size

    def let_go(self, size: int) -> None:
        self._bytes -= size

    def running(self, exchange: Exchange) -> Running:
        """Register ``exchange``, so that a drain waits for it."""
        return Running(self._exchanges, exchange)

    async def drain(self, deadline: float) -> None:
        """Admit no more requests; wait up to ``deadline`` seconds for the rest, then abort them."""
        self.leaving = self.draining = True
        try:
            async with asyncio.timeout(deadline):
                await self._empty.wait()
        except TimeoutError:
            for exchange in tuple(self._exchanges):
                exchange.abort("drain")

    def _overload(self, why: str) -> ProxyError:
        self._metrics.rejected.labels("overload").inc()
        return ProxyError(
            503, f"The proxy is at capacity: {why}", code="overloaded", retry="transient",
            retry_after=RETRY_AFTER,
        )  # fmt: skip
