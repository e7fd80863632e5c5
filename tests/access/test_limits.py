"""Limits in memory: what is let in, what is told, and that sums hold under any order of events."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.access.limits import LocalLimiter
from proxy.access.quota import Demand, Lease, LimitExceeded, duration
from proxy.access.tenant import Allowance

pytestmark = pytest.mark.anyio
MIDNIGHT = 20_000 * 86400.0


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Rig:
    def __init__(self, overall: Allowance | None = None) -> None:
        self.clock = Clock()
        self.wall = Clock(MIDNIGHT + 3600)
        self.limiter = LocalLimiter(overall or Allowance(), clock=self.clock, wall=self.wall)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.wall.now += seconds

    async def admit(
        self,
        allowance: Allowance,
        *,
        tenant: str = "a",
        tokens: tuple[int, int] = (1, 1),
        cost: float = 0.0,
    ) -> Lease:
        return await self.limiter.admit(Demand(tenant, allowance, *tokens, cost))

    async def refused(self, allowance: Allowance, **named: Any) -> LimitExceeded:
        with pytest.raises(LimitExceeded) as caught:
            await self.admit(allowance, **named)
        return caught.value


def headers(found: Lease | LimitExceeded) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in found.headers}


async def test_without_limits_nothing_is_counted_or_said() -> None:
    rig = Rig()
    for _ in range(1000):
        assert (await rig.admit(Allowance())).headers == ()


async def test_streams_are_given_back_once() -> None:
    rig, two = Rig(), Allowance(streams=2)
    first, second = await rig.admit(two), await rig.admit(two)
    error = await rig.refused(two)
    assert (error.status, error.code, error.type) == (
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
    )
    assert (error.retry, error.retry_after) == ("throttle", 1.0)
    assert error.message == "Rate limit reached for key a: 2 concurrent answers are allowed."
    await rig.admit(two, tenant="b")
    first.release()
    first.release()
    with second:
        third = await rig.admit(two)
        await rig.refused(two)
    third.release()
    await rig.admit(two)
    await rig.admit(two)
    await rig.refused(two)


async def test_requests_come_at_once_and_then_evenly() -> None:
    rig, limit = Rig(), Allowance(requests_per_minute=7)
    for left in (6, 5, 4, 3, 2, 1, 0):
        lease = await rig.admit(limit)
        assert headers(lease)["x-ratelimit-remaining-requests"] == str(left)
        lease.release()  # a request counts, however it ends
    error = await rig.refused(limit)
    assert error.type == "requests"
    assert error.retry_after == pytest.approx(60 / 7, abs=1e-4)
    assert headers(error) == {
        "x-ratelimit-limit-requests": "7",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
        "retry-after-ms": "8572",
    }
    rig.pass_time(60 / 7 - 0.01)
    await rig.refused(limit)
    rig.pass_time(0.01)
    await rig.admit(limit)
    await rig.refused(limit)
    rig.pass_time(60)
    for _ in range(7):
        await rig.admit(limit)
    await rig.refused(limit)


async def test_tokens_are_reserved_and_settled() -> None:
    rig, limit = Rig(), Allowance(tokens_per_minute=1000)
    lease = await rig.admit(limit, tokens=(100, 500))
    assert headers(lease) == {
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "400",
        "x-ratelimit-reset-tokens": "36s",
    }
    error = await rig.refused(limit, tokens=(100, 500))
    assert (error.type, error.retry_after) == ("tokens", pytest.approx(12.0, abs=1e-3))
    lease.settle(150)
    lease.release()
    lease = await rig.admit(limit, tokens=(100, 500))
    assert headers(lease)["x-ratelimit-remaining-tokens"] == "250"
    lease.settle(2000)  # more than was thought: it is owed
    lease.release()
    error = await rig.refused(limit, tokens=(1, 0))
    assert error.retry_after == pytest.approx((2150 - 1000 + 1) * 0.06, abs=1e-3)
    assert headers(error)["x-ratelimit-remaining-tokens"] == "0"


async def test_a_failure_before_bedrock_costs_no_tokens_and_an_unknown_use_what_was_reserved() -> (
    None
):
    rig, limit = Rig(), Allowance(tokens_per_minute=1000)
    (await rig.admit(limit, tokens=(400, 600))).release()
    lease = await rig.admit(limit, tokens=(400, 600))
    lease.settle(None)
    lease.release()
    await rig.refused(limit, tokens=(1, 0))


async def test_a_long_answer_takes_the_whole_bucket_and_a_long_prompt_never_fits() -> None:
    rig, limit = Rig(), Allowance(tokens_per_minute=1000)
    lease = await rig.admit(limit, tokens=(10, 64_000))
    assert headers(lease)["x-ratelimit-remaining-tokens"] == "0"
    lease.settle(30)
    lease.release()
    await rig.admit(limit, tokens=(10, 900))
    error = await rig.refused(limit, tokens=(1001, 1))
    assert error.message.startswith("Request too large for key a on tokens per minute: limit 1000")
    assert error.retry == "never"


async def test_a_budget_runs_from_midnight_to_midnight() -> None:
    rig, limit = Rig(), Allowance(daily_budget_usd=1.0)
    lease = await rig.admit(limit, cost=0.9)
    lease.settle(10, 0.4)
    lease.release()
    running = await rig.admit(limit, cost=0.7)  # 1.1 if it becomes as dear as it may
    error = await rig.refused(limit)
    assert (error.status, error.code, error.retry) == (429, "insufficient_quota", "never")
    assert error.retry_after == 23 * 3600
    assert error.message == (
        "The daily budget for key a of $1 is used up; it resets at midnight UTC."
    )
    rig.pass_time(23 * 3600)
    await rig.admit(limit, cost=0.5)
    running.settle(10, 500.0)  # yesterday's: not booked on today
    running.release()
    await rig.admit(limit, cost=0.6)
    await rig.refused(limit)


async def test_a_refusal_takes_nothing_of_either_account() -> None:
    rig = Rig(Allowance(requests_per_minute=3, streams=100))
    narrow = Allowance(requests_per_minute=1)
    await rig.admit(narrow)
    for _ in range(5):
        assert "key a" in (await rig.refused(narrow)).message
    await rig.admit(Allowance(), tenant="b")
    lease = await rig.admit(Allowance(requests_per_minute=50), tenant="c")
    assert headers(lease)["x-ratelimit-limit-requests"] == "3"  # the tightest is shown
    assert "this proxy" in (await rig.refused(Allowance(), tenant="b")).message
    fresh = Allowance(requests_per_minute=1)
    await rig.refused(fresh, tenant="d")
    rig.pass_time(60)
    await rig.admit(fresh, tenant="d")  # its own bucket was not touched by the refusal


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.012, "12ms"), (0.0001, "1ms"), (1, "1s"), (7.66, "7.66s"), (59.9999, "1m0s"),
     (360, "6m0s"), (72.5, "1m12.5s"), (3600, "1h0m0s"), (86399, "23h59m59s"), (-1, "0s")],
)  # fmt: skip
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


waits = st.tuples(st.just("wait"), st.integers(0, 30_000), st.just(0))  # milliseconds
admits = st.tuples(st.just("admit"), st.integers(0, 40), st.integers(0, 120))
ends = st.tuples(st.just("end"), st.integers(0, 5), st.integers(0, 160))


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(st.one_of(waits, admits, ends), max_size=60),
    rate=st.integers(1, 20),
    tokens=st.integers(50, 200),
    streams=st.integers(1, 4),
)
async def test_no_order_of_events_breaks_a_limit(
    events: list[tuple[str, int, int]], rate: int, tokens: int, streams: int
) -> None:
    """Over any span no more is let in than a bucket and what the span refills; what is under way
    never exceeds its limit; what was used beyond a reservation is paid off first."""
    rig, allowance = Rig(), Allowance(streams, rate, tokens)
    under_way: list[tuple[Lease, int]] = []
    admitted: list[float] = []
    booked = 0
    for word, one, other in events:
        if word == "wait":
            rig.pass_time(one / 1000)
        elif word == "end" and under_way:
            lease, reserved = under_way.pop(one % len(under_way))
            lease.settle(other)
            lease.release()
            booked += other - reserved
        elif word == "admit":
            try:
                lease = await rig.admit(allowance, tokens=(one, other))
            except LimitExceeded:
                continue
            reserved = min(one + other, tokens)
            under_way.append((lease, reserved))
            admitted.append(rig.clock.now)
            booked += reserved
            assert booked <= tokens * (1 + rig.clock.now / 60) + 1e-3
        assert len(under_way) <= streams
    for at, first in enumerate(admitted):
        for last in range(at, len(admitted)):
            span = admitted[last] - first
            assert last - at + 1 <= rate * (1 + span / 60) + 1e-3


@given(wait=st.floats(0, 200), tokens=st.integers(1, 500))
async def test_after_the_told_time_it_is_let_in(wait: float, tokens: int) -> None:
    rig, allowance = Rig(), Allowance(tokens_per_minute=500, requests_per_minute=30)
    await rig.admit(allowance, tokens=(500, 0))
    rig.pass_time(wait)
    try:
        await rig.admit(allowance, tokens=(tokens, 0))
    except LimitExceeded as error:
        rig.pass_time(error.retry_after or 0.0)
        await rig.admit(allowance, tokens=(tokens, 0))
