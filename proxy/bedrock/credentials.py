"""How a request becomes ours: an authorizer adds the headers that prove who asks.

Two modes of one shape: ``SigV4`` over an engine of credentials, and ``Bearer`` for a Bedrock API
key (ours, or the client's own for one request). The engine, ``Credentials``, keeps the loop free:
sources are asked in a ``Worker``, one at a time for all who wait; the request path reads a frozen
value. It renews ahead of expiry, keeps what is still valid when a source fails, looks again when
the shared files change, and answers a refusal of AWS once: by correcting the clock or by asking
the sources anew.

Trouble with our own credentials is a 503 ``upstream_credentials`` with a time to wait, never a 401:
clients would take that for their own key. Sources: AWS, *SigV4 signing*; *Amazon Bedrock API keys*.
"""

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import httpx

from proxy.bedrock.chain import Chain, Keys, Mark, Unavailable
from proxy.bedrock.clock import TOLERANCE, server_time, stamp_time
from proxy.bedrock.worker import Worker
from proxy.converse.masking import mask
from proxy.errors import ProxyError
from proxy.tasks import tell

logger = logging.getLogger(__name__)

_AHEAD: Final = 900.0
"""Seconds before expiry at which renewal begins (a quarter of a shorter life)."""
_LAST: Final = 60.0
"""Seconds before expiry from which a request waits for renewal (an eighth of a shorter life)."""
_WATCH: Final = 60.0
"""Seconds between looks at the shared files, and at a source that has not rotated yet."""
_PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds between attempts while sources fail."""
_EAGER: Final = 2.0
"""A request may bring the next attempt forward, but not sooner than this after the last one."""
_HELD: Final = 5.0
"""Seconds in which a refusal is not followed by another look, if the last found nothing new."""
_IN_THREAD: Final = 1 << 19
"""Bodies above this many bytes are hashed in a thread (0.6 ms per MB)."""


@dataclass(frozen=True, slots=True)
class State:
    """What readiness, metrics and ``doctor`` may know. No secret, no ARN, no path.

    ``ok``: a request could be authorized now. ``absent``: every source was asked and none had
    credentials. ``expiry`` in unix seconds (``None``: does not expire, or not known); ``skew``
    is what our clock is behind AWS's, in seconds.
    """

    mode: str
    source: str
    ok: bool
    detail: str = ""
    expiry: float | None = None
    error: str | None = None
    absent: bool = False
    skew: float = 0.0


class Authorizer(Protocol):
    """Adds the headers that prove who asks."""

    async def authorize(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        body: bytes,
        *,
        payload_hash: str | None = None,
    ) -> dict[str, str]:
        """The headers to add, in lower case, to a request for ``url`` as it will be sent
        (``url.raw_path`` is signed; ``headers`` hold ``host``). ``payload_hash`` saves hashing a
        body again, see ``hash_body``. Raises ``ProxyError`` (503 ``upstream_credentials``)."""
        ...

    async def renew(self, error: ProxyError, sent: Mapping[str, str] | None = None) -> bool:
        """Whether the request refused with ``error`` (``retry == "credentials"``) may succeed if
        it is authorized again. ``sent``: what ``authorize`` had added to it, if it is known."""
        ...

    def state(self) -> State: ...


Observer = Callable[[str, str, float | None], None]
"""Told of each attempt: source, outcome (``ok``, or a failure's short name), expiry."""


def _unobserved(source: str, outcome: str, expiry: float | None) -> None:
    return


class Credentials:
    """The engine: one identity's credentials, fresh and off the event loop.

    ``load`` and ``mark`` are those of a ``Chain`` (blocking, run in ``worker``). ``patience`` is
    how long a request without valid credentials waits for a source, in seconds. Give each engine
    a ``Worker`` of its own: a source that hangs holds up everything behind it.
    """

    def __init__(
        self,
        load: Callable[[], Keys],
        worker: Worker,
        *,
        mark: Callable[[], Mark] = tuple,
        patience: float = 10.0,
        observe: Observer = _unobserved,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._load = load
        self._worker = worker
        self._mark = mark
        self._patience = patience
        self._observe = observe
        self._clock = clock
        self._jitter = jitter
        self._keys: Keys | None = None
        self._seen: Mark = ()
        self._error: Unavailable | None = None
        self._failures = 0
        self._tried = self._begun = self._changed = float("-inf")
        self._due = float("-inf")
        self._held = float("-inf")
        self._skew = 0.0
        self._margin = _LAST
        self._flight: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    def over(cls, chain: Chain, worker: Worker, **options: Any) -> "Credentials":
        """An engine over a ``Chain``; ``options`` as for the constructor."""
        return cls(chain.load, worker, mark=chain.mark, **options)

    def start(self) -> None:
        """Begin to resolve, and to renew from then on. Returns at once; call in the loop."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="credentials")
            self._keeper.add_done_callback(tell)

    async def close(self) -> None:
        """Stop renewing. A source that hangs is left behind with its thread."""
        tasks = [task for task in (self._keeper, self._flight) if task is not None]
        self._keeper = self._flight = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def now(self) -> float:
        """Unix time as AWS sees it."""
        return self._clock() + self._skew

    def identity(self) -> tuple[str, str, str]:
        """Who we are, as a key for what was cached for it: source, detail, and the account (where
        it is not told, the access key of credentials that never rotate)."""
        keys = self._keys
        if keys is None:
            return ("", "", "")
        return (keys.source, keys.detail, keys.account or ("" if keys.expiry else keys.access_key))

    async def settled(self, within: float) -> State:
        """Wait until the first attempt has ended, or for ``within`` seconds; then the state."""
        if self._keys is None and self._error is None:
            await asyncio.wait({self._renew()}, timeout=within)
        return self.state()

    async def keys(self) -> Keys:
        """Valid credentials; waits for a source only if there are none. Raises ``ProxyError``."""
        if (keys := self._fit(self._margin)) is not None:
            return keys
        under_way = self._flight is not None and not self._flight.done()
        if under_way or self._clock() - self._tried >= _EAGER:
            await self._renewal_end()
        if (keys := self._fit(0.0)) is not None:
            return keys
        raise self._fault()

    async def renew(self, error: ProxyError, sent: Mapping[str, str] | None = None) -> bool:
        """See ``Authorizer.renew``. Corrects the clock, else asks the sources anew."""
        sent = sent or None
        if self._set_clock(error, sent):
            return True
        used = self._mark_of(sent)
        if used != self._mark_of(None):
            return True
        # Not knowing what it was signed with, it may be what another request has just set right.
        recent = sent is None and self._clock() - self._changed < _HELD
        if self._clock() - self._held < _HELD:
            return recent
        # A look that was already under way may have read the old file: then look once more.
        for _ in range(2):
            under_way = self._flight is not None and not self._flight.done()
            await self._renewal_end()
            if used != self._mark_of(None):
                return self._fit(0.0) is not None
            if not under_way:
                break
        self._held = self._clock()
        return recent

    def state(self) -> State:
        keys, error = self._keys, self._error
        return State(
            mode="sigv4",
            source=keys.source if keys else "",
            ok=self._fit(0.0) is not None,
            detail=keys.detail if keys else "",
            expiry=keys.expiry if keys else None,
            error=error.reason if error else None,
            absent=error is not None and error.absent,
            skew=self._skew,
        )

    def _fit(self, margin: float) -> Keys | None:
        keys = self._keys
        if keys is None or (keys.expiry is not None and self.now() >= keys.expiry - margin):
            return None
        return keys

    def _fault(self) -> ProxyError:
        why = "are not available" if self._error else "did not arrive in time"
        return ProxyError(
            503,
            f"The proxy's own AWS credentials {why}. This is not about your API key; try again"
            " shortly, or ask the proxy's operator to look at its log.",
            code="upstream_credentials",
            retry_after=max(1.0, min(self._due - self.now(), _PAUSES[-1])),
        )

    def _renew(self) -> asyncio.Task[None]:
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._ask(), name="credentials-renewal")
            self._flight.add_done_callback(self._landed)
            self._begun = self._clock()
        return self._flight

    async def _renewal_end(self) -> None:
        """Wait for a renewal, begun now or earlier: all who wait for one lose patience together."""
        flight = self._renew()
        left = self._patience - (self._clock() - self._begun)
        await asyncio.wait({flight}, timeout=max(left, 0.1))

    async def _ask(self) -> None:
        due, self._due = self._due, self.now() + _PAUSES[-1]
        try:
            keys, seen = await self._worker.run(lambda: (self._load(), self._mark()))
        except Unavailable as failure:
            self._failed(failure)
        else:
            self._renewed(keys, seen, due)
        finally:
            self._tried = self._clock()

    def _landed(self, flight: asyncio.Task[None]) -> None:
        """A source may fail in a way nobody thought of: a failure like others, and its trace."""
        tell(flight)
        if not flight.cancelled() and (fault := flight.exception()) is not None:
            self._failed(Unavailable("see its trace", type(fault).__name__))

    def _renewed(self, keys: Keys, seen: Mark, due: float) -> None:
        now = self.now()
        if keys.expiry is not None and keys.expiry <= now:
            self._failed(Unavailable(f"{keys.source} gave expired credentials", "Expired"))
            return
        # The same set may come with a later expiry: botocore puts it off while a metadata service
        # is in trouble, as AWS wants it (static stability). That is no rotation.
        old = self._keys
        rotated = old is None or (keys.access_key, keys.token) != (old.access_key, old.token)
        if rotated:
            self._changed = self._clock()
            logger.info("AWS credentials from %s %s", keys.source, keys.detail)
        overdue = not rotated and now >= due
        self._keys, self._seen, self._error, self._failures = keys, seen, None, 0
        self._due = self._renewal(keys, now, overdue)
        self._observe(keys.source, "ok", keys.expiry)

    def _renewal(self, keys: Keys, now: float, overdue: bool) -> float:
        """When to ask again. A source that still hands out the same set shortly before its end
        (metadata services rotate only minutes ahead) is asked again soon."""
        if keys.expiry is None:
            return float("inf")
        left = keys.expiry - now
        self._margin = min(_LAST, left / 8)
        if overdue:
            return now + min(_WATCH, left / 4)
        return keys.expiry - min(_AHEAD, left / 4) * (1 + 0.1 * self._jitter())

    def _failed(self, failure: Unavailable) -> None:
        first = self._error is None or self._error.reason != failure.reason
        pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._error = failure
        self._failures += 1
        self._due = self.now() + pause * (1 + 0.2 * self._jitter())
        source = self._keys.source if self._keys else "none"
        self._observe(source, failure.reason, self._keys.expiry if self._keys else None)
        log = logger.warning if first else logger.debug
        log("AWS credentials are not available (%s): %s", failure.reason, mask(str(failure))[:300])

    async def _keep(self) -> None:
        while True:
            if self.now() >= self._due or await self._files_changed():
                await asyncio.wait({self._renew()})
            await asyncio.sleep(max(0.0, min(_WATCH, self._due - self.now())))

    async def _files_changed(self) -> bool:
        if self._keys is None or self._keys.source in ("env", ""):
            return False
        return await self._worker.run(self._mark) != self._seen

    def _mark_of(self, sent: Mapping[str, str] | None) -> tuple[str, str | None] | None:
        """Access key and token that ``sent`` was signed with; of what we hold now if ``None``."""
        if sent is None:
            return (self._keys.access_key, self._keys.token) if self._keys else None
        scope = sent.get("authorization", "").partition("Credential=")[2]
        return scope.partition("/")[0], sent.get("x-amz-security-token")

    def _set_clock(self, error: ProxyError, sent: Mapping[str, str] | None) -> bool:
        server = server_time(error.server_date, error.message)
        signed = stamp_time(sent.get("x-amz-date", "")) if sent else self.now()
        if signed is None or server is None or abs(server - signed) <= TOLERANCE:
            return False
        if abs(server - self.now()) > TOLERANCE / 4:  # else another request has set it already
            self._skew = server - self._clock()
            self._changed = self._clock()
            logger.warning("local clock off by %.0f s; signing with AWS's time", self._skew)
        return True


class SigV4:
    """Signs with an engine's credentials, for both planes.

    ``region`` is a region's name, or tells it for a URL where several regions are called.
    """

    __slots__ = ("_credentials", "_region", "_service", "_signer")

    def __init__(
        self,
        credentials: Credentials,
        region: str | Callable[[httpx.URL], str],
        service: str = "bedrock",
    ) -> None:
        self._credentials = credentials
        self._region = region
        self._service = service
        self._signer: Any = None  # a Signer, once botocore is there anyway

    async def authorize(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        body: bytes,
        *,
        payload_hash: str | None = None,
    ) -> dict[str, str]:
        keys = await self._credentials.keys()
        digest = payload_hash or await hash_body(body)
        if self._signer is None:
            from proxy.bedrock.signing import Signer  # the credential thread has imported it

            self._signer = Signer()
        path, _, query = url.raw_path.decode("ascii").partition("?")
        signed: dict[str, str] = self._signer.sign(
            method,
            path,
            query,
            headers,
            digest,
            keys,
            self._region if isinstance(self._region, str) else self._region(url),
            datetime.fromtimestamp(int(self._credentials.now()), UTC),  # one date a second
            self._service,
        )
        return signed

    async def renew(self, error: ProxyError, sent: Mapping[str, str] | None = None) -> bool:
        """See ``Authorizer.renew``."""
        return await self._credentials.renew(error, sent)

    def state(self) -> State:
        return self._credentials.state()


async def hash_body(body: bytes) -> str:
    """The body's SHA-256 as it is signed; a large body is hashed in a thread."""
    if len(body) > _IN_THREAD:
        return await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
    return hashlib.sha256(body).hexdigest()
