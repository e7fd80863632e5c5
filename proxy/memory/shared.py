"""A memory that replicas share, in Valkey or Redis: sealed values with an expiry.

What this process kept itself it also has at hand, so the server is asked only for turns that
another replica answered, once per request and for all of them together. A server that is away costs
at most ``timeout`` once a second; meanwhile each replica remembers for itself. Room on the server
is bounded by the expiry, and by its own ``maxmemory`` (an eviction is only a thing forgotten).

Needs the packages ``redis`` (it speaks to both servers) and ``cryptography``: the extra ``valkey``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from proxy.logs import logger
from proxy.memory.sealing import Sealer
from proxy.memory.store import LocalMemory

_PAUSE: Final = 1.0
"""Seconds for which a server that failed is not asked again."""
_LARGEST: Final = 4_000_000
"""Largest value, in bytes, that is sent to the server."""


class Pipeline(Protocol):
    """Several commands, answered together."""

    def getex(self, name: str, *, ex: int) -> object: ...
    def execute(self) -> Awaitable[Sequence[bytes | None]]: ...


class Client(Protocol):
    """What is needed of ``redis.asyncio.Redis``."""

    def set(self, name: str, value: bytes, *, ex: int) -> Awaitable[object]: ...
    def delete(self, *names: str) -> Awaitable[object]: ...
    def pipeline(self, transaction: bool) -> Pipeline: ...
    def aclose(self) -> Awaitable[None]: ...


class SharedMemory:
    """``client`` talks to the server (see ``valkey.connect``), ``faults`` are its errors.
    ``timeout`` and ``ttl`` in seconds; ``local`` is this process's own part."""

    def __init__(
        self,
        client: Client,
        faults: tuple[type[Exception], ...],
        sealer: Sealer,
        local: LocalMemory,
        *,
        ttl: float,
        clock: Callable[[], float],
        timeout: float = 0.5,
        prefix: str = "bedrock-proxy",
    ) -> None:
        self._client = client
        self._faults: tuple[type[Exception], ...] = (*faults, OSError)
        self._sealer = sealer
        self._local = local
        self._ttl = max(1, int(ttl))
        self._clock = clock
        self._timeout = timeout
        self._prefix = f"{prefix}:memory:"
        self._away_until = 0.0
        self._away = False

    async def keep(self, owner: str, key: str, value: bytes) -> None:
        self._local.put(owner, key, value)
        if len(value) <= _LARGEST:
            name = self._name(owner, key)
            sealed = self._sealer.seal(name, value)
            await self._ask(lambda: self._client.set(name, sealed, ex=self._ttl))

    async def recall(self, owner: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        found = self._local.get(owner, keys)
        missing = [key for key in keys if key not in found]
        if not missing:
            return found
        names = [self._name(owner, key) for key in missing]
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.getex(name, ex=self._ttl)
        answers = await self._ask(pipeline.execute) or ()
        for key, name, sealed in zip(missing, names, answers, strict=False):
            value = None if sealed is None else self._sealer.open(name, sealed)
            if value is not None:
                found[key] = value
                self._local.put(owner, key, value)
        return found

    async def forget(self, owner: str, keys: Sequence[str]) -> None:
        await self._local.forget(owner, keys)
        if keys:
            names = [self._name(owner, key) for key in keys]
            await self._ask(lambda: self._client.delete(*names))

    async def close(self) -> None:
        await self._local.close()
        with suppress(*self._faults):
            await self._client.aclose()

    def describe(self) -> str:
        return "reasoning is remembered in Valkey/Redis, encrypted, for all replicas"

    def _name(self, owner: str, key: str) -> str:
        return self._prefix + self._sealer.name(owner, key)

    async def _ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """The server's answer; ``None`` while it is unreachable."""
        if self._clock() < self._away_until:
            return None
        try:
            async with asyncio.timeout(self._timeout):
                answer = await question()
        except self._faults as fault:  # TimeoutError is an OSError
            self._away_until = self._clock() + _PAUSE
            if not self._away:
                self._away = True
                reason = {"reason": type(fault).__name__}
                logger.error("the shared memory cannot be reached", extra={"fields": reason})
            return None
        if self._away:
            self._away = False
            logger.info("the shared memory can be reached again")
        return answer
