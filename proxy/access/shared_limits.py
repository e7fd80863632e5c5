"""Limits shared by all replicas, in Valkey or Redis: ``limits.LocalLimiter``'s interface.

One script checks and takes atomically (``shared_script.py``). A lease is stored with an expiry,
which this replica extends every 2 s: the streams of a replica that died are released 30 s later.
The end of a stream is reported by a separate task, so no answer waits for it. A server that lost
its data (killed, flushed) is sent the leases of every replica before it counts new ones, and the
rates and budgets that each replica saw last.

While the server is unreachable, ``fail_open`` lets this process count alone (it mirrors its own
counts all the time); otherwise every request is a 503. Needs the ``redis`` package (extra
``valkey``), which speaks to both servers.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from proxy.access.limits import LocalLimiter
from proxy.access.quota import DAY, Demand, Lease, Level
from proxy.access.shared_script import ADMIT, CLOSE, RENEW
from proxy.access.shared_wire import Answer, Ending, Scope, Seen, refusal
from proxy.access.tenant import Allowance
from proxy.errors import ProxyError
from proxy.logs import logger
from proxy.tasks import cancel, tell

LEASE_SECONDS: Final = 30.0
RENEW_SECONDS: Final = 2.0
_PAUSE: Final = 1.0
"""Seconds for which a server that failed is not asked again."""
_BATCH: Final = 32
_IDS: Final = 500
_BACKLOG: Final = 10_000


class Script(Protocol):
    """A script as the client library registers it."""

    def __call__(self, keys: Sequence[str], args: Sequence[str | float]) -> Awaitable[Any]: ...


class Client(Protocol):
    """What is needed of ``redis.asyncio.Redis``, with ``decode_responses``."""

    def register_script(self, script: str) -> Script: ...
    async def aclose(self) -> None: ...


class SharedLimiter:
    """``client`` talks to the server (see ``valkey.connect``); ``faults`` are its errors.

    ``overall`` limits all tenants of all replicas together, ``timeout`` is what an admission may
    wait for the server, in seconds. ``observe`` is told ``up`` and ``down``.
    """

    def __init__(
        self,
        client: Client,
        faults: tuple[type[Exception], ...],
        overall: Allowance = Allowance(),  # noqa: B008  # frozen: calls share it safely
        *,
        fail_open: bool,
        prefix: str = "bedrock-proxy",
        timeout: float = 0.5,
        lease_seconds: float = LEASE_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        observe: Callable[[str], None] = lambda word: None,
    ) -> None:
        self._client = client
        self._admit_script = client.register_script(ADMIT)
        self._close_script = client.register_script(CLOSE)
        self._renew_script = client.register_script(RENEW)
        self._faults: tuple[type[Exception], ...] = (*faults, OSError)
        self._overall = overall
        self._fail_open = fail_open
        self._prefix = f"{{{prefix}}}"
        self._timeout = timeout
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._grace = renew_seconds + timeout
        self._clock = clock
        self._wall = wall
        self._observe = observe
        self._local = LocalLimiter(overall, clock=clock, wall=wall)
        self._live: dict[str, tuple[Scope, ...]] = {}
        self._seen: dict[str, Seen] = {}
        self._endings: deque[Ending] = deque(maxlen=_BACKLOG)
        self._epoch = ""
        self._blind_until = 0.0
        self._blind = False
        self._order = asyncio.Lock()
        self._wake = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None

    async def admit(self, demand: Demand) -> Lease:
        """Take a place. Raises ``ProxyError``: 429 over a limit, 503 if the server is away and
        limits must hold."""
        scopes = tuple(self._scopes(demand))
        if not scopes:
            return Lease(None)
        if self._tending is None or self._tending.done():
            self._tending = asyncio.get_running_loop().create_task(self._tend(), name="limits")
            self._tending.add_done_callback(tell)
        lease = uuid.uuid4().hex
        if self._clock() < self._blind_until:
            return await self._alone(scopes, demand)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._ask(lease, scopes, demand)
        except self._faults as fault:
            self._close_later(Ending.unused(lease, scopes, demand, self._day()))
            self._lose_sight(fault)
            return await self._alone(scopes, demand)
        except BaseException:  # cancelled: the server may have counted it
            self._close_later(Ending.unused(lease, scopes, demand, self._day()))
            raise
        self._see()
        if answer.word == "grace":
            return await self._alone(scopes, demand, answer.wait)
        levels = [*answer.levels(scopes)]
        if answer.word != "ok":
            raise refusal(answer, scopes[answer.at], demand, levels)
        return self._lease(lease, scopes, demand, answer.day, self._local.enter(demand), levels)

    def describe(self) -> str:
        away = "each process counts for itself" if self._fail_open else "requests are refused"
        return f"limits are shared in Valkey/Redis; while it is unreachable, {away}"

    async def close(self) -> None:
        """Report what has ended, for at most a second, and disconnect."""
        if self._tending is not None:
            await cancel(self._tending)
            self._tending = None
        with suppress(*self._faults):
            async with asyncio.timeout(1.0), self._order:
                await self._flush()
        with suppress(*self._faults):
            await self._client.aclose()

    def _scopes(self, demand: Demand) -> Iterator[Scope]:
        if not demand.allowance.unlimited:
            name = f"key:{demand.tenant}"
            yield Scope.at(self._prefix, name, f"key {demand.tenant}", demand.allowance)
        if not self._overall.unlimited:
            yield Scope.at(self._prefix, "all", "this proxy", self._overall)

    @property
    def _epoch_key(self) -> str:
        return f"{self._prefix}:epoch"

    async def _ask(self, lease: str, scopes: tuple[Scope, ...], demand: Demand) -> Answer:
        if self._blind:
            async with self._order:
                await self._renew()
        seen = [self._seen.get(scope.name, Seen()) for scope in scopes]
        told = [v for scope, known in zip(scopes, seen, strict=True) for v in scope.told(known)]
        for _ in range(3):
            answer = await self._admit_script(
                keys=[self._epoch_key, *(key for scope in scopes for key in scope.keys)],
                args=[
                    lease, self._lease_seconds, self._epoch,
                    demand.input_tokens, demand.input_tokens + demand.output_tokens, demand.cost,
                    *told,
                ],
            )  # fmt: skip
            parsed = Answer.parse(answer, len(scopes))
            if parsed.word != "lost":
                break
            async with self._order:
                await self._renew()
        else:
            raise TimeoutError("the server keeps losing its data")
        if parsed.word == "grace":
            return parsed
        for scope, numbers in zip(scopes, parsed.numbers, strict=True):
            self._seen[scope.name] = Seen(numbers[0], numbers[1], parsed.day, numbers[2])
        return parsed

    def _lease(
        self,
        lease: str,
        scopes: tuple[Scope, ...],
        demand: Demand,
        day: int,
        mirror: Lease,
        levels: Sequence[Level] | None,
    ) -> Lease:
        """``levels`` ``None``: it is unknown to the server and only in the mirror."""
        self._live[lease] = scopes
        reserved = levels is not None

        def close(used: tuple[int | None, float | None]) -> None:
            mirror.settle(*used)
            mirror.release()
            del self._live[lease]
            self._close_later(Ending.of(lease, scopes, demand, used, day, reserved=reserved))

        made = Lease(close, levels or ())
        if levels is None:
            made.headers = mirror.headers
        return made

    async def _alone(
        self, scopes: tuple[Scope, ...], demand: Demand, wait: float = _PAUSE
    ) -> Lease:
        """Decide without the server, which will be tried again in ``wait`` seconds."""
        if not self._fail_open:
            raise ProxyError(
                503, "The proxy's limits cannot be checked at the moment.",
                code="limits_unavailable", retry="transient", retry_after=wait,
            )  # fmt: skip
        mirror = await self._local.admit(demand)
        return self._lease(uuid.uuid4().hex, scopes, demand, self._day(), mirror, None)

    def _day(self) -> int:
        return int(self._wall() // DAY)

    def _close_later(self, ending: Ending) -> None:
        self._endings.append(ending)
        self._wake.set()

    async def _tend(self) -> None:
        """Report leases that ended as they end, and renew the others, while this replica lives."""
        due = self._clock() + self._renew_seconds
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - self._clock())):
                    await self._wake.wait()
            self._wake.clear()
            try:
                async with self._order:
                    if self._clock() >= due:
                        due = self._clock() + self._renew_seconds
                        await self._renew()
                        self._see()
                    if not self._blind:
                        await self._flush()
            except self._faults as fault:
                self._lose_sight(fault)

    async def _flush(self) -> None:
        """Report the endings. Reporting one twice is harmless: only the first counts."""
        while self._endings:
            batch = [self._endings.popleft() for _ in range(min(_BATCH, len(self._endings)))]
            try:
                await asyncio.gather(*(self._tell(ending) for ending in batch))
            except BaseException:
                self._endings.extendleft(reversed(batch))
                raise

    async def _tell(self, ending: Ending) -> None:
        await self._close_script(
            keys=[key for scope in ending.scopes for key in scope.keys], args=ending.told()
        )

    async def _renew(self) -> None:
        """Enter every live lease (again); afterwards the server's epoch is known."""
        held: dict[str, list[str]] = {}
        for lease, scopes in self._live.items():
            for scope in scopes:
                held.setdefault(scope.keys[0], []).append(lease)
        for key, leases in held.items() or [(f"{self._prefix}:all:leases", [])]:
            for at in range(0, max(1, len(leases)), _IDS):
                self._epoch = await self._renew_script(
                    keys=[self._epoch_key, key],
                    args=[
                        self._epoch, uuid.uuid4().hex, self._lease_seconds, self._grace,
                        *leases[at : at + _IDS],
                    ],
                )  # fmt: skip

    def _lose_sight(self, fault: Exception) -> None:
        self._blind_until = self._clock() + _PAUSE
        if not self._blind:
            self._blind = True
            self._observe("down")
            logger.error(
                "the shared limits cannot be reached",
                extra={"fields": {"reason": type(fault).__name__, "fail_open": self._fail_open}},
            )

    def _see(self) -> None:
        self._blind_until = 0.0
        if self._blind:
            self._blind = False
            self._wake.set()
            self._observe("up")
            logger.info(
                "the shared limits can be reached again",
                extra={"fields": {"live": len(self._live)}},
            )
