"""What both limiters share: demands, leases, refusals, and the arithmetic of rates.

Rates are leaky buckets stored as one number, the *theoretical arrival time* (GCRA): a bucket of one
minute's worth that refills evenly. It needs no timer, and the same number can live in a shared
store. A full minute's worth may come at once, in addition to what refills meanwhile, as at OpenAI.

Tokens are reserved before they are known (input, plus the largest possible answer) and corrected
afterwards by actual usage. Headers are OpenAI's ``x-ratelimit-*``.
Source: ITU-T I.371 (GCRA); OpenAI, *Rate limits*.
"""

import math
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Literal, NamedTuple, Protocol

from proxy.access.tenant import Allowance
from proxy.errors import ProxyError, Retry

WINDOW: Final = 60.0
DAY: Final = 86400.0
SLACK: Final = 1e-5
"""Seconds by which sums of parts of a minute may be off."""
STREAM_RETRY: Final = 1.0
Headers = tuple[tuple[bytes, bytes], ...]
Kind = Literal["requests", "tokens"]


class Demand(NamedTuple):
    """What a request asks for. Tokens are estimates; ``cost`` is the most it may cost."""

    tenant: str
    allowance: Allowance
    input_tokens: int
    output_tokens: int
    """The longest possible answer, times the number of choices."""
    cost: float = 0.0
    """USD; 0 where the price is not known."""

    def tokens(self, limit: int) -> int:
        """What is reserved under ``limit`` tokens a minute: no more than a full bucket. Answers are
        mostly shorter than they may be; the rest is settled, and owed if it was used."""
        return min(self.input_tokens + self.output_tokens, limit)


class Level(NamedTuple):
    """How full one bucket is: what is left of ``limit``, and the seconds until all of it is."""

    kind: Kind
    limit: int
    left: int
    reset: float


class LimitExceeded(ProxyError):
    """A 429 (or 503) with the headers that belong to it."""

    def __init__(
        self,
        message: str,
        *,
        type: str,
        code: str = "rate_limit_exceeded",
        retry: Retry = "throttle",
        wait: float,
        levels: Iterable[Level] = (),
    ) -> None:
        super().__init__(429, message, type=type, code=code, retry=retry, retry_after=wait)
        exact = (b"retry-after-ms", str(math.ceil(wait * 1000)).encode())
        self.headers: Headers = (*headers_of(levels), exact)


class Lease:
    """A place that was taken: ``settle`` what was used, then ``release``; both at most once count.

    As a context manager it releases at the end. Without ``settle`` nothing was used: the request
    failed before Bedrock saw it. Neither waits, so both may be called while a task is cancelled.
    """

    __slots__ = ("_close", "_used", "headers")

    def __init__(
        self,
        close: Callable[[tuple[int | None, float | None]], None] | None,
        levels: Iterable[Level] = (),
    ) -> None:
        self._close = close
        self._used: tuple[int | None, float | None] = (0, 0.0)
        self.headers: Headers = headers_of(levels)
        """OpenAI's ``x-ratelimit-*``, for the answer."""

    def settle(self, tokens: int | None, cost: float | None = None) -> None:
        """Record actual usage; ``None`` is unknown: what was reserved counts as used."""
        self._used = (tokens, cost)

    def release(self) -> None:
        """Give the place back and book what was used."""
        close, self._close = self._close, None
        if close is not None:
            close(self._used)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Limiter(Protocol):
    """Counts for each tenant and for all of them."""

    async def admit(self, demand: Demand) -> Lease:
        """Take a place, or raise ``ProxyError``: 429 over a limit, 503 if limits cannot be told."""
        ...

    def describe(self) -> str:
        """For the start-up line: where the counts live."""
        ...

    async def close(self) -> None: ...


def wait_for(arrival: float, now: float, amount: int, limit: int) -> float:
    """Seconds until ``amount`` fits into a bucket of ``limit`` a minute; 0 if it does now."""
    over = max(arrival, now) + amount * WINDOW / limit - (now + WINDOW)
    return over if over > SLACK else 0.0


def add_to(arrival: float, now: float, amount: int, limit: int) -> float:
    """The bucket's number once ``amount`` (negative: given back) went in."""
    return max(arrival, now) + amount * WINDOW / limit


def level_of(kind: Kind, arrival: float, now: float, limit: int) -> Level:
    used = max(0.0, arrival - now)
    left = max(0, math.floor((WINDOW - used + SLACK) * limit / WINDOW))
    return Level(kind, limit, min(left, limit), used)


def headers_of(levels: Iterable[Level]) -> Headers:
    """OpenAI's six headers, of the tightest level of each kind."""
    tightest: dict[Kind, Level] = {}
    for level in levels:
        known = tightest.get(level.kind)
        if known is None or level.left < known.left:
            tightest[level.kind] = level
    made: list[tuple[bytes, bytes]] = []
    for kind, level in tightest.items():
        made.append((f"x-ratelimit-limit-{kind}".encode(), str(level.limit).encode()))
        made.append((f"x-ratelimit-remaining-{kind}".encode(), str(level.left).encode()))
        made.append((f"x-ratelimit-reset-{kind}".encode(), duration(level.reset).encode()))
    return tuple(made)


def duration(seconds: float) -> str:
    """As OpenAI writes durations: ``12ms``, ``1s``, ``7.66s``, ``6m0s``, ``1h0m0s``."""
    milliseconds = math.ceil(max(0.0, seconds) * 1000 - 1e-6)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:g}s"
    if minutes:
        text = f"{minutes % 60}m{text}"
    return f"{minutes // 60}h{text}" if minutes >= 60 else text


def too_many_streams(whose: str, limit: int, levels: Iterable[Level] = ()) -> LimitExceeded:
    return LimitExceeded(
        f"Rate limit reached for {whose}: {limit} concurrent answers are allowed.",
        type="rate_limit_error", wait=STREAM_RETRY, levels=levels,
    )  # fmt: skip


def over_rate(
    whose: str, kind: Kind, limit: int, asked: int, wait: float, levels: Iterable[Level] = ()
) -> LimitExceeded:
    return LimitExceeded(
        f"Rate limit reached for {whose} on {kind} per minute: limit {limit}, requested {asked}. "
        f"Please try again in {duration(wait)}.",
        type=kind, wait=wait, levels=levels,
    )  # fmt: skip


def too_large(whose: str, limit: int, asked: int, levels: Iterable[Level] = ()) -> LimitExceeded:
    """A prompt that exceeds the limit however long the client waits."""
    return LimitExceeded(
        f"Request too large for {whose} on tokens per minute: limit {limit}, the prompt alone is "
        f"about {asked}.",
        type="tokens", retry="never", wait=WINDOW, levels=levels,
    )  # fmt: skip


def over_budget(
    whose: str, budget: float, wait: float, levels: Iterable[Level] = ()
) -> LimitExceeded:
    return LimitExceeded(
        f"The daily budget for {whose} of ${budget:g} is used up; it resets at midnight UTC.",
        type="insufficient_quota", code="insufficient_quota", retry="never", wait=wait,
        levels=levels,
    )  # fmt: skip
