"""Retries: how many, how long, who pays."""

import pytest

from proxy.bedrock.retries import LONGEST_WAIT, MAX_RETRIES, Attempts, Budget
from proxy.errors import ProxyError, Retry


def error(retry: Retry, retry_after: float | None = None) -> ProxyError:
    return ProxyError(503, "x", retry=retry, retry_after=retry_after)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def attempts(draw: float = 0.999) -> Attempts:
    return Attempts(Budget(Clock()), lambda: draw)


@pytest.mark.parametrize("retry", ["never", "credentials"])
def test_what_a_retry_cannot_change_is_final(retry: Retry) -> None:
    assert attempts().pause(error(retry)) is None


def test_at_most_two_retries_that_wait_longer_each_time() -> None:
    call = attempts()
    pauses = [call.pause(error("transient")) for _ in range(MAX_RETRIES + 1)]
    assert pauses == [pytest.approx(0.05, rel=0.01), pytest.approx(0.1, rel=0.01), None]


def test_throttling_waits_on_a_longer_scale_and_jitter_is_full() -> None:
    assert attempts(0.5).pause(error("throttle")) == pytest.approx(0.5)
    assert attempts(0.0).pause(error("throttle")) == 0.0


def test_one_more_try_is_one() -> None:
    call = attempts()
    assert call.pause(error("once")) is not None
    assert call.pause(error("once")) is None


def test_the_upstreams_wait_is_the_floor() -> None:
    assert attempts(0.0).pause(error("throttle", 3.0)) == 3.0


def test_a_wait_that_is_too_long_is_the_clients() -> None:
    assert attempts().pause(error("throttle", LONGEST_WAIT + 0.1)) is None


def test_a_storm_is_multiplied_by_a_quarter_at_most() -> None:
    budget = Budget(Clock())
    calls = 0
    for _ in range(400):
        call = Attempts(budget, lambda: 0.5)
        calls += 1
        while call.pause(error("throttle")) is not None:
            calls += 1
    assert 400 < calls <= 500


def test_the_bucket_refills_by_time_and_by_success() -> None:
    clock = Clock()
    budget = Budget(clock)
    while budget.spend("transient"):
        pass
    clock.now += 15.0
    assert budget.spend("transient")
    while budget.spend("transient"):
        pass
    for _ in range(14):
        budget.succeeded()
    assert budget.spend("transient")
