"""Who is let in, how many at once, and who has to leave: admission, drain, and their figures.

Every answer under way is entered here. Above a ceiling (answers, or bytes of bodies held) the next
one is refused at once, before any upstream call; while draining all are, and what is still running
at the deadline is aborted through its exchange, which tells the client inside its stream.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from proxy.errors import ProxyError
from proxy.metrics import Metrics
from proxy.relay import Exchange

RETRY_AFTER: Final = 1.0


class Gate:
    """``max_streams`` answers, ``max_bytes`` of request bodies at a time."""

    def __init__(self, metrics: Metrics, max_streams: int, max_bytes: int) -> None:
        self._metrics = metrics
        self._max_streams = max_streams
        self._max_bytes = max_bytes
        self._bytes = 0
        self._open = 0
        self._exchanges: set[Exchange] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.leaving = False
        """A stop was asked for: not ready any more, though requests are still served."""
        self.draining = False

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold one place. Raises ``ProxyError`` 503 when there is none."""
        if self.draining:
            self._metrics.rejected.labels("draining").inc()
            raise ProxyError(
                503, "The proxy is shutting down.", code="shutting_down", retry="transient",
                retry_after=RETRY_AFTER,
            )  # fmt: skip
        if self._open >= self._max_streams:
            raise self._overload(f"{self._max_streams} answers are under way already.")
        self._open += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._empty.set()

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Account for a request body of ``size`` bytes while it is in memory."""
        if self._bytes + size > self._max_bytes and self._bytes:
            raise self._overload("too many request bytes are held already.")
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

    @contextmanager
    def running(self, exchange: Exchange) -> Iterator[None]:
        """Make ``exchange`` known to a drain."""
        self._exchanges.add(exchange)
        try:
            yield
        finally:
            self._exchanges.discard(exchange)

    async def drain(self, deadline: float) -> None:
        """Let in no more; wait up to ``deadline`` seconds for the rest, then abort it."""
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
