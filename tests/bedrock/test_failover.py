"""Courses and circuits, without a network or a clock."""

from typing import Any

import httpx
import pytest

from proxy.bedrock.bearer import Bearer
from proxy.bedrock.failover import FAILURES, Circuits, Course, Stop, Target
from proxy.bedrock.retries import Attempts, Budget
from proxy.bedrock.transport import SignedTransport
from proxy.errors import ProxyError

THROTTLED = ProxyError(429, "slow down", code="rate_limit_exceeded", retry="throttle")
DOWN = ProxyError(502, "gone", code="upstream_unreachable", retry="transient")
DENIED = ProxyError(403, "no", code="model_access_denied")
ABSENT = ProxyError(400, "no", code="model_not_found")
BAD = ProxyError(400, "bad", code="invalid_value")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def stop(name: str, model: str = "m") -> Stop:
    transport = SignedTransport(httpx.MockTransport(lambda request: httpx.Response(200)),
                                Bearer("key"))  # fmt: skip
    return Stop(Target(name, f"https://{name}", transport, transport, name), model)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuits(clock: Clock) -> Circuits:
    return Circuits(clock)


A, B, C = stop("a"), stop("b"), stop("c")


def test_the_stops_are_taken_in_order_and_once_each(circuits: Circuits) -> None:
    course = Course((A, B, C), circuits)
    seen = [course.stop]
    while course.advance(THROTTLED):
        seen.append(course.stop)
    assert seen == [A, B, C]
    assert course.stop is A, "what is left of the tries is its own region's"


@pytest.mark.parametrize("error", [BAD, DENIED, ABSENT, ProxyError(504, "late")])
def test_what_no_other_region_changes_stays(circuits: Circuits, error: ProxyError) -> None:
    course = Course((A, B), circuits)
    assert not course.advance(error)
    assert course.verdict(error) is error


@pytest.mark.parametrize("error", [DENIED, ABSENT])
def test_a_stand_in_that_is_unfit_is_passed_over(circuits: Circuits, error: ProxyError) -> None:
    course = Course((A, B, C), circuits)
    course.advance(THROTTLED)
    assert course.advance(error)
    assert course.stop is C
    assert course.verdict(error) is THROTTLED
    assert Course((B, A), circuits).stop is A, "it stays away from there"


def test_a_stand_ins_own_fault_is_told_as_it_is(circuits: Circuits) -> None:
    course = Course((A, B), circuits)
    course.advance(THROTTLED)
    assert not course.advance(BAD)
    assert course.verdict(BAD) is BAD


def test_one_stop_alone_has_no_circuit(circuits: Circuits) -> None:
    for _ in range(10):
        course = Course((A,), circuits)
        assert course.stop is A
        assert not course.advance(THROTTLED)
        assert course.verdict(THROTTLED) is THROTTLED


def test_a_circuit_opens_probes_and_closes(circuits: Circuits, clock: Clock) -> None:
    for _ in range(FAILURES):
        assert Course((A, B), circuits).stop is A
        Course((A, B), circuits).advance(THROTTLED)
    assert Course((A, B), circuits).stop is B
    clock.now += 5.1
    probe = Course((A, B), circuits)
    assert probe.stop is A
    assert Course((A, B), circuits).stop is B, "one call probes at a time"
    probe.advance(THROTTLED)
    clock.now += 5.1
    assert Course((A, B), circuits).stop is B, "and the pause grows"
    clock.now += 10
    probe = Course((A, B), circuits)
    assert probe.stop is A
    probe.succeeded()
    assert [Course((A, B), circuits).stop for _ in range(2)] == [A, A]


def test_a_probe_that_never_ends_does_not_block_for_good(circuits: Circuits, clock: Clock) -> None:
    for _ in range(FAILURES):
        circuits.failed(A, THROTTLED)
    clock.now += 5.1
    assert circuits.lets_pass(A)
    assert not circuits.lets_pass(A)
    clock.now += 5.1
    assert circuits.lets_pass(A)


def test_a_long_retry_after_is_the_circuits_pause(circuits: Circuits, clock: Clock) -> None:
    told = ProxyError(429, "x", retry="throttle", retry_after=200.0)
    for _ in range(FAILURES):
        circuits.failed(A, told)
    clock.now += 199
    assert not circuits.lets_pass(A)
    clock.now += 2
    assert circuits.lets_pass(A)


def test_throttling_is_one_models_and_a_dead_host_everyones(circuits: Circuits) -> None:
    other = stop("a", "other")
    for _ in range(FAILURES):
        circuits.failed(A, THROTTLED)
    assert not circuits.lets_pass(A)
    assert circuits.lets_pass(other)
    for _ in range(FAILURES):
        circuits.failed(A, DOWN)
    assert not circuits.lets_pass(other)


def test_its_own_region_is_the_last_resort(circuits: Circuits) -> None:
    for _ in range(FAILURES):
        circuits.failed(A, THROTTLED)
        circuits.failed(B, THROTTLED)
    course = Course((A, B), circuits)
    assert course.stop is A
    for one in (C,):
        circuits.succeeded(one)
    course = Course((A, C), circuits)
    assert course.stop is C
    assert course.advance(THROTTLED)
    assert course.stop is A


def test_circuits_are_bounded(circuits: Circuits) -> None:
    for place in range(3000):
        circuits.failed(stop("a", f"m{place}"), THROTTLED)
    assert len(circuits._open) <= 1024


def test_going_elsewhere_is_counted_and_paid(clock: Any) -> None:
    attempts = Attempts(Budget(clock), lambda: 0.5)
    long = ProxyError(429, "x", retry="throttle", retry_after=60.0)
    assert attempts.pause(long) is None
    assert attempts.elsewhere(long)
    assert attempts.elsewhere(DENIED)
    assert not attempts.elsewhere(long), "two more tries, wherever they go"
    budget = Budget(clock)
    while budget.spend("transient"):
        pass
    assert not Attempts(budget, lambda: 0.5).elsewhere(DOWN)
